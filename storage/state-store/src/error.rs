//! What can go wrong with a store, classed by what the caller may do next.

use std::io;
use std::path::PathBuf;

/// An error of a store. After any of them the store still holds a prefix of the applies it was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of all stores, or the store of one task, is open elsewhere. Close it there first.
    #[error("{} is in use by another process or another handle", directory.display())]
    InUse {
        /// What was to be opened.
        directory: PathBuf,
    },
    /// The store cannot be trusted any longer: drop it, open it again (that empties it) and restore it from the changelog.
    #[error("the store of task {task} is damaged: {detail}")]
    Damaged {
        /// The task whose store it is.
        task: String,
        /// What was found.
        detail: String,
    },
    /// The file system refused (no space, no permission, no more open files). Nothing of the call happened; the same call may
    /// succeed once the cause is gone.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key is longer than [`crate::KEY_BYTES_MAX`] or a value than [`crate::VALUE_BYTES_MAX`]. Nothing of the call happened.
    #[error("a {what} of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// `key`, `value` or `checkpoint`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The largest size in bytes that is taken.
        limit: usize,
    },
    /// The pairs of a bulk load were not in ascending order of their keys. The store is as before.
    #[error("pair {position} of the bulk load does not sort behind the one before")]
    Unsorted {
        /// Number of the offending pair, from 0.
        position: u64,
    },
    /// A bulk load was asked of a store that has content or a checkpoint.
    #[error("a bulk load needs an empty store, task {task} has content")]
    NotEmpty {
        /// The task whose store it is.
        task: String,
    },
    /// What was to be loaded is not all there, or not what it should be.
    #[error("{0}")]
    Source(String),
    /// The store was closed while its rows were being read.
    #[error("the store of task {task} was closed")]
    Closed {
        /// The task whose store it was.
        task: String,
    },
    /// A value of the configuration cannot be used.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// Whether the store must be dropped and rebuilt from the changelog.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// The same error once more, for a second one who must learn of it.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::InUse { directory } => Self::InUse { directory: directory.clone() },
            Self::Damaged { task, detail } => Self::Damaged { task: task.clone(), detail: detail.clone() },
            Self::Io { doing, path, source } => {
                let source = match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                };
                Self::Io { doing, path: path.clone(), source }
            }
            Self::TooLarge { what, size, limit } => Self::TooLarge { what, size: *size, limit: *limit },
            Self::Unsorted { position } => Self::Unsorted { position: *position },
            Self::NotEmpty { task } => Self::NotEmpty { task: task.clone() },
            Self::Closed { task } => Self::Closed { task: task.clone() },
            Self::Source(problem) => Self::Source(problem.clone()),
            Self::Config(problem) => Self::Config(problem.clone()),
        }
    }
}
