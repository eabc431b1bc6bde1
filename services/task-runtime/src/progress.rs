//! How far a task has come: inputs read, senders' records taken, outputs numbered and published. Part of the state, changed
//! only by commits, and kept in the store as ordinary keys, so that a commit writes what moved and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event_log::TopicName;
use serde::{Deserialize, Serialize};
use state_store::{Change, Store};

use crate::changelog::{Body, Chain};
use crate::keys;
use crate::snapshot::Announced;
use crate::{Shortcut, Source};

/// An output partition.
pub(crate) type Destination = (TopicName, u32);

/// Progress of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InputProgress {
    /// Next offset to read; none if it has never been read.
    pub(crate) position: Option<u64>,
    /// Last sequence taken, by sender and life of the sender.
    pub(crate) watermarks: BTreeMap<Arc<str>, BTreeMap<u128, u64>>,
}

/// Progress of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) inputs: BTreeMap<String, InputProgress>,
    /// Last sequence dealt out.
    pub(crate) sequences: BTreeMap<Destination, u64>,
    /// Last sequence known to be published.
    pub(crate) published: BTreeMap<Destination, u64>,
    pub(crate) stream_time_ms: i64,
}

/// What is kept with the state as the store's checkpoint: where the state stands in the changelog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Next entry to read.
    pub(crate) next_offset: u64,
    /// What has counted before it.
    pub(crate) chain: Chain,
    pub(crate) stream_time_ms: i64,
    /// Offset of the last entry that counted: if the log has another one there, this state is not of this log.
    pub(crate) last_counted: Option<u64>,
    /// Commits with outputs that are not yet known to be published: first and last offset, and hash of the body.
    pub(crate) unpublished: Vec<(u64, u64, u128)>,
    /// The newest snapshots that count, oldest first.
    pub(crate) snapshots: Vec<Announced>,
    /// Bytes of the changelog since the newest of them.
    pub(crate) bytes_since: u64,
}

/// What a receiver does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// Taken before.
    Duplicate,
    /// Its predecessors are missing.
    Ahead,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes = Vec::with_capacity(192 + 32 * self.unpublished.len());
        postcard::to_extend(self, bytes).expect("a checkpoint holds nothing that postcard refuses")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Where whoever has this state reads on before it relies on having read everything: behind the last entry that counted. What
/// stood between that and the next offset did not count, and so nothing proves that it stands there still: after a loss a
/// claim may have taken its place. Read twice, it does not count twice.
pub(crate) fn proven_upto(last_counted: Option<u64>) -> u64 {
    last_counted.map_or(0, |last| last + 1)
}

/// Whether a record with this source is the next of its sender.
pub(crate) fn judge(taken: Option<u64>, source: &Source<'_>, shortcut: Shortcut) -> Verdict {
    let taken = taken.unwrap_or(0);
    if shortcut.takes_the_largest_seen() && source.sequence > taken {
        return Verdict::Take;
    }
    if source.sequence <= taken {
        Verdict::Duplicate
    } else if source.sequence == taken + 1 {
        Verdict::Take
    } else {
        Verdict::Ahead
    }
}

const POSITION: u8 = b'p';
const WATERMARK: u8 = b'w';
const SEQUENCE: u8 = b's';
const PUBLISHED: u8 = b'u';

impl Progress {
    /// Reads the progress that a store holds.
    pub(crate) fn load(store: &dyn Store, stream_time_ms: i64) -> Result<Self, state_store::Error> {
        let mut progress = Self { stream_time_ms, ..Self::default() };
        for (key, value) in store.scan(&[keys::PROGRESS], Some(&[keys::PROGRESS + 1]), usize::MAX)? {
            progress.load_row(&key[1..], &value).ok_or_else(|| damaged("a progress row cannot be read"))?;
        }
        Ok(progress)
    }

    fn load_row(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = u64::from_be_bytes(value.try_into().ok()?);
        let (kind, rest) = key.split_first()?;
        match *kind {
            POSITION => {
                let topic: String = postcard::from_bytes(rest).ok()?;
                self.inputs.entry(topic).or_default().position = Some(number);
            }
            WATERMARK => {
                let (topic, task, incarnation): (String, String, u128) = postcard::from_bytes(rest).ok()?;
                let watermarks = &mut self.inputs.entry(topic).or_default().watermarks;
                watermarks.entry(Arc::from(task)).or_default().insert(incarnation, number);
            }
            SEQUENCE | PUBLISHED => {
                let (topic, partition): (String, u32) = postcard::from_bytes(rest).ok()?;
                let map = if *kind == SEQUENCE { &mut self.sequences } else { &mut self.published };
                map.insert((TopicName::new(&topic), partition), number);
            }
            _ => return None,
        }
        Some(())
    }

