//! What is found when a partition is opened: its segments, where they end, and whether anything is missing.
//!
//! Only the last segment is scanned, behind what its `.idx` file vouches for. An append that was cut off by a crash leaves
//! a torn end, which is cut away: nobody was told that it happened. Whole batches *behind* a damaged one mean that
//! acknowledged records rotted; then the partition refuses rather than to cut them away. The same holds for a gap between
//! segments: a power loss may take the end of one that was sealed but not synced, while the file of the next is there already,
//! because another partition's fsync has made its name durable.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use event_log::TopicPartition;

use crate::Error;
use crate::batch::{Batch, Damage, HEADER_BYTES, Header};
use crate::disk::sync_directory;
use crate::error::at;
use crate::index::{self, Extent, Index};
use crate::segment::{Active, Sealed, index_path, log_path};
use crate::start;

/// A partition as it was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) sealed: Vec<Arc<Sealed>>,
    pub(crate) active: Option<Active>,
}

/// What opening a partition may say.
#[derive(Debug)]
pub(crate) enum Outcome {
    Whole(Found),
    /// The partition must not be used; the text says why.
    Damaged(String),
}

/// Opens the partition in `directory`, which need not exist.
pub(crate) fn open(partition: &TopicPartition, directory: &Path) -> Result<Outcome, Error> {
    let Some(mut bases) = bases(directory)? else {
        return Ok(Outcome::Whole(Found::default()));
    };
    bases.sort_unstable();
    let start = match start::read(directory) {
        Ok(start) => start,
        Err(reason) => return Ok(Outcome::Damaged(reason)),
    };
    remove_removed(partition, directory, start, &mut bases);
    let end = bases.first().copied().unwrap_or(start);
    if end > start {
        return Ok(Outcome::Damaged(format!("the segments from offset {start} to {end} are missing")));
    }
    Recovery { partition, directory, end }.walk(start, &bases)
}

/// First offsets of the segments; `None` without a directory. Remains of unfinished replacements are removed.
fn bases(directory: &Path) -> Result<Option<Vec<u64>>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("read the directory", directory)(error)),
    };
    let mut bases = Vec::new();
    for entry in entries {
        let path = entry.map_err(at("read the directory", directory))?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("log") => {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                if stem.len() == 20
                    && let Ok(base) = stem.parse()
                {
                    bases.push(base);
                }
            }
            Some("tmp") => std::fs::remove_file(&path).map_err(at("remove", &path))?,
            _ => {}
        }
    }
    Ok(Some(bases))
}

/// Takes away the segments that lie whole below the start: a crash may have come between noting the start and removing the
/// files, or one of them could not be removed. They hold nothing of the log, whatever is in them or missing between them.
fn remove_removed(partition: &TopicPartition, directory: &Path, start: u64, bases: &mut Vec<u64>) {
    let behind = bases.windows(2).take_while(|pair| pair[1] <= start).count();
    for base in bases.drain(..behind) {
        remove_or_warn(partition, directory, base);
    }
}

fn remove_or_warn(partition: &TopicPartition, directory: &Path, base: u64) {
    if let Err(error) = remove_segment(directory, base) {
        // It is tried again when the log is opened the next time.
        tracing::warn!(%partition, base, %error, "cannot remove a segment");
    }
}

struct Recovery<'a> {
    partition: &'a TopicPartition,
    directory: &'a Path,
    /// The offset that the next segment must begin with.
    end: u64,
}

