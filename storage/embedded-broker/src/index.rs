//! Where batches stand in a segment file, sparsely, and the `.idx` file that keeps it.
//!
//! An `.idx` file vouches for a prefix of its segment: that part is not scanned when the log is opened. It can always be
//! made again from the segment, so one that is absent, foreign or damaged is ignored.

use std::path::Path;

use crate::disk::Disk;

/// A new entry is made when this many bytes lie behind the last one.
const INTERVAL_BYTES: u64 = 16 << 10;
const MAGIC: &[u8; 8] = b"OMINDEX1";
/// Magic, base, end, bytes, newest timestamp, and the count of entries.
const FIXED_BYTES: usize = 8 + 5 * 8;

/// Sparse positions of batches, in order. A position is where a batch with that first offset begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<(u64, u64)>,
}

impl Index {
    /// Notes a batch; called for each in order.
    pub(crate) fn note(&mut self, base: u64, position: u64) {
        if position >= self.entries.last().map_or(0, |(_, last)| *last) + INTERVAL_BYTES {
            self.entries.push((base, position));
        }
    }

    /// First offset and position of a batch at or before the one that holds `offset`; `None` for the first of the segment.
    pub(crate) fn before(&self, offset: u64) -> Option<(u64, u64)> {
        let behind = self.entries.partition_point(|(base, _)| *base <= offset);
        behind.checked_sub(1).map(|last| self.entries[last])
    }
}

/// What an `.idx` file says about its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First offset of the segment.
    pub(crate) base: u64,
    /// The offset behind its last record.
    pub(crate) end: u64,
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// Newest timestamp of its records in milliseconds, the smallest number if it has none.
    pub(crate) max_timestamp: i64,
}

/// Writes the `.idx` file of a segment.
pub(crate) fn write(disk: &dyn Disk, path: &Path, extent: &Extent, index: &Index) -> std::io::Result<()> {
    let mut content = Vec::with_capacity(FIXED_BYTES + index.entries.len() * 16 + 4);
    content.extend_from_slice(MAGIC);
    for number in
        [extent.base, extent.end, extent.bytes, extent.max_timestamp.cast_unsigned(), index.entries.len() as u64]
    {
        content.extend_from_slice(&number.to_le_bytes());
    }
    for (base, position) in &index.entries {
        content.extend_from_slice(&base.to_le_bytes());
        content.extend_from_slice(&position.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&content);
    content.extend_from_slice(&checksum.to_le_bytes());
    disk.replace(path, &content)
}

/// Reads an `.idx` file; `None` if there is no sound one.
pub(crate) fn read(path: &Path) -> Option<(Extent, Index)> {
    parse(&std::fs::read(path).ok()?)
}

fn parse(content: &[u8]) -> Option<(Extent, Index)> {
    let (content, checksum) = content.split_last_chunk::<4>()?;
    let body = content.strip_prefix(MAGIC)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (words, rest) = body.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let (base, end, bytes, timestamp, count) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let mut entries = Vec::with_capacity(words.len() / 2);
    while let (Some(offset), Some(position)) = (words.next(), words.next()) {
        entries.push((offset, position));
    }
    let whole = rest.is_empty() && entries.len() as u64 == count;
    whole.then_some((Extent { base, end, bytes, max_timestamp: timestamp.cast_signed() }, Index { entries }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Extent, Index) {
        let mut index = Index::default();
        for batch in 0..1_000 {
            index.note(500 + batch * 3, batch * 1_000);
        }
        (Extent { base: 500, end: 3_500, bytes: 1_000_000, max_timestamp: -7 }, index)
    }

    #[test]
    fn positions_lie_at_or_before_the_batch() {
        let (_, index) = sample();
        for offset in 500..3_500 {
            let batch = (offset - 500) / 3 * 1_000;
            let (base, position) = index.before(offset).unwrap_or((500, 0));
            assert_eq!(base, 500 + position / 1_000 * 3);
            assert!(position <= batch && batch - position < INTERVAL_BYTES + 1_000, "{offset}: {position}");
        }
    }

    #[test]
    fn files_come_back_and_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.idx");
        assert_eq!(read(&path), None);
        let (extent, index) = sample();
        write(&crate::disk::Direct, &path, &extent, &index).unwrap();
        assert_eq!(read(&path), Some((extent, index)));
        let content = std::fs::read(&path).unwrap();
        for at in 0..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged), None);
            assert_eq!(parse(&content[..at]), None);
        }
    }
}
