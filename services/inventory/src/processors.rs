//! What an inventory task reacts to, one file each.

pub(crate) mod commands;
pub(crate) mod requests;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;