impl Recovery<'_> {
    fn walk(&mut self, start: u64, bases: &[u64]) -> Result<Outcome, Error> {
        let mut sealed = Vec::new();
        let mut active = None;
        for (nth, base) in bases.iter().enumerate() {
            if *base != self.end {
                return Ok(Outcome::Damaged(self.missing(*base)));
            }
            let later = &bases[nth + 1..];
            let scanned = match Scan::of(self.directory, *base)? {
                Ok(scanned) => scanned,
                Err(reason) => return Ok(Outcome::Damaged(reason)),
            };
            self.end = scanned.extent.end;
            let ends_early = later.first().is_some_and(|next| *next > self.end);
            if scanned.torn_bytes > 0 || ends_early {
                // Only unacknowledged appends may be thrown away, and behind those there can be no whole batch.
                if self.any_batch(later)? {
                    let missing = || self.missing(later.first().copied().unwrap_or(self.end));
                    let reason = if scanned.torn_bytes > 0 { scanned.complaint() } else { missing() };
                    return Ok(Outcome::Damaged(reason));
                }
                self.cut(&scanned, later)?;
                active = Some(scanned.into_active());
                break;
            }
            if later.is_empty() {
                active = Some(scanned.into_active());
            } else if scanned.vouched_bytes == scanned.extent.bytes {
                sealed.push(Arc::new(Sealed::finished(self.directory, scanned.extent)));
            } else {
                let Scan { extent, index, file, .. } = scanned;
                sealed.push(Arc::new(Sealed::unfinished(self.directory, extent, index, Arc::new(file))));
            }
        }
        // Of the last segment only a look into it tells where it ends. At exactly the start it may be the empty file that the next
        // append goes to.
        let is_removed =
            |last: &mut Active| last.extent.end < start || (last.extent.end == start && last.extent.bytes > 0);
        if let Some(last) = active.take_if(is_removed) {
            remove_or_warn(self.partition, self.directory, last.extent.base);
        }
        Ok(Outcome::Whole(Found { start, end: self.end.max(start), sealed, active }))
    }

    fn missing(&self, base: u64) -> String {
        format!("the segment from offset {} to {base} is missing", self.end)
    }

    /// Whether one of these segments has a whole batch, or had one that was synced.
    fn any_batch(&self, later: &[u64]) -> Result<bool, Error> {
        for base in later {
            if index::read(&index_path(self.directory, *base)).is_some_and(|(extent, _)| extent.bytes > 0) {
                return Ok(true);
            }
            let path = log_path(self.directory, *base);
            let content = std::fs::read(&path).map_err(at("read", &path))?;
            if find_batch(&content.into(), *base).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cut(&self, scanned: &Scan, later: &[u64]) -> Result<(), Error> {
        let path = log_path(self.directory, scanned.extent.base);
        tracing::warn!(
            partition = %self.partition,
            offset = scanned.extent.end,
            bytes = scanned.torn_bytes,
            segments = later.len(),
            "cut off what was not finished"
        );
        for base in later {
            remove_segment(self.directory, *base)?;
        }
        scanned.file.set_len(scanned.extent.bytes).map_err(at("cut", &path))?;
        scanned.file.sync_all().map_err(at("sync", &path))?;
        sync_directory(self.directory).map_err(at("sync", self.directory))
    }
}

/// Removes the files of a segment.
pub(crate) fn remove_segment(directory: &Path, base: u64) -> Result<(), Error> {
    for path in [log_path(directory, base), index_path(directory, base)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("remove", path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// A segment whose batches were checked behind what its `.idx` file vouches for.
struct Scan {
    path: PathBuf,
    file: File,
    extent: Extent,
    index: Index,
    vouched_bytes: u64,
    /// Bytes behind the last whole batch.
    torn_bytes: u64,
    damage: Damage,
}

impl Scan {
    /// Scans; the inner error says why the segment must not be used.
    fn of(directory: &Path, base: u64) -> Result<Result<Self, String>, Error> {
        let path = log_path(directory, base);
        let mut file = File::options().read(true).write(true).open(&path).map_err(at("open", &path))?;
        let length = file.metadata().map_err(at("look at", &path))?.len();
        let fresh = Extent { base, end: base, bytes: 0, max_timestamp: i64::MIN };
        let (extent, index) = index::read(&index_path(directory, base))
            .filter(|(extent, _)| extent.base == base)
            .unwrap_or((fresh, Index::default()));
        let vouched_bytes = extent.bytes;
        if vouched_bytes > length {
            // The index is written after the content was synced, so these bytes had been on the disk.
            return Ok(Err(format!("{} has {length} bytes of {vouched_bytes}", path.display())));
        }
        let scan = Self {
            path,
            file: file.try_clone().map_err(at("open", directory))?,
            extent,
            index,
            vouched_bytes,
            torn_bytes: 0,
            damage: Damage::Short,
        };
        if length > vouched_bytes {
            let mut rest = Vec::new();
            io::Seek::seek(&mut file, io::SeekFrom::Start(vouched_bytes)).map_err(at("read", &scan.path))?;
            file.read_to_end(&mut rest).map_err(at("read", &scan.path))?;
            return Ok(scan.batches(rest.into()));
        }
        Ok(Ok(scan))
    }

    fn batches(mut self, mut rest: Bytes) -> Result<Self, String> {
        while !rest.is_empty() {
            let checked = Batch::check(&rest)
                .and_then(|batch| if batch.base() == self.extent.end { Ok(batch) } else { Err(Damage::Offset) });
            match checked {
                Ok(batch) => {
                    self.note(batch.header());
                    rest = rest.slice(batch.header().length..);
                }
                Err(damage) => {
                    self.torn_bytes = rest.len() as u64;
                    self.damage = damage;
                    let follows = find_batch(&rest, self.extent.end);
                    return if follows.is_some_and(|at| !has_lost_page(&rest[..at], self.extent.bytes)) {
                        Err(self.complaint())
                    } else {
                        Ok(self)
                    };
                }
            }
        }
        Ok(self)
    }

    fn note(&mut self, header: &Header) {
        self.index.note(header.base, self.extent.bytes);
        self.extent.bytes += header.length as u64;
        self.extent.end = header.end();
        self.extent.max_timestamp = self.extent.max_timestamp.max(header.max_timestamp);
    }

    fn complaint(&self) -> String {
        let Self { path, extent, damage, .. } = self;
        format!(
            "{} is damaged at byte {} (offset {}): {damage}, and whole batches follow",
            path.display(),
            extent.bytes,
            extent.end
        )
    }

    fn into_active(self) -> Active {
        Active::found(self.extent, self.index, self.vouched_bytes)
    }
}

/// Where in `bytes` a whole batch begins whose offset is `from` or later; `None` if nowhere.
fn find_batch(bytes: &Bytes, from: u64) -> Option<usize> {
    let last = bytes.len().checked_sub(HEADER_BYTES)?;
    // The header is tried first, since it is refused at nearly every byte; only then the checksum is computed.
    (0..=last).find(|at| {
        Header::read(&bytes[*at..]).is_ok_and(|header| header.base >= from) && Batch::check(&bytes.slice(at..)).is_ok()
    })
}

/// Whether a sector of these bytes, which begin at `position` of a file, is all zeros as far as they reach: the trace of a
/// page that had not reached the disk when the machine lost power, which rot does not leave.
fn has_lost_page(bytes: &[u8], position: u64) -> bool {
    const SECTOR_BYTES: u64 = 512;
    let head = usize::try_from(SECTOR_BYTES - position % SECTOR_BYTES).unwrap_or(usize::MAX).min(bytes.len());
    let (head, rest) = bytes.split_at(head);
    // A batch does not begin with this many zeros: its offset is followed by its length.
    let zeros = |sector: &[u8]| sector.len() >= 12 && sector.iter().all(|byte| *byte == 0);
    zeros(head) || rest.chunks_exact(512).any(zeros)
}
