//! The changelog: what is written to it, and the one rule by which it is read.

mod chain;
mod entry;

pub use chain::{Chain, Read, ReadError, VoidReason};
#[cfg(test)]
pub(crate) use entry::FORMAT;
pub use entry::{Body, Chunk, DecodeError, Entry, Output, OwnerId, PublishedUpto, WatermarkUpdate};
pub(crate) use entry::{body_hash, encode_claim, encode_commit};
