//! Who owned the tasks, by their changelogs: one owner at a time, and none that comes and goes.
//!
//! *Flapping* is judged around the stops of `flicker` only, of which each is shorter than a session, for there one move away from
//! the instance that is stopped is all that can be of use. It says nothing of a task that moves for another reason: both moves
//! must lie between the beginning of this fault and that of the next one, or the end, when all instances leave.

use std::collections::HashMap;

use super::{Findings, Law};
use crate::campaign::changelogs::{self, Entry, Move, What as Said};
use crate::campaign::history::{Event, What};

/// The fault that stops an instance for less than its session, as in the schedule.
const FLICKER: &str = "flicker";
/// Two moves of a task must be as far apart, in milliseconds.
const APART_MS: i64 = 10_000;
/// After another fault the mesh goes on to balance tasks, for about as long, in milliseconds.
const SETTLED_MS: i64 = 20_000;

/// An instance that was stopped again and again for less than its session.
struct Flicker<'a> {
    instance: &'a str,
    begin_ms: i64,
    /// When the next fault began, or the history ended.
    next_ms: i64,
    /// Nothing had been done to the mesh for long enough.
    alone: bool,
}

pub(super) fn check(history: &[Event], entries: &[Entry], findings: &mut Findings) {
    let moves = changelogs::moves(entries);
    findings.claims = entries.iter().filter(|entry| matches!(entry.what, Said::Claimed { .. })).count() as u64;
    two_owners(entries, findings);
    flapping(&flickers(history), &moves, findings);
}

fn two_owners(entries: &[Entry], findings: &mut Findings) {
    let mut owners: HashMap<(&str, &str, u64), u64> = HashMap::new();
    let mut epochs: HashMap<(&str, &str), u64> = HashMap::new();
    for Entry { task, offset, what, .. } in entries {
        let wrong = match what {
            Said::Claimed { incarnation, epoch, instance, life } => {
                owners.entry((task, incarnation, *epoch)).or_insert(*life);
                let last = epochs.insert((task, incarnation), *epoch).unwrap_or(0);
                (*epoch <= last).then(|| format!("{instance} claims epoch {epoch} after epoch {last} was claimed"))
            }
            Said::Committed { incarnation, epoch, life, times } => {
                let owner = *owners.entry((task, incarnation, *epoch)).or_insert(*life);
                let last = epochs.get(&(task, incarnation)).copied().unwrap_or(0);
                if owner != *life {
                    Some(format!("{times} commits of epoch {epoch} are by life {life:x}, others by {owner:x}"))
                } else {
                    (*epoch != last).then(|| format!("{times} commits of epoch {epoch} stand behind claim {last}"))
                }
            }
            Said::Foreign { epoch, life } => {
                Some(format!("life {life:x} writes in epoch {epoch}, which it has not claimed"))
            }
            Said::Refused { why } => Some(why.clone()),
        };
        if let Some(wrong) = wrong {
            findings.broke(Law::TwoOwners, format!("{task} at {offset}"), wrong);
        }
    }
}

/// The stops that are judged; none without the time of day.
fn flickers(history: &[Event]) -> Vec<Flicker<'_>> {
    let Some(time) = changelogs::time_of_day(history) else { return Vec::new() };
    let end_ms = history.last().map_or(0, |event| time(event.at_ns));
    let (mut flickers, mut left_alone_ms) = (Vec::<Flicker<'_>>::new(), 0);
    for event in history {
        let at_ms = time(event.at_ns);
        match &event.what {
            What::Fault { name, target } => {
                if let Some(before) = flickers.last_mut() {
                    before.next_ms = before.next_ms.min(at_ms);
                }
                if name == FLICKER
                    && let Some(instance) = target
                {
                    let alone = at_ms - left_alone_ms >= SETTLED_MS;
                    flickers.push(Flicker { instance, begin_ms: at_ms, next_ms: end_ms, alone });
                }
            }
            What::Healed | What::Clock { .. } => left_alone_ms = at_ms,
            _ => {}
        }
    }
    flickers
}

/// A task that was taken from the instance that was stopped moves again at once: back, or, unless the mesh had still to recover
/// from something else, to anybody.
fn flapping(flickers: &[Flicker<'_>], moves: &[Move<'_>], findings: &mut Findings) {
    for pair in moves.windows(2) {
        let (away, again) = (pair[0], pair[1]);
        let apart_ms = again.at_ms - away.at_ms;
        if away.task != again.task || apart_ms >= APART_MS {
            continue;
        }
        let is_within = |flicker: &&Flicker<'_>| away.at_ms >= flicker.begin_ms && again.at_ms < flicker.next_ms;
        let Some(flicker) = flickers.iter().find(is_within) else { continue };
        if away.from == flicker.instance && (again.to == away.from || flicker.alone) {
            let what = format!(
                "{} was stopped for less than a session, its task went to {}, and after {apart_ms} ms to {}",
                away.from, away.to, again.to
            );
            findings.broke(Law::Flapping, away.task, what);
        }
    }
}

#[cfg(test)]
mod tests;
