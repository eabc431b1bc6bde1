//! The directory of all stores: its lock, one sub-directory per task, and the marker that tells an open that never finished.
//!
//! ```text
//! <directory>/.lock                held by flock while the process has the stores open
//! <directory>/orders%2F3/tables/   the fjall database of task orders/3
//! <directory>/orders%2F3.attempts  another note about that task: see `Stores::path_beside`
//! <directory>/orders%2F3/opening   there while an open is under way: [phase, unfinished opens before this one]
//! ```
//!
//! What always holds: nothing inside a task's directory is needed; deleting it at any moment is safe while it is not open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// The dot keeps it apart from every task: their names have none.
const LOCK_FILE: &str = ".lock";
const TABLES_DIRECTORY: &str = "tables";
const OPENING_FILE: &str = "opening";
const TASK_NAME_BYTES_MAX: usize = 80;

/// Wraps an error of the file system.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// Creates the directory if needed and takes its lock, which lives as long as the returned file.
pub(crate) fn lock(directory: &Path) -> Result<File, Error> {
    fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { directory: directory.to_owned() }),
        Err(errno) => Err(io_error("lock", &path)(errno.into())),
    }
}

/// How far an open got before the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading the tables' metadata. Damage there can abort the process, so one unfinished open is enough to give up.
    Metadata = b'm' as isize,
    /// Reading all rows. That takes seconds, and a process may well be killed meanwhile; only the second unfinished open
    /// counts.
    Rows = b'r' as isize,
}

/// The directory of one task.
#[derive(Debug, Clone)]
pub(crate) struct TaskDirectory {
    path: PathBuf,
}

impl TaskDirectory {
    pub(crate) fn new(directory: &Path, task: &str) -> Result<Self, Error> {
        if task.is_empty() || task.len() > TASK_NAME_BYTES_MAX {
            return Err(Error::Config(format!("a task's name has 1 to {TASK_NAME_BYTES_MAX} bytes: {task:?}")));
        }
        Ok(Self { path: directory.join(file_name(task)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.path.join(TABLES_DIRECTORY)
    }

    pub(crate) fn exists(&self) -> Result<bool, Error> {
        self.path.try_exists().map_err(io_error("look for", &self.path))
    }

    /// Deletes everything the task has here.
    pub(crate) fn wipe(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("delete", &self.path)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(io_error("create", &self.path))
    }

    /// Whether an earlier open ended in a way that says that the next one would end likewise.
    pub(crate) fn gives_up(&self) -> bool {
        match self.unfinished() {
            Some((Phase::Metadata, _)) => true,
            Some((Phase::Rows, before)) => before > 0,
            None => false,
        }
    }

    fn unfinished(&self) -> Option<(Phase, u8)> {
        match fs::read(self.path.join(OPENING_FILE)) {
            Ok(content) => match content[..] {
                [phase, before] if phase == Phase::Rows as u8 => Some((Phase::Rows, before)),
                _ => Some((Phase::Metadata, 0)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Something is there that cannot be read as a file.
            Err(_) => Some((Phase::Metadata, 0)),
        }
    }

    /// Notes that an open has reached `phase`; `before` opens before it did not finish.
    pub(crate) fn mark(&self, phase: Phase, before: u8) -> Result<(), Error> {
        let path = self.path.join(OPENING_FILE);
        fs::write(&path, [phase as u8, before]).map_err(io_error("write", &path))
    }

    /// How many opens did not get through the rows.
    pub(crate) fn unfinished_opens(&self) -> u8 {
        match self.unfinished() {
            Some((Phase::Rows, before)) => before.saturating_add(1),
            _ => 0,
        }
    }

    pub(crate) fn unmark(&self) -> Result<(), Error> {
        let path = self.path.join(OPENING_FILE);
        fs::remove_file(&path).map_err(io_error("delete", &path))
    }
}

/// A file name for any task name, one to one: bytes other than letters, digits, `-` and `_` become `%XX`.
pub(crate) fn file_name(task: &str) -> String {
    let mut name = String::with_capacity(task.len() + 8);
    for byte in task.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}
