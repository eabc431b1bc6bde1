//! What a task of dead letters reacts to, one file each.

pub(crate) mod commands;
pub(crate) mod letters;
#[cfg(test)]
mod tests;
