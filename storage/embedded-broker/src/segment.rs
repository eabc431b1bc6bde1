//! Segment files: a run of batches each, named after the first offset. The last one of a partition grows, all others are
//! sealed. Files are opened when they are first needed, and how many stay open is bounded.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::batch::{Batch, Damage, HEADER_BYTES, Header};
use crate::disk::Disk;
use crate::index::{self, Extent, Index};

/// Path of the segment that begins at `base`.
pub(crate) fn log_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

/// Path of its index.
pub(crate) fn index_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.idx"))
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) extent: Extent,
    pub(crate) index: Index,
    /// Absent until it is needed, and after it was closed to save descriptors.
    pub(crate) file: Option<Arc<File>>,
    /// Whether the file was used since the last look of who closes files.
    pub(crate) used: bool,
    /// Whether there are bytes that no fsync has covered.
    pub(crate) dirty: bool,
    /// Length up to which an `.idx` file vouches for the content.
    pub(crate) vouched_bytes: u64,
    /// Length at which vouching for more was last asked for.
    asked_bytes: u64,
}

impl Active {
    /// A segment that begins with the next batch.
    pub(crate) fn new(base: u64) -> Self {
        Self::found(Extent { base, end: base, bytes: 0, max_timestamp: i64::MIN }, Index::default(), 0)
    }

    /// A segment whose file exists, with an `.idx` file for its first `vouched_bytes`.
    pub(crate) fn found(extent: Extent, index: Index, vouched_bytes: u64) -> Self {
        // What a dead process wrote may never have been synced.
        let dirty = vouched_bytes < extent.bytes;
        Self { extent, index, file: None, used: false, dirty, vouched_bytes, asked_bytes: vouched_bytes }
    }

    /// Whether a batch of this many bytes belongs into the next segment.
    pub(crate) fn is_full(&self, batch_bytes: usize, segment_bytes: u64) -> bool {
        self.extent.bytes > 0 && self.extent.bytes + batch_bytes as u64 > segment_bytes
    }

    /// Whether it has grown by `interval_bytes` since this was last true.
    pub(crate) fn has_grown(&mut self, interval_bytes: u64) -> bool {
        let grown = self.extent.bytes >= self.asked_bytes + interval_bytes;
        if grown {
            self.asked_bytes = self.extent.bytes;
        }
        grown
    }

    /// The file, opened if it is not.
    pub(crate) fn file(&mut self, directory: &Path) -> io::Result<(Arc<File>, Opened)> {
        self.used = true;
        if let Some(file) = &self.file {
            return Ok((file.clone(), Opened::Before));
        }
        let file = File::options().read(true).write(true).open(log_path(directory, self.extent.base))?;
        Ok((self.file.insert(Arc::new(file)).clone(), Opened::Now))
    }

    /// Notes a batch that was written at the end of the file.
    pub(crate) fn grow(&mut self, header: &Header) {
        self.index.note(header.base, self.extent.bytes);
        self.extent.bytes += header.length as u64;
        self.extent.end = header.end();
        self.extent.max_timestamp = self.extent.max_timestamp.max(header.max_timestamp);
        self.dirty = true;
    }
}

/// Whether asking for a file opened it, which those who bound the open files must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    Now,
    Before,
}

/// A segment that does not change any more.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) extent: Extent,
    directory: PathBuf,
    reading: Mutex<Option<Arc<Reading>>>,
    used: AtomicBool,
    /// Whether it still needs an fsync or its `.idx` file.
    pub(crate) unfinished: AtomicBool,
}

/// What reading a sealed segment takes.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) file: Arc<File>,
    pub(crate) index: Index,
}

impl Sealed {
    /// A segment that has its `.idx` file.
    pub(crate) fn finished(directory: &Path, extent: Extent) -> Self {
        Self {
            extent,
            directory: directory.to_owned(),
            reading: Mutex::default(),
            used: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
        }
    }

    /// A segment that has just been filled, or whose `.idx` file was lost.
    pub(crate) fn unfinished(directory: &Path, extent: Extent, index: Index, file: Arc<File>) -> Self {
        let reading = Mutex::new(Some(Arc::new(Reading { file, index })));
        Self { reading, unfinished: AtomicBool::new(true), ..Self::finished(directory, extent) }
    }

