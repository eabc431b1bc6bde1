//! The port: what a task asks of its store. Two implementations, one on disk ([`crate::Stores`]) and [`crate::MemoryStore`], pass the
//! same suite (`tests/it/contract.rs`).

use bytes::Bytes;

use crate::Error;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 32 * 1024;

/// Largest value and largest checkpoint in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One key and what becomes of it: `Some` puts the value, `None` deletes the key (present or not).
pub type Change = (Bytes, Option<Bytes>);

/// One key and its value.
pub type Pair = (Bytes, Bytes);

/// For whom a store is opened. A directory written for another identity is emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the task, `orders/3`. Any text that is not empty and at most 80 bytes long.
    pub task: String,
    /// Version of the layout of the keys and values, chosen by the caller.
    pub format: u32,
}

/// What was found when a store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There was no store; it starts empty and without a checkpoint.
    Fresh,
    /// The store holds what an earlier one held, up to [`Store::checkpoint`], and was verified.
    Resumed,
    /// There was a store that cannot be used. It was emptied; restore it from the changelog.
    Rebuilt {
        /// Why, for the log.
        reason: String,
    },
}

/// Ordered byte keys and one checkpoint. One thread at a time; calls may block on the disk for milliseconds, so never call
/// from a thread that must stay responsive.
pub trait Store: Send {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] if it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Up to `limit` pairs with keys in `[from, to)`, ascending; `None` is no upper bound. `from >= to` is empty.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] if they cannot be read.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error>;

    /// As [`Store::scan`], but from the upper end of the range downwards.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] if they cannot be read.
    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error>;

    /// Applies all changes, in their order, and the checkpoint as one unit. It may be lost by a crash (the changelog has
    /// it), but only together with every later one.
    ///
    /// # Errors
    /// Nothing was applied. [`Error::TooLarge`] for a key or value over the limit, [`Error::Io`] if the disk takes no more
    /// and what is waiting in memory has reached its limit.
    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error>;

    /// Fills an empty store with pairs in strictly ascending order of their keys, durably and as one unit. Many times faster
    /// than applying them. An error among the pairs ends the load.
    ///
    /// # Errors
    /// That error, [`Error::NotEmpty`], [`Error::Unsorted`], [`Error::TooLarge`]: the store is as before.
    fn bulk_load(
        &mut self,
        sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error>;

    /// All rows as they are now, to be read on another thread while the store goes on.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] if they cannot be read.
    fn rows(&self) -> Result<Box<dyn Rows>, Error>;

    /// The checkpoint of the last apply; `None` if there never was one.
    fn checkpoint(&self) -> Option<&[u8]>;

    /// A number that is equal for equal content, whatever the order in which it was written. Takes time in proportion to
    /// what is not yet flushed.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] if the old value of a changed row cannot be read.
    fn digest(&self) -> Result<u128, Error>;

    /// About how many rows there are, for metrics. Rows that were overwritten lately may count more than once.
    fn approximate_len(&self) -> u64;

    /// Bytes on disk, for metrics.
    fn disk_bytes(&self) -> u64;

    /// Makes everything applied so far survive the end of the process and the loss of power.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses; the changes stay readable and the next flush tries again.
    fn flush(&mut self) -> Result<(), Error>;

    /// Begins to write what was applied so far, and does not wait. For idle moments and timers: it bounds what a killed
    /// process has to read again from the changelog.
    fn begin_flush(&mut self);

    /// Flushes and closes. Dropping a store instead loses what was not flushed, nothing else.
    ///
    /// # Errors
    /// Those of [`Store::flush`]; the store is closed in any case.
    fn close(self: Box<Self>) -> Result<(), Error>;
}

/// The rows of a store at one moment, in ascending order of their keys.
pub trait Rows: Send {
    /// The next rows, about `bytes` of keys and values but at least one row; none at the end. May block on the disk.
    ///
    /// # Errors
    /// [`Error::Closed`] when the store was closed meanwhile, [`Error::Damaged`] or [`Error::Io`] if they cannot be read.
    fn next_rows(&mut self, bytes: usize) -> Result<Vec<Pair>, Error>;
}

/// Refuses keys, values and checkpoints that are too large, before anything of an apply happens.
pub(crate) fn check_limits(key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::TooLarge { what: "key", size: key.len(), limit: KEY_BYTES_MAX });
    }
    match value {
        Some(value) if value.len() > VALUE_BYTES_MAX => {
            Err(Error::TooLarge { what: "value", size: value.len(), limit: VALUE_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

/// Refuses a checkpoint that is too large.
pub(crate) fn check_checkpoint(checkpoint: &[u8]) -> Result<(), Error> {
    if checkpoint.len() > VALUE_BYTES_MAX {
        return Err(Error::TooLarge { what: "checkpoint", size: checkpoint.len(), limit: VALUE_BYTES_MAX });
    }
    Ok(())
}
