//! The first offset of a partition that is left after records were removed, kept in a small file of its own.

use std::io;
use std::path::Path;

use crate::disk::Disk;

const FILE: &str = "start-offset";

/// Reads the start; 0 if nothing was ever removed. The error says why the file cannot be used.
pub(crate) fn read(directory: &Path) -> Result<u64, String> {
    let path = directory.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Keeps the start: whole or not at all, and durably.
pub(crate) fn write(disk: &dyn Disk, directory: &Path, start: u64) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    disk.replace_durably(&directory.join(FILE), format!("{start} {:08x}\n", checksum(start)).as_bytes())
}

fn parse(text: &str) -> Option<u64> {
    let (start, check) = text.strip_suffix('\n')?.split_once(' ')?;
    let start = start.parse().ok()?;
    (check == format!("{:08x}", checksum(start))).then_some(start)
}

fn checksum(start: u64) -> u32 {
    crc32c::crc32c(&start.to_le_bytes())
}
