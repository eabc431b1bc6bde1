//! Removes rows that were closed long ago. Rounds go through all rows of a store a page at a time, so that no row needs a
//! timer or an index of its own.

use std::time::Duration;

use bytes::Bytes;
use task_runtime::{Context, Definition, ProcessError, StoreId, Timer};

use crate::Chain;
use crate::input::InputError;

/// Rows of a page: so few that a page is a small part of a commit.
const PAGE_ROWS: usize = 256;
/// Pause between the pages of a round, which leaves the task to others.
const PAGE_PAUSE_MS: i64 = 20;
/// Rounds within the time that a closed row is kept. It is removed by a quarter of that time late at most, and the length
/// of a round.
const ROUNDS: i64 = 4;
/// The one key of the cursor, and of the timer.
const KEY: &[u8] = b"";

/// What is swept. A task may have several, each with a timer and a cursor of its own.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Name of the timer.
    pub timer: &'static str,
    /// The rows.
    pub rows: StoreId,
    /// Holds, under one empty key, the key of the last row looked at, empty between rounds. It is there from the first
    /// [`Sweep::ensure`] on, and then the timer is set.
    pub cursor: StoreId,
    /// When a row was closed, in milliseconds since the Unix epoch; none while it is open.
    pub closed_ms: fn(&Bytes) -> Result<Option<i64>, InputError>,
}

impl Sweep {
    /// The definition with this sweep, which keeps a closed row for `kept` at least.
    #[must_use]
    pub fn register(self, definition: Definition, kept: Duration) -> Definition {
        let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        definition.timer(self.timer, move |ctx, timer| self.page(ctx, timer, kept_ms))
    }

    /// Sets the sweep going unless it goes already. Called when the task may see its first row.
    ///
    /// # Errors
    /// The store fails.
    pub fn ensure(&self, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        if ctx.get(self.cursor, KEY)?.is_none() {
            ctx.put(self.cursor, KEY, Vec::new());
            ctx.schedule(self.timer, KEY, ctx.now_ms());
        }
        Ok(())
    }

    fn page(&self, ctx: &mut Context<'_>, timer: &Timer<'_>, kept_ms: i64) -> Result<(), ProcessError> {
        let after = ctx.get(self.cursor, KEY)?.unwrap_or_default();
        let mut rows = ctx.scan_after(self.rows, &after, PAGE_ROWS)?;
        for (key, row) in &rows {
            match (self.closed_ms)(row) {
                Ok(Some(closed_ms)) if closed_ms.saturating_add(kept_ms) <= timer.due_ms => ctx.delete(self.rows, key),
                Ok(_) => {}
                // It stays, for nobody knows what it holds, and must not hold up the others.
                Err(error) => {
                    let (key, error) = (key.escape_ascii(), Chain(&error));
                    tracing::error!(sweep = self.timer, %key, %error, "left a row that cannot be read");
                }
            }
        }
        let is_last_page = rows.len() < PAGE_ROWS;
        let last = rows.pop().map(|(key, _)| key).unwrap_or_default();
        let (cursor, pause_ms) =
            if is_last_page { (Bytes::default(), kept_ms / ROUNDS) } else { (last, PAGE_PAUSE_MS) };
        ctx.put(self.cursor, KEY, cursor);
        ctx.schedule(self.timer, KEY, timer.due_ms.saturating_add(pause_ms));
        Ok(())
    }
}
