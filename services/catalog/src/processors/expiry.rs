//! Removes rows when their time is over: outcomes of commands, and books on shelves where they are no more. One timer for
//! the whole task, whose time is noted in a row, so that adding looks at one key and no more.

use task_runtime::{Context, Definition, ProcessError, Timer};

use crate::stores::{EXPIRIES, Expiring, NEXT, NEXT_KEY, OUTCOMES, SHELVES, expiry_key, parse_expiry_key};
use crate::wire;

const TIMER: &str = "expire";
/// Rows of a page: so few that a page is a small part of a commit.
const PAGE_ROWS: usize = 256;
/// Pause between the pages when many rows are due at once, which leaves the task to others.
const PAGE_PAUSE_MS: i64 = 20;
/// Least time between two rounds: rows that become due one by one are removed together.
const ROUND_MS: i64 = 1_000;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.timer(TIMER, expire)
}

/// Notes that a row is to be removed at `expires_ms`, unless it says another time by then.
pub(super) fn add(ctx: &mut Context<'_>, expires_ms: i64, kind: Expiring, key: &[u8]) -> Result<(), ProcessError> {
    ctx.put(EXPIRIES, &expiry_key(expires_ms, kind, key), Vec::new());
    let next = ctx.get(NEXT, NEXT_KEY)?;
    let next_ms = next.and_then(|row| row.as_ref().try_into().ok()).map(i64::from_be_bytes);
    if next_ms.is_none_or(|next_ms| expires_ms < next_ms) {
        schedule(ctx, expires_ms);
    }
    Ok(())
}

fn schedule(ctx: &mut Context<'_>, due_ms: i64) {
    ctx.put(NEXT, NEXT_KEY, due_ms.to_be_bytes().to_vec());
    ctx.schedule(TIMER, NEXT_KEY, due_ms);
}

fn expire(ctx: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    let rows = ctx.scan(EXPIRIES, b"", PAGE_ROWS)?;
    for (full, _) in &rows {
        let Some((expires_ms, kind, key)) = parse_expiry_key(full) else {
            // Nothing of ours writes such a key; it must not hold up the others.
            ctx.delete(EXPIRIES, full);
            continue;
        };
        if expires_ms > timer.due_ms {
            schedule(ctx, expires_ms.max(timer.due_ms.saturating_add(ROUND_MS)));
            return Ok(());
        }
        if is_over(ctx, kind, key, timer.due_ms)? {
            ctx.delete(store(kind), key);
        }
        ctx.delete(EXPIRIES, full);
    }
    if rows.len() == PAGE_ROWS {
        schedule(ctx, timer.due_ms.saturating_add(PAGE_PAUSE_MS));
    } else {
        ctx.delete(NEXT, NEXT_KEY);
    }
    Ok(())
}

/// Whether the row is still what was to be removed: it may have been written anew since.
fn is_over(ctx: &mut Context<'_>, kind: Expiring, key: &[u8], due_ms: i64) -> Result<bool, ProcessError> {
    let Some(row) = ctx.get(store(kind), key)? else { return Ok(false) };
    Ok(match kind {
        Expiring::Outcome => wire::outcome(&row).is_ok_and(|outcome| outcome.expires_ms <= due_ms),
        Expiring::Shelf => {
            wire::placed(&row).is_ok_and(|(placed, expires_ms)| placed.book.is_none() && expires_ms <= due_ms)
        }
    })
}

fn store(kind: Expiring) -> task_runtime::StoreId {
    match kind {
        Expiring::Outcome => OUTCOMES,
        Expiring::Shelf => SHELVES,
    }
}
