//! The reader rule: which entries of a changelog count. The owner, a later owner, a standby and tools all read by it, and
//! nothing else says what a task's state is.
//!
//! - A claim counts if its epoch is above the current one; of two equal claims the first in the log wins.
//! - A commit counts if its life, epoch and owner are the current ones, its number is the next and the hash of the history
//!   before it fits. The parts of a split commit count when all are there.
//! - Everything else is void, for ever, for everyone.
//!
//! An owner has read everything before its claim and sends one commit at a time. So there are entries that no log can hold
//! unless it, or the reader's state, has lost records: a commit of an epoch that was never claimed, a commit whose
//! predecessor is missing, a commit on another history. They are errors, for voiding them would be losing data silently.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Body, Chunk, DecodeError, Entry, OwnerId};
use crate::Shortcut;

#[cfg(test)]
mod tests;

/// What has counted so far, as far as it decides what counts next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// The life of this changelog; none before the first claim.
    pub incarnation: Option<u128>,
    /// Epoch of the current owner; 0 before the first claim.
    pub epoch: u64,
    /// The current owner.
    pub owner: Option<OwnerId>,
    /// Number of the last commit in this epoch; 0 after a claim.
    pub number: u64,
    /// Hash of the history: of every entry that has counted.
    pub hash: u128,
    /// Parts of the next commit that have come.
    #[serde(skip)]
    pending: Option<Pending>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    body_hash: u128,
    parts: u32,
    next: u32,
    bytes: BytesMut,
}

/// What an entry meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The task has a new owner.
    Claimed,
    /// A commit counts.
    Committed(Box<Body>),
    /// A part of a commit fits; the others are awaited.
    Partial,
    /// It does not count.
    Void(VoidReason),
}

/// An entry that no log of ours can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not an entry, or one of a newer version.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A commit of an epoch whose claim has not been read: the log is not the one that the reader began with.
    #[error("a commit of epoch {found} stands behind epoch {current} without a claim: the log has lost records")]
    Diverged {
        /// Epoch of the commit.
        found: u64,
        /// Epoch that was read last.
        current: u64,
    },
    /// The current owner's commit follows one that is not there.
    #[error("commit {found} stands behind commit {last}: the log has lost records")]
    Missing {
        /// Number of the commit.
        found: u64,
        /// Number of the last commit that counted.
        last: u64,
    },
    /// The current owner's next commit was computed on another history than the reader's.
    #[error("commit {number} was computed on another history than what was read before it")]
    OtherHistory {
        /// Number of the commit.
        number: u64,
    },
}

impl ReadError {
    /// Whether what was read before does not fit the log. If that came from a store, the store may be at fault.
    pub(crate) fn is_divergence(&self) -> bool {
        !matches!(self, Self::Decode(_))
    }
}

/// Why an entry does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidReason {
    /// A claim of an epoch that is not above the current one.
    StaleClaim,
    /// A commit of an earlier epoch.
    NotTheOwner,
    /// A commit by another owner than the current one, in its epoch or in another life of the changelog. Only an owner whose
    /// claim the log has lost writes such a thing; to that owner it is the commits of the next one that look like this.
    OtherOwner,
    /// A commit whose number has counted already.
    CountedAlready,
    /// A part that does not continue the parts that have come.
    StrayPart,
}

