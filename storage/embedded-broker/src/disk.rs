//! The calls that can fail on a bad or full disk, behind a trait, so that tests can make them fail.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Reads and changes of files. Every implementation but the tests' is [`Direct`].
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// Fills `bytes` from `position` on.
    fn read(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()>;

    /// Creates an empty file.
    fn create(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory, to sync its entries.
    fn open_directory(&self, path: &Path) -> io::Result<File>;

    /// Writes all of `bytes` at `position`. After an error any part of them may be in the file.
    fn write(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes the file's content and length durable.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn cut(&self, file: &File, length: u64) -> io::Result<()>;

    /// Replaces a file so that a crash at any point leaves the old or the new content, and the new one once this returns.
    fn replace_durably(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Replaces a file that can be made again: a crash of the machine may leave it damaged, which its reader must notice.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
}

/// The operating system, directly.
#[derive(Debug)]
pub(crate) struct Direct;

impl Disk for Direct {
    fn read(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        file.read_exact_at(bytes, position)
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        File::options().write(true).create(true).truncate(true).open(path).map(drop)
    }

    fn open_directory(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn write(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        file.write_all_at(bytes, position)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn replace_durably(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = write_beside(path, content, true)?;
        std::fs::rename(temporary, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = write_beside(path, content, false)?;
        std::fs::rename(temporary, path)
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_beside(path: &Path, content: &[u8], durable: bool) -> io::Result<std::path::PathBuf> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    Ok(temporary)
}
