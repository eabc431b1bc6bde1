//! What was read from files and is read again when they change: certificates are renewed and tokens revoked without a
//! restart.
//!
//! Always: what is used was read as a whole and without fault. Files that changed and cannot be used leave everything as it
//! is, say so once, and are tried again until they can: a fault of the disk must not keep a revoked token alive.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use credentials::FileError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the files anew.
type Read<T> = Box<dyn Fn() -> Result<T, FileError> + Send + Sync>;

/// When each file was written, and how long it is. Files that are not there have no stamp.
type Stamp = Vec<Option<(SystemTime, u64)>>;

/// What a few files say, as of their last good state.
pub(crate) struct Live<T> {
    current: RwLock<Arc<T>>,
    changed: watch::Sender<()>,
    files: Vec<PathBuf>,
    read: Read<T>,
    looked: Mutex<Looked>,
}

/// What was found of the files so far.
struct Looked {
    /// The files that are in force.
    seen: Stamp,
    /// The last fault that was told, and of which files.
    told: Option<(Stamp, FileError)>,
}

impl<T> Live<T> {
    /// Reads the files for the first time.
    pub(crate) fn open(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        // Before they are read: what is written in between is read once more.
        let looked = Mutex::new(Looked { seen: stamp(&files), told: None });
        let current = RwLock::new(Arc::new(read()?));
        Ok(Self { current, changed: watch::Sender::new(()), files, read: Box::new(read), looked })
    }

    /// What the files say.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of each change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Something that follows files.
pub trait Renew: Send + Sync + fmt::Debug {
    /// Reads the files again if they were written since. Blocks. Returns whether anything is new.
    ///
    /// # Errors
    /// The files cannot be used; what they said before stays in force. The same fault of the same files is told once.
    fn renew(&self) -> Result<bool, FileError>;
}

impl<T: Send + Sync> Renew for Live<T> {
    fn renew(&self) -> Result<bool, FileError> {
        let now = stamp(&self.files);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.seen == now {
            return Ok(false);
        }
        let renewed = match (self.read)() {
            Ok(renewed) => Arc::new(renewed),
            Err(error) => {
                let fault = Some((now, error.clone()));
                if looked.told == fault {
                    return Ok(false);
                }
                looked.told = fault;
                return Err(error);
            }
        };
        *looked = Looked { seen: now, told: None };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        self.changed.send_replace(());
        tracing::info!(files = ?self.files, "files are read again");
        Ok(true)
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Looks at files again and again until `shutdown`, if there are any.
pub async fn renew_all(parts: Vec<Arc<dyn Renew>>, shutdown: CancellationToken) {
    if parts.is_empty() {
        return;
    }
    let parts: Arc<[Arc<dyn Renew>]> = parts.into();
    while tokio::time::timeout(LOOK_INTERVAL, shutdown.cancelled()).await.is_err() {
        let parts = parts.clone();
        let looked = tokio::task::spawn_blocking(move || {
            for part in &*parts {
                if let Err(error) = part.renew() {
                    tracing::error!(%error, "file that was renewed cannot be used; its predecessor stays in force");
                }
            }
        });
        // One that panicked has said so itself.
        let _ = looked.await;
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let of = |file: &PathBuf| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    files.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_once_is_read_again_without_being_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        std::fs::write(&file, "1").unwrap();
        let fault = Arc::new(Mutex::new(None::<&str>));
        let read = {
            let (file, fault) = (file.clone(), fault.clone());
            move || match *fault.lock().unwrap() {
                Some(fault) => Err(FileError::new(&file, fault)),
                None => std::fs::read_to_string(&file).map_err(|error| FileError::new(&file, error)),
            }
        };
        let live = Live::open(vec![file.clone()], read).unwrap();
        std::fs::write(&file, "22").unwrap();
        *fault.lock().unwrap() = Some("input/output error");
        assert_eq!(live.renew().unwrap_err().reason, "input/output error");
        assert!(!live.renew().unwrap(), "it is said once");
        *fault.lock().unwrap() = Some("permission denied");
        assert_eq!(live.renew().unwrap_err().reason, "permission denied", "another fault is said too");
        *fault.lock().unwrap() = None;
        assert!(live.renew().unwrap());
        assert_eq!(*live.current(), "22");
        assert!(!live.renew().unwrap());
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_one_that_is_wrong_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        let read = {
            let file = file.clone();
            move || {
                let text = std::fs::read_to_string(&file).map_err(|error| FileError::new(&file, error))?;
                text.parse::<u64>().map_err(|error| FileError::new(&file, error))
            }
        };
        assert_eq!(Live::open(vec![file.clone()], read.clone()).unwrap_err().file, file);
        std::fs::write(&file, "1").unwrap();
        let live = Live::open(vec![file.clone()], read).unwrap();
        assert!(!live.renew().unwrap(), "nothing was written");
        assert_eq!(*live.current(), 1);

        std::fs::write(&file, "22").unwrap();
        assert!(live.renew().unwrap());
        assert_eq!(*live.current(), 22);

        std::fs::write(&file, "many").unwrap();
        assert_eq!(live.renew().unwrap_err().file, file);
        assert!(!live.renew().unwrap(), "it is said once");
        assert_eq!(*live.current(), 22);

        std::fs::remove_file(&file).unwrap();
        assert!(live.renew().is_err());
        std::fs::write(&file, "4444").unwrap();
        assert!(live.renew().unwrap());
        assert_eq!(*live.current(), 4444);
    }
}