impl Chain {
    /// Reads the next entry of the log.
    ///
    /// # Errors
    /// The bytes are not an entry: nobody of ours wrote them, or a newer version did; or the log has lost records.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Read, ReadError> {
        self.read_with(bytes, Shortcut::None)
    }

    pub(crate) fn read_with(&mut self, bytes: &[u8], shortcut: Shortcut) -> Result<Read, ReadError> {
        match Entry::decode(bytes)? {
            Entry::Claim { incarnation, epoch, owner } => Ok(self.claim(incarnation, epoch, owner, bytes)),
            Entry::Commit(chunk) => self.commit(chunk, shortcut),
        }
    }

    /// Whether `bytes` can be the last entry that counted.
    pub(crate) fn ends_with(&self, bytes: &[u8]) -> bool {
        match Entry::decode(bytes) {
            Ok(Entry::Claim { incarnation, epoch, owner }) => {
                self.incarnation == Some(incarnation)
                    && self.epoch == epoch
                    && self.owner == Some(owner)
                    && self.number == 0
            }
            Ok(Entry::Commit(chunk)) => extended(chunk.prev_hash, chunk.number, chunk.body_hash) == self.hash,
            Err(_) => false,
        }
    }

    /// Counts a commit of one's own that stands directly behind what was read: it fits by construction.
    pub(crate) fn advance(&mut self, number: u64, body_hash: u128) {
        self.number = number;
        self.hash = extended(self.hash, number, body_hash);
        self.pending = None;
    }

    fn claim(&mut self, incarnation: u128, epoch: u64, owner: OwnerId, bytes: &[u8]) -> Read {
        if epoch <= self.epoch || self.incarnation.is_some_and(|current| current != incarnation) {
            return Read::Void(VoidReason::StaleClaim);
        }
        self.hash = extended(self.hash, 0, xxh3_128(bytes));
        self.incarnation = Some(incarnation);
        self.epoch = epoch;
        self.owner = Some(owner);
        self.number = 0;
        self.pending = None;
        Read::Claimed
    }

    fn commit(&mut self, chunk: Chunk, shortcut: Shortcut) -> Result<Read, ReadError> {
        if self.incarnation == Some(chunk.incarnation) && chunk.epoch > self.epoch {
            return Err(ReadError::Diverged { found: chunk.epoch, current: self.epoch });
        }
        let Some(incarnation) = self.incarnation else { return Ok(Read::Void(VoidReason::NotTheOwner)) };
        if chunk.incarnation == incarnation && chunk.epoch < self.epoch {
            return Ok(Read::Void(VoidReason::NotTheOwner));
        }
        if chunk.incarnation != incarnation || self.owner.as_ref().is_none_or(|owner| owner.life != chunk.life) {
            return Ok(Read::Void(VoidReason::OtherOwner));
        }
        if chunk.number <= self.number {
            return Ok(Read::Void(VoidReason::CountedAlready));
        }
        if chunk.number > self.number + 1 {
            return Err(ReadError::Missing { found: chunk.number, last: self.number });
        }
        if chunk.prev_hash != self.hash && !shortcut.skips_prev_hash() {
            return Err(ReadError::OtherHistory { number: chunk.number });
        }
        let (number, body_hash) = (chunk.number, chunk.body_hash);
        let Some(whole) = self.assemble(chunk) else {
            return Ok(if self.pending.is_some() { Read::Partial } else { Read::Void(VoidReason::StrayPart) });
        };
        let body = Body::decode(&whole)?;
        self.advance(number, body_hash);
        Ok(Read::Committed(Box::new(body)))
    }

    /// The whole body once its last part is there. A repeated or stray part changes nothing.
    fn assemble(&mut self, chunk: Chunk) -> Option<Bytes> {
        if chunk.parts == 1 {
            return (xxh3_128(&chunk.bytes) == chunk.body_hash).then_some(chunk.bytes);
        }
        let started = self.pending.as_ref().is_some_and(|pending| pending.body_hash == chunk.body_hash);
        if !started && chunk.part == 0 {
            let (body_hash, parts) = (chunk.body_hash, chunk.parts);
            self.pending = Some(Pending { body_hash, parts, next: 0, bytes: BytesMut::new() });
        }
        let pending = self.pending.as_mut()?;
        if pending.body_hash == chunk.body_hash && pending.parts == chunk.parts && pending.next == chunk.part {
            pending.bytes.extend_from_slice(&chunk.bytes);
            pending.next += 1;
        }
        if pending.next < pending.parts {
            return None;
        }
        let whole = self.pending.take()?.bytes.freeze();
        (xxh3_128(&whole) == chunk.body_hash).then_some(whole)
    }
}

fn extended(hash: u128, number: u64, entry_hash: u128) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&hash.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&entry_hash.to_le_bytes());
    hasher.digest128()
}
