//! Why a log cannot be opened, and how faults of the disk are told to callers of the port.

use std::io;
use std::path::PathBuf;

/// Why an embedded log could not be opened. Each message says what to do or names the file at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process, or another log of this process, has the directory.
    #[error("data directory {} is in use by {holder}: stop it, or use another directory", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// Who has it, as far as that is known.
        holder: String,
    },
    /// The directory was written by a newer version of this program.
    #[error(
        "data directory {} has log format {found}, and this version reads up to {known}: start the newer version, \
         or use another directory",
        directory.display()
    )]
    NewerFormat {
        /// The data directory.
        directory: PathBuf,
        /// Format of the directory.
        found: u32,
        /// Newest format that this version reads.
        known: u32,
    },
    /// The table of topics cannot be read.
    #[error("{} is damaged ({reason}): restore it, or use another data directory", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("the embedded log cannot be set up: {0}")]
    Config(String),
    /// The disk failed or refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl From<Error> for event_log::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { action, path, source } => refused(&format!("cannot {action} {}", path.display()), &source),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Wraps an I/O error with what was tried and where.
pub(crate) fn at(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}

/// The port's error for a fault that left everything as it was: whether trying again may help depends on the fault.
pub(crate) fn refused(what: &str, source: &io::Error) -> event_log::Error {
    let message = format!("{what}: {source}");
    match source.kind() {
        // A full disk is emptied, a quota raised and descriptors come back without touching the log.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            event_log::Error::Unavailable(message)
        }
        _ if is_out_of_descriptors(source) => event_log::Error::Unavailable(message),
        _ => event_log::Error::Failed(message),
    }
}

fn is_out_of_descriptors(source: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE))
}
