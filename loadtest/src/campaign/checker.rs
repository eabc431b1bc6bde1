//! Judges a campaign by what clients were told and by what stands in the topics. Pure, and linear in both.
//!
//! It knows nothing of how the mesh works, only what it promises: every rule here is one that a client or a reader of the
//! topics may rely on. Each violation has the name of a [`Law`].

mod orders;
mod owners;
mod reads;
mod returns;
mod stock;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::history::{Answer, Body, Call, Event, What};
use super::topics::Topics;

/// Violations of one law that are told in full; the rest is counted.
const TOLD_MAX: usize = 20;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// Something that was acknowledged is not there.
    Lost,
    /// Something that must happen at most once happened again.
    DuplicateEffect,
    /// Something was seen or happened that was refused, never asked for, or never committed.
    AbortedRead,
    /// A sender used a number for two contents, or left one out.
    InconsistentOffset,
    /// A later answer to a session is older than one that it had before.
    Nonmonotonic,
    /// An answer is older than what had been acknowledged before it was asked for, or than its consistency token.
    StaleRead,
    /// An order went from a state to one that cannot follow.
    IllegalTransition,
    /// Pieces appeared or disappeared, or more were promised than there are.
    Conservation,
    /// An order was not over in time after everything ran again.
    Stuck,
    /// An instance answered from a past in which it was the owner, when another one had gone on.
    DeposedAnswer,
    /// A task had two owners in one epoch, an epoch came back, or a changelog holds what no single owner at a time can write.
    TwoOwners,
    /// A task changed its owner again and again, although no instance was away for a session.
    Flapping,
    /// Calls were not answered in time when all brokers were back.
    SlowReturn,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::DuplicateEffect => "duplicate-effect",
            Self::AbortedRead => "aborted-read",
            Self::InconsistentOffset => "inconsistent-offset",
            Self::Nonmonotonic => "nonmonotonic",
            Self::StaleRead => "stale-read",
            Self::IllegalTransition => "illegal-transition",
            Self::Conservation => "conservation",
            Self::Stuck => "stuck",
            Self::DeposedAnswer => "deposed-answer",
            Self::TwoOwners => "two-owners",
            Self::Flapping => "flapping",
            Self::SlowReturn => "slow-return",
        })
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// The order, product, partition or record.
    pub key: String,
    /// What was expected and what was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.law, self.key, self.what)
    }
}

/// What the checker found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// How often each law was broken.
    pub broken: BTreeMap<Law, u64>,
    /// The first violations of each law.
    pub told: Vec<Violation>,
    /// Operations that were judged.
    pub operations: u64,
    /// Orders that stand in the topics.
    pub orders: u64,
    /// How many orders ended in each final state.
    pub shipped: u64,
    /// See `shipped`.
    pub rejected: u64,
    /// See `shipped`.
    pub cancelled: u64,
    /// Records of topics that a reader takes.
    pub records: u64,
    /// Records that repeat others, and are dropped.
    pub repeats: u64,
    /// Records that some task could not process.
    pub dead_letters: u64,
    /// Claims that counted, by the changelogs of all tasks.
    #[serde(default)]
    pub claims: u64,
}

impl Findings {
    /// Whether no law was broken.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    fn broke(&mut self, law: Law, key: impl Into<String>, what: impl Into<String>) {
        let times = self.broken.entry(law).or_default();
        *times += 1;
        if *times <= TOLD_MAX as u64 {
            self.told.push(Violation { law, key: key.into(), what: what.into() });
        }
    }
}

/// An operation with its end.
struct Op<'a> {
    session: u64,
    call: &'a Call,
    end: End<'a>,
    /// Whether an operation before it had the same request id.
    repeats: bool,
}

enum End<'a> {
    /// Answered at this time.
    Ok(u64, &'a Answer),
    Fail,
    /// Unknown, also when the driver stopped first.
    Info,
}

impl Op<'_> {
    fn answer(&self) -> Option<(u64, &Answer)> {
        match self.end {
            End::Ok(at_ns, answer) => Some((at_ns, answer)),
            End::Fail | End::Info => None,
        }
    }
}

fn version(body: &Body) -> Option<u64> {
    match body {
        Body::Order { version, .. } | Body::Product { version, .. } => Some(*version),
        Body::Absent => None,
    }
}

/// The operations by their numbers.
type Ops<'a> = HashMap<u64, Op<'a>>;

/// Judges. `ended_within_ns` is how long after the last healing an order may take to be over.
pub fn check(history: &[Event], topics: &Topics, ended_within_ns: u64) -> Findings {
    let ops = operations(history);
    let mut findings = Findings {
        operations: ops.len() as u64,
        records: topics.taken,
        repeats: topics.repeats,
        dead_letters: topics.dead_letters,
        ..Findings::default()
    };
    for wrong in &topics.misnumbered {
        findings.broke(Law::InconsistentOffset, &wrong.at, &wrong.what);
    }
    reads::check(history, &ops, &mut findings);
    let healed_ns = history.iter().rev().find(|event| event.what == What::Healed).map_or(0, |event| event.at_ns);
    let orders = orders::check(&ops, topics, healed_ns.saturating_add(ended_within_ns), &mut findings);
    stock::check(history, &ops, topics, &orders, &mut findings);
    owners::check(history, &topics.changelogs, &mut findings);
    returns::check(history, &mut findings);
    findings
}

fn operations(history: &[Event]) -> Ops<'_> {
    let (mut ops, mut known) = (Ops::new(), HashSet::new());
    for event in history {
        match &event.what {
            What::Invoke { call, .. } => {
                let repeats = call.request_id().is_some_and(|id| !known.insert(id));
                ops.insert(event.op, Op { session: event.session, call, end: End::Info, repeats });
            }
            What::Ok { answer } => set_end(&mut ops, event.op, End::Ok(event.at_ns, answer)),
            What::Fail { .. } => set_end(&mut ops, event.op, End::Fail),
            _ => {}
        }
    }
    ops
}

fn set_end<'a>(ops: &mut Ops<'a>, op: u64, end: End<'a>) {
    if let Some(found) = ops.get_mut(&op) {
        found.end = end;
    }
}
