//! What stands in the changelogs of the tasks, as far as it says who owned them and when.
//!
//! Always: what counts is said by the reader rule of the mesh itself ([`Chain`]), and by nothing here. Entries stand in the order
//! of their changelog; commits that follow each other under one claim are one line.

use std::path::Path;

use event_log::StoredRecord;
use serde::{Deserialize, Serialize};
use task_runtime::changelog::{Chain, Entry as Record, Read, VoidReason};

use super::history::{Event, What as Done, read_lines};

/// Something that a changelog says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The task, as in `orders/3`.
    pub task: String,
    /// Where it stands in the changelog.
    pub offset: u64,
    /// The time of the record, in milliseconds since the Unix epoch; 0 where the record has none. Claims have one.
    pub at_ms: i64,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What an entry says. An incarnation is one life of the changelog, a life one claim of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A claim that counts: from here on the task has this owner.
    Claimed {
        /// See [`What`]; in hexadecimal digits.
        incarnation: String,
        /// Its epoch.
        epoch: u64,
        /// The owner's name.
        instance: String,
        /// See [`What`].
        life: u64,
    },
    /// Commits that count.
    Committed {
        /// See [`What`]; in hexadecimal digits.
        incarnation: String,
        /// Their epoch.
        epoch: u64,
        /// See [`What`].
        life: u64,
        /// How many follow each other.
        times: u64,
    },
    /// A commit of the epoch that is current, by somebody who has not claimed it. It does not count.
    Foreign {
        /// Its epoch.
        epoch: u64,
        /// See [`What`].
        life: u64,
    },
    /// An entry that no changelog can hold; nothing behind it was read.
    Refused {
        /// Why.
        why: String,
    },
}

/// A task that got another owner by a claim that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move<'a> {
    /// The task.
    pub task: &'a str,
    /// The instance that owned it.
    pub from: &'a str,
    /// The instance that claimed it.
    pub to: &'a str,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Reads one changelog, from its beginning.
#[derive(Debug)]
pub struct Reader {
    task: String,
    chain: Chain,
    refused: bool,
}

impl Reader {
    /// Nothing was read yet.
    pub fn new(task: &str) -> Self {
        Self { task: task.to_owned(), chain: Chain::default(), refused: false }
    }

    /// Reads the next record, and adds what it says to `into`.
    pub fn read(&mut self, stored: &StoredRecord, into: &mut Vec<Entry>) {
        if self.refused {
            return;
        }
        let bytes = stored.record.value.as_deref().unwrap_or_default();
        let what = match (self.chain.read(bytes), Record::decode(bytes)) {
            (Ok(Read::Claimed), Ok(Record::Claim { incarnation, epoch, owner })) => {
                let incarnation = format!("{incarnation:032x}");
                What::Claimed { incarnation, epoch, instance: owner.instance, life: owner.life }
            }
            (Ok(Read::Committed(_)), Ok(Record::Commit(chunk))) => {
                let (incarnation, epoch, life) = (format!("{:032x}", chunk.incarnation), chunk.epoch, chunk.life);
                if follows(into.last_mut(), &self.task, (&incarnation, epoch, life)) {
                    return;
                }
                What::Committed { incarnation, epoch, life, times: 1 }
            }
            (Ok(Read::Void(VoidReason::OtherOwner)), Ok(Record::Commit(chunk))) => {
                What::Foreign { epoch: chunk.epoch, life: chunk.life }
            }
            (Ok(_), _) => return,
            (Err(error), _) => {
                self.refused = true;
                What::Refused { why: error.to_string() }
            }
        };
        let (offset, at_ms) = (stored.offset.0, stored.record.timestamp_ms);
        into.push(Entry { task: self.task.clone(), offset, at_ms, what });
    }
}

/// Counts a commit to those that it follows, if these are the last that were read.
fn follows(last: Option<&mut Entry>, task: &str, under: (&str, u64, u64)) -> bool {
    match last {
        Some(Entry { task: of, what: What::Committed { incarnation, epoch, life, times }, .. })
            if of == task && (incarnation.as_str(), *epoch, *life) == under =>
        {
            *times += 1;
            true
        }
        _ => false,
    }
}

/// Reads what [`super::topics::save`] wrote; nothing when there is no such file, as in runs of earlier versions.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn load(path: &Path) -> anyhow::Result<Vec<Entry>> {
    if path.exists() { read_lines(path) } else { Ok(Vec::new()) }
}

/// The tasks that got another owner, in the order of each changelog.
pub fn moves(entries: &[Entry]) -> Vec<Move<'_>> {
    let (mut moves, mut owner) = (Vec::new(), None::<(&str, &str)>);
    for entry in entries {
        let What::Claimed { instance, .. } = &entry.what else { continue };
        if let Some((task, from)) = owner.replace((&entry.task, instance))
            && task == entry.task
            && from != instance
        {
            moves.push(Move { task, from, to: instance, at_ms: entry.at_ms });
        }
    }
    moves
}

/// Translates times of a history into milliseconds since the Unix epoch; none for histories of earlier versions.
pub fn time_of_day(history: &[Event]) -> Option<impl Fn(u64) -> i64 + use<>> {
    let (begin_ns, unix_ms) = history.iter().find_map(|event| match event.what {
        Done::Clock { unix_ms } => Some((event.at_ns, unix_ms)),
        _ => None,
    })?;
    Some(move |at_ns: u64| i64::try_from(unix_ms + at_ns.saturating_sub(begin_ns) / 1_000_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use event_log::{Offset, Record as Stored};
    use task_runtime::changelog::{Chunk, OwnerId};

    use super::*;

    fn claim(epoch: u64, instance: &str, life: u64) -> Record {
        Record::Claim { incarnation: 7, epoch, owner: OwnerId { instance: instance.into(), life } }
    }

    fn commit(epoch: u64, life: u64) -> Record {
        let (incarnation, bytes) = (7, Default::default());
        let (number, prev_hash, body_hash, part, parts) = (1, 0, 0, 0, 1);
        Record::Commit(Chunk { incarnation, epoch, life, number, prev_hash, body_hash, part, parts, bytes })
    }

    fn read(records: &[Record]) -> Vec<Entry> {
        let (mut reader, mut entries) = (Reader::new("orders/0"), Vec::new());
        for (offset, record) in (0..).zip(records) {
            let record = Stored { value: Some(record.encode()), timestamp_ms: 5, ..Stored::default() };
            reader.read(&StoredRecord { offset: Offset(offset), record }, &mut entries);
        }
        entries
    }

    #[test]
    fn a_claim_of_an_epoch_that_has_an_owner_is_not_a_move() {
        let entries = read(&[claim(1, "a", 1), claim(2, "b", 2), claim(2, "c", 3), claim(3, "b", 4)]);
        assert_eq!(entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(moves(&entries), [Move { task: "orders/0", from: "a", to: "b", at_ms: 5 }]);
    }

    #[test]
    fn a_commit_without_a_claim_is_foreign_and_one_of_an_epoch_to_come_is_refused() {
        let kinds = |records: &[Record]| read(records).pop().map(|entry| entry.what);
        let foreign = Some(What::Foreign { epoch: 1, life: 2 });
        assert_eq!(kinds(&[claim(1, "a", 1), commit(1, 2)]), foreign);
        assert!(matches!(kinds(&[claim(1, "a", 1), commit(2, 2), claim(3, "a", 3)]), Some(What::Refused { .. })));
        assert!(matches!(kinds(&[claim(2, "a", 1), commit(1, 2)]), Some(What::Claimed { .. })), "late, and void");
    }
}
