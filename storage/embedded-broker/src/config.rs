//! How an embedded log is set up: where it lives, when an append counts as done, and how much it may hold.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Error;

/// When an append is acknowledged and its records become readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After an fsync. One round of fsyncs serves all partitions that were written meanwhile. Survives power loss.
    Group,
    /// Once the operating system has the bytes. Survives the death of the process, not that of the machine.
    Os,
}

/// Set-up of an [`EmbeddedLog`](crate::EmbeddedLog).
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory. It is created if absent and belongs to one process at a time.
    pub directory: PathBuf,
    /// When an append counts as done.
    pub sync: SyncPolicy,
    /// A segment file that would grow beyond this many bytes is sealed and a new one begun (1 byte to 1 GiB). Records
    /// are given back to the disk a whole segment at a time.
    pub segment_bytes: u64,
    /// Largest encoded batch that is taken, in bytes (1 byte to 64 MiB).
    pub max_batch_bytes: usize,
    /// Memory for the newest batches of all partitions together, in bytes. Readers of these need no disk.
    pub tail_cache_bytes: usize,
    /// Files that are kept open for writing and reading, at most (at least 1); a file in use may add itself.
    pub open_files_max: usize,
    /// Wall clock in milliseconds since the Unix epoch, for what is thrown away by age.
    pub clock: Clock,
}

impl Config {
    /// The defaults: group sync, segments of 64 MiB, batches up to Kafka's 1,048,588 bytes, a tail cache of 16 MiB,
    /// 256 open files, the system's clock.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            sync: SyncPolicy::Group,
            segment_bytes: 64 << 20,
            max_batch_bytes: 1_048_588,
            tail_cache_bytes: 16 << 20,
            open_files_max: 256,
            clock: Clock::system(),
        }
    }

    /// Checks the ranges.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::Config(what.to_owned()));
        if !(1..=1 << 30).contains(&self.segment_bytes) {
            return refuse("segment_bytes must be 1 to 1,073,741,824");
        }
        if !(1..=64 << 20).contains(&self.max_batch_bytes) {
            return refuse("max_batch_bytes must be 1 to 67,108,864");
        }
        if self.open_files_max == 0 {
            return refuse("open_files_max must be at least 1");
        }
        Ok(())
    }
}

/// Tells the time in milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now_ms`.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    #[expect(clippy::disallowed_methods, reason = "the default of a clock that callers can replace")]
    fn system() -> Self {
        Self::new(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
