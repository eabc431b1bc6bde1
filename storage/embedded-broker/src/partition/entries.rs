//! Directories whose entries are to be made durable.
//!
//! To open one may fail for want of descriptors, which says nothing of what is on the disk; a failed fsync does. So the two are
//! kept apart: where somebody waits for the fsync, the directory is opened before anything is written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::SyncPolicy;
use crate::disk::Disk;

/// A directory with new entries.
#[derive(Debug)]
pub(crate) enum Entries {
    /// Open, as it is synced soon.
    Open(File),
    /// Opened when it is synced, which may be much later: many of them would use up the descriptors.
    Of(PathBuf),
}

impl Entries {
    pub(super) fn new(disk: &dyn Disk, directory: &Path, sync: SyncPolicy) -> io::Result<Self> {
        match sync {
            SyncPolicy::Group => disk.open_directory(directory).map(Self::Open),
            SyncPolicy::Os => Ok(Self::Of(directory.to_owned())),
        }
    }

    /// The directory, open.
    pub(super) fn open(&mut self, disk: &dyn Disk) -> io::Result<&File> {
        if let Self::Of(directory) = self {
            *self = Self::Open(disk.open_directory(directory)?);
        }
        match self {
            Self::Open(file) => Ok(file),
            Self::Of(_) => unreachable!("it was opened above"),
        }
    }
}
