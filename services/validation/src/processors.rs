//! What a validation task does, one file for each processor.

pub(crate) mod aggregate;
pub(crate) mod fraud;
#[cfg(test)]
mod tests;
pub(crate) mod timeout;
