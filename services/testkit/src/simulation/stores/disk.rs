//! What lies on a simulated disk, and what damage is to it.
//!
//! It tells damage as the real store does: a block that was altered does not match its checksum, whoever reads it; rows that
//! are gone, or are again what they were, do not add up to what the state row says; a state row that cannot be read is no
//! state. A whole store of another log is not damaged, and only a look into the log can tell.

use std::collections::BTreeSet;

use bytes::Bytes;
use state_store::{Change, MemoryStore, Store};

use super::row_digest;
use crate::simulation::Dice;

/// What can happen to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A bit of a row is another.
    BitFlipped,
    /// A row is gone.
    RowLost,
    /// A row is again what it was before.
    OldRow,
    /// Nobody can say what the rows add up to, and how far they go.
    StateLost,
    /// The whole store of another task stands in its place, under its name.
    OfAnotherLog,
}

impl Damage {
    /// What nobody who has the store open would have noticed, so that it happens while nobody has.
    pub(super) const AT_REST: [Self; 5] =
        [Self::BitFlipped, Self::RowLost, Self::OldRow, Self::StateLost, Self::OfAnotherLog];

    /// How it is counted.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BitFlipped => "disk: a bit flipped",
            Self::RowLost => "disk: a row lost",
            Self::OldRow => "disk: an old row back",
            Self::StateLost => "disk: the state lost",
            Self::OfAnotherLog => "disk: a store of another log",
        }
    }
}

/// One write.
pub(super) struct Write {
    pub(super) changes: Vec<Change>,
    pub(super) checkpoint: Bytes,
    /// What the rows add up to with it.
    pub(super) sums: Sums,
}

/// What the rows of a store add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    /// All of them: the state row says it.
    pub(crate) all: u128,
    /// All but those of the runtime's progress.
    pub(crate) service: u128,
}

impl Sums {
    pub(super) fn of(store: &MemoryStore) -> Self {
        let rows = store.scan(&[1], None, usize::MAX).expect("a store in memory does not fail");
        let service = rows.iter().fold(0, |sum: u128, (key, value)| sum.wrapping_add(row_digest(key, value)));
        Self { all: digest(store), service }
    }
}

/// One task's store as it would be found on the disk.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) durable: MemoryStore,
    unsynced: Vec<Write>,
    /// What the rows add up to as they were written, whatever has become of them.
    sealed: Sums,
    /// What a write has replaced.
    overwritten: Option<(Bytes, Bytes)>,
    /// Rows in blocks that do not match their checksum.
    marred: BTreeSet<Bytes>,
    state_lost: bool,
    /// It was damaged, and nobody has emptied it since.
    pub(super) is_damaged: bool,
}

impl Disk {
    /// A disk with one store on it, all of it synced.
    pub(super) fn of(store: &MemoryStore) -> Self {
        Self { sealed: Sums::of(store), durable: store.clone(), ..Self::default() }
    }

    pub(super) fn write(&mut self, write: Write) {
        self.unsynced.push(write);
    }

    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// So many of the writes reach the disk, the others never do.
    pub(super) fn settle(&mut self, keep: usize) {
        self.unsynced.truncate(keep);
        for Write { changes, checkpoint, sums } in self.unsynced.drain(..) {
            for (key, _) in &changes {
                if let Ok(Some(before)) = self.durable.get(key) {
                    self.overwritten = Some((key.clone(), before));
                }
            }
            self.durable.apply(&changes, &checkpoint).expect("it was applied before");
            self.sealed = sums;
        }
    }

    /// All writes reach the disk.
    pub(super) fn sync(&mut self) {
        self.settle(self.unsynced.len());
    }

    /// What an open finds wrong: it reads every block, and adds all rows up.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.state_lost {
            Some("the state row cannot be read")
        } else if !self.marred.is_empty() {
            Some("a block does not match its checksum")
        } else if digest(&self.durable) != self.sealed.all {
            Some("the rows do not add up to what was written")
        } else {
            None
        }
    }

    /// A planted bug: what is there is taken for what was written.
    pub(super) fn trust(&mut self) {
        self.sealed = Sums::of(&self.durable);
        self.marred.clear();
        self.state_lost = false;
    }

    /// What the rows add up to as they were written.
    pub(super) fn sealed(&self) -> Sums {
        self.sealed
    }

    /// Whether a read of these keys meets a damaged block.
    pub(super) fn is_marred(&self, from: &[u8], to: Option<&[u8]>) -> bool {
        self.marred.iter().any(|key| &key[..] >= from && to.is_none_or(|to| &key[..] < to))
    }

    /// Rows in damaged blocks.
    pub(super) fn marred(&self) -> &BTreeSet<Bytes> {
        &self.marred
    }

    /// Damages it; `donor` is another task's store. False if there is nothing to damage.
    pub(super) fn damage(&mut self, damage: Damage, donor: Option<&MemoryStore>, dice: &mut Dice) -> bool {
        let Some(checkpoint) = self.durable.checkpoint().map(Bytes::copy_from_slice) else { return false };
        let rows = self.durable.scan(&[], None, usize::MAX).expect("a store in memory does not fail");
        if rows.is_empty() {
            return false;
        }
        let (key, value) = rows[dice.index(rows.len())].clone();
        let mut put = |key: Bytes, value: Option<Bytes>| {
            self.durable.apply(&[(key, value)], &checkpoint).expect("it is no larger than before");
        };
        match damage {
            Damage::BitFlipped => {
                let mut bytes = value.to_vec();
                match bytes.len() {
                    0 => bytes.push(1),
                    len => bytes[dice.index(len)] ^= 1 << dice.below(8),
                }
                put(key.clone(), Some(bytes.into()));
                self.marred.insert(key);
            }
            Damage::RowLost => put(key, None),
            Damage::OldRow => match self.overwritten.take() {
                Some((key, before)) if self.durable.get(&key).is_ok_and(|now| now.is_some_and(|now| now != before)) => {
                    self.durable.apply(&[(key, Some(before))], &checkpoint).expect("it was there before");
                }
                _ => return false,
            },
            Damage::StateLost => self.state_lost = true,
            Damage::OfAnotherLog => match donor {
                Some(donor) => *self = Self::of(donor),
                None => return false,
            },
        }
        self.is_damaged = true;
        true
    }
}

/// What all rows add up to, as the state row says it.
fn digest(store: &MemoryStore) -> u128 {
    store.digest().expect("a store in memory does not fail")
}
