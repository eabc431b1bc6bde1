//! The data directory: its lock, and the table of topics in `meta.json`, which is replaced whole or not at all.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use event_log::{Cleanup, TopicName, TopicSpec};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::disk::Disk;
use crate::error::at;

/// Format of the data directory that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
const LOCK_FILE: &str = "lock";
const TABLE_FILE: &str = "meta.json";
const TOPICS: &str = "topics";

/// The right to use a data directory, until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    /// Unlocks rather than only closes: a child process that is just being started still has a copy of the descriptor.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "cannot unlock the data directory");
        }
    }
}

impl DirectoryLock {
    /// Takes the directory, which is created if absent.
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(at("create the data directory", directory))?;
        let path = directory.join(LOCK_FILE);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is only for the message.
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
                return Err(Error::InUse { directory: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(at("lock", path)(source)),
        }
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            // A full disk must not keep a log from being opened: the number is only for a message.
            tracing::warn!(%error, "cannot note the process in the lock file");
        }
        Ok(Self { file })
    }
}

/// The table as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Table {
    format: u32,
    topics: Vec<Entry>,
}

/// Read before the rest, since a newer format may have another rest.
#[derive(Debug, Deserialize)]
struct Format {
    format: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    partitions: u32,
    cleanup: CleanupEntry,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CleanupEntry {
    Never,
    AfterMs(u64),
    Compact,
}

/// Directory of a topic's partitions.
pub(crate) fn topic_directory(directory: &Path, topic: &TopicName) -> PathBuf {
    directory.join(TOPICS).join(topic.as_str())
}

/// Creates the directory of a topic, durably.
pub(crate) fn create_topic_directory(directory: &Path, topic: &TopicName) -> Result<(), Error> {
    let path = topic_directory(directory, topic);
    std::fs::create_dir_all(&path).map_err(at("create", &path))?;
    for parent in [directory.join(TOPICS), directory.to_owned()] {
        crate::disk::sync_directory(&parent).map_err(at("sync", &parent))?;
    }
    Ok(())
}

/// Reads the table; empty in a new directory.
pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<BTreeMap<TopicName, TopicSpec>, Error> {
    let path = directory.join(TABLE_FILE);
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return absent(disk, directory, path),
        Err(error) => return Err(at("read", path)(error)),
    };
    let damaged = |reason: String| Error::Damaged { file: path.clone(), reason };
    let Format { format } = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    if format > FORMAT {
        return Err(Error::NewerFormat { directory: directory.to_owned(), found: format, known: FORMAT });
    }
    let table: Table = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    let mut topics = BTreeMap::new();
    for entry in table.topics {
        let spec = TopicSpec {
            name: entry.name.as_str().into(),
            partitions: entry.partitions,
            cleanup: match entry.cleanup {
                CleanupEntry::Never => Cleanup::Never,
                CleanupEntry::AfterMs(age) => Cleanup::AfterMs(age),
                CleanupEntry::Compact => Cleanup::Compact,
            },
        };
        spec.check().map_err(|error| damaged(error.to_string()))?;
        topics.insert(spec.name.clone(), spec);
    }
    Ok(topics)
}

/// Without a table the directory must be new: topics without it would be taken for absent, and their offsets begin again.
fn absent(disk: &dyn Disk, directory: &Path, table: PathBuf) -> Result<BTreeMap<TopicName, TopicSpec>, Error> {
    let topics = directory.join(TOPICS);
    let used = std::fs::read_dir(&topics).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        let reason = format!("it is absent, but {} is not empty", topics.display());
        return Err(Error::Damaged { file: table, reason });
    }
    write(disk, directory, [].into_iter())?;
    Ok(BTreeMap::new())
}

/// Replaces the table.
pub(crate) fn write<'a>(
    disk: &dyn Disk,
    directory: &Path,
    topics: impl Iterator<Item = &'a TopicSpec>,
) -> Result<(), Error> {
    let topics = topics.map(|spec| Entry {
        name: spec.name.to_string(),
        partitions: spec.partitions,
        cleanup: match spec.cleanup {
            Cleanup::Never => CleanupEntry::Never,
            Cleanup::AfterMs(age) => CleanupEntry::AfterMs(age),
            Cleanup::Compact => CleanupEntry::Compact,
        },
    });
    let table = Table { format: FORMAT, topics: topics.collect() };
    let content = serde_json::to_vec_pretty(&table).expect("names and numbers can always be written as JSON");
    let path = directory.join(TABLE_FILE);
    disk.replace_durably(&path, &content).map_err(at("write", path))
}
