//! What a catalog task reacts to, one file each.

pub(crate) mod authors;
pub(crate) mod books;
pub(crate) mod cards;
pub(crate) mod expiry;
pub(crate) mod outcomes;
pub(crate) mod shelves;
#[cfg(test)]
mod tests;

use task_runtime::{Command, ProcessError};

/// The key that a command is for.
fn key(command: &Command) -> Result<&str, ProcessError> {
    std::str::from_utf8(&command.key).map_err(|_| ProcessError::poison("the key is no text"))
}
