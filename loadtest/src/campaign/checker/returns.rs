//! How soon the mesh answers again when all brokers were away and are back. The only law about time: it is one of release builds
//! on a machine that is not busy with something else.

use super::{Findings, Law};
use crate::campaign::figures::{self, Return};
use crate::campaign::history::Event;

/// The fault that stops all brokers for a minute, as in the schedule.
const AWAY: &str = "brokers-away";
/// Each partition of orders must answer within so many nanoseconds.
const WITHIN_NS: u64 = 5_000_000_000;

pub(super) fn check(history: &[Event], findings: &mut Findings) {
    for Return { name, partition, answered_ns } in figures::returns(history) {
        if name == AWAY && answered_ns > WITHIN_NS {
            let what = format!("it answered {} ms after all brokers were back", answered_ns / 1_000_000);
            findings.broke(Law::SlowReturn, format!("orders/{partition}"), what);
        }
    }
}
