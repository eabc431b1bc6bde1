//! Snapshots: pieces of the owner's state, each with the number of the last record that it accounts for.

use std::sync::Arc;

use bytes::Bytes;
use task_runtime::{Feed, StoreId, View};

use crate::owner::{self, Answer};
use crate::{Owner, Problem, ReadBound};

/// Rows that are fetched at once.
const CHUNK_ROWS: usize = 64;
/// Rows that one piece looks at, so that a filter that skips many cannot hold up a task.
const ROWS_MAX: usize = 2_000;

/// Makes an encoded item of a row; `None` when it is not wanted.
pub type Row = Arc<dyn Fn(&View<'_>, &[u8], Bytes) -> Result<Option<Bytes>, Problem> + Send + Sync>;

/// The rows that a watch is about.
#[derive(Clone)]
pub enum Rows {
    /// One key, which must be there.
    One {
        /// Its store.
        store: StoreId,
        /// The key.
        key: Bytes,
        /// Makes the item.
        row: Row,
        /// What is wrong when it is not there.
        missing: Problem,
    },
    /// All keys of a store that begin with a prefix, in their order.
    Range {
        /// The store.
        store: StoreId,
        /// The prefix.
        prefix: Vec<u8>,
        /// Makes the item.
        row: Row,
        /// The key of events in a key of this store; in the order of the keys.
        event_key: fn(&[u8]) -> &[u8],
    },
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One { key, .. } => f.debug_tuple("One").field(key).finish(),
            Self::Range { store, prefix, .. } => f.debug_tuple("Range").field(&store.name()).field(prefix).finish(),
        }
    }
}

impl Rows {
    fn store(&self) -> StoreId {
        match self {
            Self::One { store, .. } | Self::Range { store, .. } => *store,
        }
    }

    /// Whether the pieces up to the key `after` have had this event's key.
    pub(super) fn covers(&self, after: &[u8], event_key: &[u8]) -> bool {
        match self {
            Self::One { .. } => true,
            Self::Range { event_key: of, .. } => event_key <= of(after),
        }
    }
}

/// How much of a snapshot is read at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Bytes of items that make a piece full.
    pub(super) bytes: usize,
    /// Whether items are wanted at all.
    pub(super) snapshot: bool,
}

/// A piece of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) items: Vec<Bytes>,
    /// The key that the next piece begins behind; none after the last.
    pub(super) next: Option<Vec<u8>>,
    /// Number of the last record that this state accounts for.
    pub(super) sent: u64,
}

/// Reads the piece behind `after`.
pub(super) async fn read(
    owner: &Owner,
    feed: &Feed,
    partition: u32,
    rows: &Rows,
    after: Option<Vec<u8>>,
    budget: Budget,
) -> Result<Answer<Piece>, Problem> {
    let (rows, topic) = (rows.clone(), feed.topic().clone());
    let read = move |view: &View<'_>| {
        let mut piece = piece(view, &rows, after, budget)?;
        piece.sent = view.sent(topic.as_str(), partition).map_err(|error| owner::damaged(rows.store(), &error))?;
        Ok(piece)
    };
    owner.read_partition(partition, ReadBound::default(), read).await
}

fn piece(view: &View<'_>, rows: &Rows, mut after: Option<Vec<u8>>, budget: Budget) -> Result<Piece, Problem> {
    let mut piece = Piece::default();
    match rows {
        Rows::One { store, key, row, missing } => {
            let value = owner::row(view, *store, key)?.ok_or_else(|| missing.clone())?;
            if budget.snapshot {
                piece.items.extend(row(view, key, value)?);
            }
        }
        Rows::Range { store, prefix, row, .. } if budget.snapshot => {
            let (mut bytes, mut looked_at) = (0, 0);
            while bytes < budget.bytes && looked_at < ROWS_MAX {
                let found = view.scan(*store, prefix, after.as_deref(), CHUNK_ROWS);
                let found = found.map_err(|error| owner::damaged(*store, &error))?;
                let is_last = found.len() < CHUNK_ROWS;
                let mut is_full = false;
                for (key, value) in found {
                    looked_at += 1;
                    let item = row(view, &key, value)?;
                    bytes += item.as_ref().map_or(0, Bytes::len);
                    piece.items.extend(item);
                    after = Some(key.to_vec());
                    is_full = bytes >= budget.bytes;
                    if is_full {
                        break;
                    }
                }
                if is_last && !is_full {
                    return Ok(piece);
                }
            }
            piece.next = after;
        }
        Rows::Range { .. } => {}
    }
    Ok(piece)
}
