//! Removes lines that were closed long ago. Rounds go through all lines a page at a time, so that no line needs a timer
//! or an index of its own.

use task_runtime::{Context, Definition, ProcessError, Timer};

use crate::Config;
use crate::stores::{LINES, SWEEP, SWEEP_KEY};
use crate::wire;

const TIMER: &str = "sweep-closed-lines";
/// Lines of a page: so few that a page is a small part of a commit.
const PAGE_LINES: usize = 256;
/// Pause between the pages of a round, which leaves the task to others.
const PAGE_PAUSE_MS: i64 = 20;
/// Rounds within the time that a closed line is kept. It is removed by a quarter of that time late at most, and the length
/// of a round.
const ROUNDS: i64 = 4;

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let kept_ms = config.closed_lines_kept_ms();
    definition.timer(TIMER, move |ctx, timer| sweep(ctx, timer, kept_ms))
}

/// Sets the sweep going unless it goes already. Called when the task may see its first line.
pub(crate) fn ensure(ctx: &mut Context<'_>) -> Result<(), ProcessError> {
    if ctx.get(SWEEP, SWEEP_KEY)?.is_none() {
        ctx.put(SWEEP, SWEEP_KEY, Vec::new());
        ctx.schedule(TIMER, SWEEP_KEY, ctx.now_ms());
    }
    Ok(())
}

fn sweep(ctx: &mut Context<'_>, timer: &Timer<'_>, kept_ms: i64) -> Result<(), ProcessError> {
    let after = ctx.get(SWEEP, SWEEP_KEY)?.unwrap_or_default();
    let mut rows = ctx.scan_after(LINES, &after, PAGE_LINES)?;
    for (key, row) in &rows {
        // A line that cannot be read stays: nobody knows what it holds.
        if wire::closed_ms(row)?.is_some_and(|closed_ms| closed_ms.saturating_add(kept_ms) <= timer.due_ms) {
            ctx.delete(LINES, key);
        }
    }
    let is_last_page = rows.len() < PAGE_LINES;
    let last = rows.pop().map(|(key, _)| key).unwrap_or_default();
    let (cursor, pause_ms) = if is_last_page { (Default::default(), kept_ms / ROUNDS) } else { (last, PAGE_PAUSE_MS) };
    ctx.put(SWEEP, SWEEP_KEY, cursor);
    ctx.schedule(TIMER, SWEEP_KEY, timer.due_ms.saturating_add(pause_ms));
    Ok(())
}
