//! The local state of one task: ordered byte keys and one opaque checkpoint.
//!
//! A store is a cache of the task's changelog, which is the truth. Losing a store, or the last part of it, costs the time to
//! read that part of the changelog again and nothing else. This is the only crate that knows fjall.
//!
//! What always holds: the content of a store is the result of a prefix of the applies it was given, and
//! [`Store::checkpoint`] is the checkpoint of the last of them, whatever happened to the process in between. A directory
//! that is damaged, foreign or of another format is emptied when it is opened ([`Opened::Rebuilt`]), never trusted.

mod background;
mod digest;
mod directory;
mod durable;
mod engine;
mod error;
mod files;
mod layer;
mod memory;
mod merge;
mod snapshot;
mod state;
mod store;
mod stores;
mod tables;

pub use digest::row as row_digest;
pub use error::Error;
pub use memory::MemoryStore;
pub use store::{Change, Identity, KEY_BYTES_MAX, Opened, Pair, Rows, Store, VALUE_BYTES_MAX};
pub use stores::{Config, Stores};
