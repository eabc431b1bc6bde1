//! The state row: for whom the rows are, what they add up to, and how far they go.
//!
//! What always holds: it is written in the same ingestion as the rows that it describes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::store::Identity;

/// Version of the layout of the tables (see [`crate::tables`]); another one is rebuilt.
const LAYOUT: u32 = 1;

/// What the state row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    layout: u32,
    format: u32,
    task: String,
    /// Sum of the hashes of all rows.
    pub(crate) digest: u128,
    /// Number of rows.
    pub(crate) rows: u64,
    pub(crate) checkpoint: Option<Bytes>,
}

impl State {
    /// The state of no rows.
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            layout: LAYOUT,
            format: identity.format,
            task: identity.task.clone(),
            digest: 0,
            rows: 0,
            checkpoint: None,
        }
    }

    /// Accounts for one change of a row.
    pub(crate) fn change(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.digest = self.digest.wrapping_sub(digest::row(key, old));
            self.rows = self.rows.wrapping_sub(1);
        }
        if let Some(new) = new {
            self.digest = self.digest.wrapping_add(digest::row(key, new));
            self.rows = self.rows.wrapping_add(1);
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        postcard::to_stdvec(self).map_err(|error| format!("state row cannot be written: {error}"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("state row cannot be read: {error}"))
    }

    /// Whether the rows are for this identity, and of this layout.
    pub(crate) fn check_identity(&self, identity: &Identity) -> Result<(), String> {
        let Self { layout, format, task, .. } = self;
        if (*layout, *format, task) == (LAYOUT, identity.format, &identity.task) {
            return Ok(());
        }
        Err(format!("it was written for task {task}, format {format}, layout {layout}"))
    }
}
