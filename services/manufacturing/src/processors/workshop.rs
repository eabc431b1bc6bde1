//! The automatic workshop: makes pieces of open work orders by itself, in order of opening, so that orders flow without
//! anyone reporting. Its timer is set only while something is open; then also while the workshop is off, so that what was opened
//! until a restart is made when it is switched on.

use task_runtime::{Context, Definition, ProcessError, Timer};

use super::{carry_out, known};
use crate::Config;
use crate::domain::{self, Known};
use crate::stores::{OPEN, WORKSHOP, WORKSHOP_KEY, order_of_open_key};

const TIMER: &str = "workshop";
/// Shortest time between two turns.
const TURN_MS: i64 = 50;
/// Time between two looks while the workshop is off.
const OFF_MS: i64 = 60_000;
/// Most work orders of a turn, so that a turn is a part of a commit. What the workshop cannot make then, it does not make
/// up for.
const WORK_ORDERS_PER_TURN: usize = 256;

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let items_per_second = config.items_per_second;
    definition.timer(TIMER, move |ctx, timer| turn(ctx, timer, items_per_second))
}

/// Sets the workshop going unless it goes already. Called when a work order is open.
pub(super) fn ensure(ctx: &mut Context<'_>, items_per_second: u32) -> Result<(), ProcessError> {
    if ctx.get(WORKSHOP, WORKSHOP_KEY)?.is_none() {
        ctx.put(WORKSHOP, WORKSHOP_KEY, Vec::new());
        ctx.schedule(TIMER, WORKSHOP_KEY, ctx.now_ms().saturating_add(turn_ms(items_per_second)));
    }
    Ok(())
}

fn turn(ctx: &mut Context<'_>, timer: &Timer<'_>, items_per_second: u32) -> Result<(), ProcessError> {
    // What was due while it was off is not made up for.
    let due_ms = if items_per_second == 0 { ctx.now_ms() } else { timer.due_ms };
    let mut left = pieces(due_ms, items_per_second);
    for (key, _) in ctx.scan(OPEN, b"", WORK_ORDERS_PER_TURN)? {
        if left == 0 {
            break;
        }
        let order_id = order_of_open_key(&key);
        let found = match known(ctx, order_id) {
            Err(ProcessError::Poison(error)) => Err(error),
            found => Ok(found?),
        };
        let (work_order, order_id) = match (found, std::str::from_utf8(order_id)) {
            (Ok(Some(Known::Opened(work_order))), Ok(order_id)) => (work_order, order_id),
            (found, _) => {
                // Nothing of ours leaves such a row; it must not hold up the others, which wait behind it.
                let (key_text, error) = (key.escape_ascii(), found.err());
                tracing::error!(key = %key_text, error, "took what cannot be made out of the open work orders");
                ctx.delete(OPEN, &key);
                continue;
            }
        };
        let (change, made) = domain::work(work_order, left, ctx.now_ms());
        left -= made;
        carry_out(ctx, order_id, change)?;
    }
    if ctx.scan(OPEN, b"", 1)?.is_empty() {
        ctx.delete(WORKSHOP, WORKSHOP_KEY);
    } else {
        ctx.schedule(TIMER, WORKSHOP_KEY, due_ms.saturating_add(turn_ms(items_per_second)));
    }
    Ok(())
}

/// Time between two turns, so long that there is something to make in each.
fn turn_ms(items_per_second: u32) -> i64 {
    match items_per_second {
        0 => OFF_MS,
        rate => i64::from(1_000_u32.div_ceil(rate)).max(TURN_MS),
    }
}

/// Pieces of the turn that is due at `due_ms`. Over many turns they are exactly the rate, whatever it is divided by.
fn pieces(due_ms: i64, items_per_second: u32) -> i64 {
    let made_by = |ms: i64| (i128::from(ms) * i128::from(items_per_second)).div_euclid(1_000);
    let pieces = made_by(due_ms) - made_by(due_ms.saturating_sub(turn_ms(items_per_second)));
    i64::try_from(pieces).unwrap_or(i64::MAX)
}