    /// Its file and index, opened and read if they are not. Blocks on the disk.
    pub(crate) fn reading(&self) -> io::Result<(Arc<Reading>, Opened)> {
        self.used.store(true, Ordering::Relaxed);
        let mut reading = self.reading.lock().expect("no holder of this lock panics");
        if let Some(reading) = &*reading {
            return Ok((reading.clone(), Opened::Before));
        }
        let file = Arc::new(File::open(log_path(&self.directory, self.extent.base))?);
        // Without its index the segment is read from its beginning: slow, and right.
        let index = index::read(&index_path(&self.directory, self.extent.base))
            .filter(|(extent, _)| *extent == self.extent)
            .map(|(_, index)| index)
            .unwrap_or_default();
        Ok((reading.insert(Arc::new(Reading { file, index })).clone(), Opened::Now))
    }

    /// Closes the file, unless it was used since the last call or is still needed.
    pub(crate) fn release(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) || self.unfinished.load(Ordering::Relaxed) {
            return false;
        }
        *self.reading.lock().expect("no holder of this lock panics") = None;
        true
    }
}

/// A part of a segment that is read from the disk.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) file: Arc<File>,
    /// Where to begin: at or before the batch that is looked for.
    position: u64,
    /// First offset of the batch that must stand there: the checksum does not cover offsets.
    expected: u64,
    /// Length of the valid part of the file in bytes.
    bytes: u64,
}

/// Why a stretch could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("at byte {position}: {damage}")]
    Damaged { position: u64, damage: Damage },
    #[error("at byte {position}: {source}")]
    Io { position: u64, source: io::Error },
}

/// Bytes that are read at a time, so that small answers cost one read.
const CHUNK_BYTES: u64 = 64 << 10;

impl Stretch {
    /// The part of a segment in which `offset` stands.
    pub(crate) fn new(file: Arc<File>, extent: &Extent, index: &Index, offset: u64) -> Self {
        let (expected, position) = index.before(offset).unwrap_or((extent.base, 0));
        Self { file, position, expected, bytes: extent.bytes }
    }

    /// Reads and checks the batches from the one that holds `offset`, up to offset `limit`, until they have `bytes_max`
    /// bytes; at least one, if there is one.
    pub(crate) fn read(
        mut self,
        disk: &dyn Disk,
        offset: u64,
        limit: u64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        let mut found = Vec::new();
        let mut left = bytes_max;
        let mut chunk = Bytes::new();
        while self.position < self.bytes {
            if chunk.len() < HEADER_BYTES {
                chunk = self.load(disk, CHUNK_BYTES)?;
            }
            let header = Header::read(&chunk).map_err(|damage| self.damaged(damage))?;
            if header.base != self.expected {
                return Err(self.damaged(Damage::Offset));
            }
            self.expected = header.end();
            let wanted = header.end() > offset;
            if header.base >= limit || (wanted && header.length > left && !found.is_empty()) {
                break;
            }
            if wanted {
                if chunk.len() < header.length {
                    chunk = self.load(disk, (header.length as u64).max(CHUNK_BYTES))?;
                }
                found.push(Batch::check(&chunk).map_err(|damage| self.damaged(damage))?);
                left = left.saturating_sub(header.length);
            }
            self.position += header.length as u64;
            chunk = if chunk.len() > header.length { chunk.slice(header.length..) } else { Bytes::new() };
        }
        Ok(found)
    }

    /// The next `length` bytes, or fewer at the end.
    fn load(&self, disk: &dyn Disk, length: u64) -> Result<Bytes, ReadError> {
        let length = usize::try_from(length.min(self.bytes - self.position)).expect("a segment fits into memory");
        let mut chunk = vec![0; length];
        disk.read(&self.file, &mut chunk, self.position)
            .map_err(|source| ReadError::Io { position: self.position, source })?;
        Ok(chunk.into())
    }

    fn damaged(&self, damage: Damage) -> ReadError {
        ReadError::Damaged { position: self.position, damage }
    }
}