    /// Takes over what a commit says, and adds the rows to change to `changes`.
    pub(crate) fn absorb(&mut self, body: &Body, changes: &mut Vec<Change>) {
        self.stream_time_ms = self.stream_time_ms.max(body.stream_time_ms);
        let mut rows = Rows::default();
        for (topic, position) in &body.positions {
            rows.add(POSITION, &topic.as_str(), *position);
            self.input_mut(topic.as_str()).position = Some(*position);
        }
        for update in &body.watermarks {
            let name = (update.topic.as_str(), &*update.task, update.incarnation);
            rows.add(WATERMARK, &name, update.sequence);
            let watermarks = &mut self.input_mut(update.topic.as_str()).watermarks;
            watermarks.entry(update.task.clone()).or_default().insert(update.incarnation, update.sequence);
        }
        let mut dealt: BTreeMap<(&TopicName, u32), u64> = BTreeMap::new();
        for output in &body.outputs {
            dealt.insert((&output.topic, output.partition), output.sequence);
        }
        for ((topic, partition), sequence) in dealt {
            rows.add(SEQUENCE, &(topic.as_str(), partition), sequence);
            self.sequences.insert((topic.clone(), partition), sequence);
        }
        for upto in &body.published {
            rows.add(PUBLISHED, &(upto.topic.as_str(), upto.partition), upto.sequence);
            self.published.insert((upto.topic.clone(), upto.partition), upto.sequence);
        }
        rows.append_to(changes);
    }

    fn input_mut(&mut self, topic: &str) -> &mut InputProgress {
        if !self.inputs.contains_key(topic) {
            self.inputs.insert(topic.to_owned(), InputProgress::default());
        }
        self.inputs.get_mut(topic).expect("just inserted")
    }

    /// Last sequence dealt out to a destination.
    pub(crate) fn sequence(&self, destination: &Destination) -> u64 {
        self.sequences.get(destination).copied().unwrap_or(0)
    }

    /// Last sequence known to be published at a destination.
    pub(crate) fn published(&self, destination: &Destination) -> u64 {
        self.published.get(destination).copied().unwrap_or(0)
    }
}

/// A row of the runtime's own that cannot be read; every such row was written by the runtime and verified by its digest.
pub(crate) fn damaged(detail: &str) -> state_store::Error {
    state_store::Error::Damaged { task: String::new(), detail: detail.to_owned() }
}

/// Last sequence dealt out to a destination, as a store says.
pub(crate) fn sent(store: &dyn Store, topic: &str, partition: u32) -> Result<u64, state_store::Error> {
    let mut key = Vec::with_capacity(ROW_BYTES);
    put_key(SEQUENCE, &(topic, partition), &mut key);
    let Some(value) = store.get(&key)? else { return Ok(0) };
    let number = value[..].try_into().map_err(|_| damaged("a progress row cannot be read"))?;
    Ok(u64::from_be_bytes(number))
}

/// What a row takes, roughly.
const ROW_BYTES: usize = 72;

/// Rows in the making: each commit writes several, and all of them share one piece of memory.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    /// Where each key ends, and each value.
    ends: Vec<(usize, usize)>,
}

impl Rows {
    fn add(&mut self, kind: u8, name: &impl Serialize, number: u64) {
        if self.ends.is_empty() {
            self.bytes.reserve(8 * ROW_BYTES);
            self.ends.reserve(8);
        }
        put_key(kind, name, &mut self.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self.ends.push((key_end, self.bytes.len()));
    }

    fn append_to(self, changes: &mut Vec<Change>) {
        let bytes = Bytes::from(self.bytes);
        let mut begin = 0;
        for (key_end, end) in self.ends {
            changes.push((bytes.slice(begin..key_end), Some(bytes.slice(key_end..end))));
            begin = end;
        }
    }
}

fn put_key(kind: u8, name: &impl Serialize, key: &mut Vec<u8>) {
    key.extend_from_slice(&[keys::PROGRESS, kind]);
    let longer = postcard::to_extend(name, std::mem::take(key));
    *key = longer.expect("names hold nothing that postcard refuses");
}
