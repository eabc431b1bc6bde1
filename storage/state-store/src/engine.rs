//! Calls into fjall, with what it does on damage turned into errors: it trusts its metadata in places, and panics when that
//! makes no sense.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::Error;

/// Runs a call into fjall.
///
/// # Errors
/// [`Error::InUse`], [`Error::Io`] when the file system refused, [`Error::Damaged`] for everything else.
pub(crate) fn call<T>(
    task: &str,
    path: &Path,
    doing: &'static str,
    call: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, Error> {
    // Unwind safety: after a panic the store reports damage, and nothing but its drop touches fjall again.
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(payload) => return Err(damaged(task, format!("cannot {doing}: {}", panic_text(payload.as_ref())))),
    };
    match failure {
        fjall::Error::Locked => Err(Error::InUse { directory: path.to_owned() }),
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            if tells_damage(&source) {
                Err(damaged(task, format!("cannot {doing}: {source}")))
            } else {
                Err(Error::Io { doing, path: path.to_owned(), source })
            }
        }
        other => Err(damaged(task, format!("cannot {doing}: {other:?}"))),
    }
}

pub(crate) fn damaged(task: &str, detail: String) -> Error {
    Error::Damaged { task: task.to_owned(), detail }
}

/// Whether an I/O error speaks of the content of the files, which rebuilding cures, and not of the file system. What does not
/// come from the system comes from a reader that did not understand what it read. After EIO nobody knows what is on the disk:
/// pages that an fsync could not write may be dropped, and the next one says that all is well.
fn tells_damage(error: &io::Error) -> bool {
    use ErrorKind::{AlreadyExists, DirectoryNotEmpty, InvalidInput, IsADirectory, NotADirectory, NotFound};
    let kinds = [AlreadyExists, DirectoryNotEmpty, InvalidInput, IsADirectory, NotADirectory, NotFound];
    let is_broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    error.raw_os_error().is_none() || is_broken || kinds.contains(&error.kind())
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic without a message")
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_disk_that_fails_leaves_nothing_to_trust_and_one_that_refuses_harms_nothing() {
        let failed = |errno: Errno| {
            let failure = || Err::<(), _>(fjall::Error::Io(io::Error::from(errno)));
            call("orders/0", Path::new("/x"), "write", failure).unwrap_err().is_damage()
        };
        assert!(failed(Errno::IO) && failed(Errno::NOENT));
        assert!(!failed(Errno::NOSPC) && !failed(Errno::ACCESS) && !failed(Errno::MFILE) && !failed(Errno::DQUOT));
        let unread = || Err::<(), _>(fjall::Error::Io(io::Error::new(ErrorKind::InvalidData, "what is this?")));
        assert!(call("orders/0", Path::new("/x"), "read", unread).unwrap_err().is_damage());
    }
}
