//! The data directory: what is in it, and whether this process may use it.
//!
//! ```text
//! <data>/ordermesh.json   format and partition count, written before anything else
//! <data>/log/             the embedded log, the truth
//! <data>/state/           the tasks' stores, a cache of it
//! ```

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Format of the directory that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
const FILE: &str = "ordermesh.json";

/// A data directory that fits.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    root: PathBuf,
}

/// Why a data directory cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Keys would change their homes.
    #[error(
        "data directory {} has {found} partitions, not {wanted}: start with --partitions {found}, or use another directory \
         with --data", directory.display()
    )]
    Partitions {
        /// The directory.
        directory: PathBuf,
        /// Its count.
        found: u32,
        /// The count asked for.
        wanted: u32,
    },
    /// A newer version wrote it.
    #[error(
        "data directory {} has format {found}, and this version reads up to {FORMAT}: start the newer version, or use \
         another directory with --data", directory.display()
    )]
    NewerFormat {
        /// The directory.
        directory: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Something else is in it.
    #[error("directory {} holds other files and no data of ordermesh: use an empty or new one with --data", directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
    },
    /// There is none.
    #[error("directory {} holds no data of ordermesh: name the data directory of a mesh with --data", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// Its description cannot be read.
    #[error("{} is damaged: restore it, or use another directory with --data", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The disk refuses.
    #[error("data directory {} cannot be used", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    format: u32,
    partitions: u32,
}

/// What of a description every version can read.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl DataDirectory {
    /// Makes the directory, or checks the one that is there.
    ///
    /// # Errors
    /// [`DataError`]; then nothing in it was changed.
    pub fn open(root: &Path, partitions: u32) -> Result<Self, DataError> {
        let io = |source| DataError::Io { directory: root.to_owned(), source };
        let file = root.join(FILE);
        match std::fs::read(&file) {
            Ok(bytes) => check(&bytes, root, &file, partitions)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(root).map_err(io)?;
                if std::fs::read_dir(root).map_err(io)?.filter_map(Result::ok).any(|entry| !is_ours(&entry)) {
                    return Err(DataError::Foreign { directory: root.to_owned() });
                }
                describe(root, &Description { format: FORMAT, partitions }).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Checks the directory that is there, and makes none.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn existing(root: &Path, partitions: u32) -> Result<Self, DataError> {
        let file = root.join(FILE);
        match std::fs::read(&file) {
            Ok(bytes) => check(&bytes, root, &file, partitions)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataError::Missing { directory: root.to_owned() });
            }
            Err(source) => return Err(DataError::Io { directory: root.to_owned(), source }),
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the embedded log lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where the tasks' stores live.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }
}

fn check(bytes: &[u8], root: &Path, file: &Path, wanted: u32) -> Result<(), DataError> {
    let damaged = |source| DataError::Damaged { file: file.to_owned(), source };
    let AnyFormat { format: found } = serde_json::from_slice(bytes).map_err(damaged)?;
    if found > FORMAT {
        return Err(DataError::NewerFormat { directory: root.to_owned(), found });
    }
    let Description { partitions: found, .. } = serde_json::from_slice(bytes).map_err(damaged)?;
    if found != wanted {
        return Err(DataError::Partitions { directory: root.to_owned(), found, wanted });
    }
    Ok(())
}

/// A start that died before it had described the directory leaves this one file.
fn is_ours(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_str() == Some(NEW_FILE)
}

const NEW_FILE: &str = "ordermesh.json.new";

/// Whole or not at all, and durable before anything else is written.
fn describe(root: &Path, description: &Description) -> io::Result<()> {
    let new = root.join(NEW_FILE);
    let mut file = std::fs::File::create(&new)?;
    serde_json::to_writer(&mut file, description)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&new, root.join(FILE))?;
    std::fs::File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_and_used_again() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("a/b");
        DataDirectory::open(&root, 4).unwrap();
        let again = DataDirectory::open(&root, 4).unwrap();
        assert_eq!(again.log(), root.join("log"));
    }

    #[test]
    fn a_directory_that_is_only_looked_at_is_not_made() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("a");
        let refused = DataDirectory::existing(&root, 4).unwrap_err();
        assert!(matches!(refused, DataError::Missing { .. }) && refused.to_string().contains("--data"), "{refused}");
        assert!(!root.exists());
        DataDirectory::open(&root, 4).unwrap();
        assert_eq!(DataDirectory::existing(&root, 4).unwrap().root(), root);
        assert!(matches!(DataDirectory::existing(&root, 8), Err(DataError::Partitions { found: 4, .. })));
    }

    #[test]
    fn another_partition_count_is_refused_with_what_to_do() {
        let temporary = tempfile::tempdir().unwrap();
        DataDirectory::open(temporary.path(), 4).unwrap();
        let refused = DataDirectory::open(temporary.path(), 8).unwrap_err().to_string();
        assert!(refused.contains("has 4 partitions, not 8: start with --partitions 4"), "{refused}");
    }

    #[test]
    fn newer_foreign_and_damaged_directories_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join(FILE);
        std::fs::write(&file, r#"{"format": 2, "shape": "unknown"}"#).unwrap();
        let refused = DataDirectory::open(temporary.path(), 4).unwrap_err();
        assert!(matches!(refused, DataError::NewerFormat { found: 2, .. }), "{refused}");
        assert!(refused.to_string().contains("start the newer version"));

        std::fs::write(&file, "hello").unwrap();
        assert!(matches!(DataDirectory::open(temporary.path(), 4), Err(DataError::Damaged { .. })));

        std::fs::rename(&file, temporary.path().join("thesis.txt")).unwrap();
        assert!(matches!(DataDirectory::open(temporary.path(), 4), Err(DataError::Foreign { .. })));
    }

    #[test]
    fn a_start_that_died_while_it_described_the_directory_does_no_harm() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join(NEW_FILE), "{").unwrap();
        DataDirectory::open(temporary.path(), 4).unwrap();
    }
}
