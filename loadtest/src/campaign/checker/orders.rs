//! Orders: what was asked, what the topics say happened, and what clients saw of it must be one story.

use std::collections::{BTreeMap, HashMap};

use super::{End, Findings, Law, Op, Ops};
use crate::campaign::history::{Body, Call, State};
use crate::campaign::topics::{Fact, Topics};

/// What the topics say about one order.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Product and pieces of each line.
    pub(super) lines: Vec<(String, i64)>,
    /// The state after each change that clients can see: version n is the n-th.
    states: Vec<State>,
    created: u32,
    judged: u32,
    shipments: Vec<bool>,
    cancellation_requested: bool,
}

impl Story {
    /// Where the order stands at the end.
    pub(super) fn state(&self) -> Option<State> {
        self.states.last().copied()
    }
}

pub(super) type Stories<'a> = BTreeMap<&'a str, Story>;

/// What clients asked for and were told of one order.
#[derive(Default)]
struct Asked<'a> {
    lines: Option<&'a [(String, i64)]>,
    creates: u32,
    refused: u32,
    acknowledged: bool,
    cancelled: bool,
    over_ns: Option<u64>,
}

pub(super) fn check<'a>(ops: &Ops<'_>, topics: &'a Topics, deadline_ns: u64, findings: &mut Findings) -> Stories<'a> {
    let stories = stories(topics, findings);
    let mut asked: HashMap<&str, Asked<'_>> = HashMap::new();
    let mut numbers: Vec<&u64> = ops.keys().collect();
    numbers.sort_unstable();
    for op in numbers.into_iter().filter_map(|number| ops.get(number)) {
        let (Call::Create { order_id, .. } | Call::Get { order_id, .. } | Call::Cancel { order_id, .. }) = op.call
        else {
            continue;
        };
        gather(asked.entry(order_id).or_default(), op);
        seen(order_id, op, stories.get(order_id.as_str()), findings);
    }
    for (order_id, asked) in &asked {
        if asked.acknowledged && !stories.contains_key(order_id) {
            findings.broke(Law::Lost, *order_id, "it was acknowledged, and no topic has it");
        }
    }
    for (order_id, story) in &stories {
        match asked.get(order_id) {
            Some(asked) => compare(order_id, story, asked, deadline_ns, findings),
            None => findings.broke(Law::AbortedRead, *order_id, "nobody asked for it"),
        }
        count(story, findings);
    }
    stories
}

fn count(story: &Story, findings: &mut Findings) {
    findings.orders += 1;
    match story.state() {
        Some(State::Shipped) => findings.shipped += 1,
        Some(State::Rejected) => findings.rejected += 1,
        Some(State::Cancelled) => findings.cancelled += 1,
        _ => {}
    }
}

/// Reads the topics, and judges what needs nothing else.
fn stories<'a>(topics: &'a Topics, findings: &mut Findings) -> Stories<'a> {
    let mut stories = Stories::new();
    let (mut verdicts, mut requests) = (HashMap::new(), HashMap::new());
    for fact in &topics.facts {
        match fact {
            Fact::Created(id, lines) => {
                let story: &mut Story = stories.entry(id.as_str()).or_default();
                story.created += 1;
                if story.created == 1 {
                    story.lines.clone_from(lines);
                    story.states.push(State::Created);
                } else {
                    findings.broke(Law::DuplicateEffect, id, "it was created again");
                }
            }
            Fact::Became(id, to) => became(id, stories.entry(id).or_default(), *to, findings),
            Fact::CancellationRequested(id) => stories.entry(id).or_default().cancellation_requested = true,
            Fact::Judged(id, _) => {
                let story = stories.entry(id).or_default();
                story.judged += 1;
                if story.judged > 1 {
                    findings.broke(Law::DuplicateEffect, id, "it was judged again");
                }
            }
            Fact::Shipment(id, shipped) => {
                let story = stories.entry(id).or_default();
                story.shipments.push(*shipped);
                if story.shipments.len() > 1 {
                    findings.broke(Law::DuplicateEffect, id, format!("its shipment was decided {:?}", story.shipments));
                }
            }
            Fact::Verdict(id, check, line) => {
                if verdicts.insert((id, *check, *line), ()).is_some() {
                    findings.broke(Law::DuplicateEffect, id, format!("check {check} answered line {line} again"));
                }
            }
            Fact::StockRequest(id, line, action) => {
                if requests.insert((id, *line, *action), ()).is_some() {
                    findings.broke(Law::DuplicateEffect, id, format!("stock action {action} of line {line} again"));
                }
            }
            Fact::StockSet(..) | Fact::StockAdded(..) => {}
        }
    }
    // Actions 2 and 3 are release and ship: a line comes to one end only.
    for ((id, line, action), ()) in &requests {
        if *action == 2 && requests.contains_key(&(*id, *line, 3)) {
            findings.broke(Law::DuplicateEffect, *id, format!("line {line} was released and shipped"));
        }
    }
    stories
}

fn became(id: &str, story: &mut Story, to: Option<State>, findings: &mut Findings) {
    match (story.state(), to) {
        (Some(State::Rejected), None) => story.states.push(State::Rejected),
        (from, None) => findings.broke(Law::IllegalTransition, id, format!("further reasons in state {from:?}")),
        (Some(from), Some(to)) => {
            if from == to {
                findings.broke(Law::DuplicateEffect, id, format!("it became {to:?} again"));
            } else if !from.allows(to) {
                findings.broke(Law::IllegalTransition, id, format!("from {from:?} to {to:?}"));
            }
            story.states.push(to);
        }
        (None, Some(to)) => {
            findings.broke(Law::IllegalTransition, id, format!("it became {to:?} without having been created"));
        }
    }
}

fn gather<'a>(asked: &mut Asked<'a>, op: &Op<'a>) {
    if let Call::Create { lines, .. } = op.call {
        asked.lines.get_or_insert(lines);
        asked.creates += 1;
        asked.refused += u32::from(matches!(op.end, End::Fail));
    }
    let Some((at_ns, answer)) = op.answer() else { return };
    if let Body::Order { state, .. } = &answer.body {
        asked.acknowledged |= matches!(op.call, Call::Create { .. });
        asked.cancelled |= matches!(op.call, Call::Cancel { .. });
        if state.is_final() && asked.over_ns.is_none_or(|known| at_ns < known) {
            asked.over_ns = Some(at_ns);
        }
    }
}

/// Whether the log has what an answer showed: the state that this version of the order has.
fn seen(order_id: &str, op: &Op<'_>, story: Option<&Story>, findings: &mut Findings) {
    let Some((_, answer)) = op.answer() else { return };
    let Body::Order { state, version } = &answer.body else { return };
    let Some(story) = story else {
        if op.call.bound().is_some() {
            findings.broke(Law::AbortedRead, order_id, format!("{state:?} was read, and no topic has the order"));
        }
        return;
    };
    let at = usize::try_from(*version).unwrap_or(0).checked_sub(1);
    match at.and_then(|at| story.states.get(at)) {
        Some(logged) if logged == state => {}
        // What was acknowledged to a writer is lost; what a reader saw never was.
        None if matches!(op.call, Call::Cancel { .. }) => {
            findings.broke(Law::Lost, order_id, format!("version {version} was acknowledged as {state:?}"));
        }
        logged => {
            let what = format!("version {version} was shown as {state:?}, and is {logged:?} in the log");
            findings.broke(Law::AbortedRead, order_id, what);
        }
    }
}

fn compare(order_id: &str, story: &Story, asked: &Asked<'_>, deadline_ns: u64, findings: &mut Findings) {
    if story.created == 0 {
        findings.broke(Law::AbortedRead, order_id, "something happened to it, and it was never created");
        return;
    }
    if asked.creates == 0 || asked.refused == asked.creates {
        findings.broke(Law::AbortedRead, order_id, "it was refused, and is there");
    }
    if asked.lines.is_some_and(|lines| lines != story.lines) {
        findings.broke(
            Law::AbortedRead,
            order_id,
            format!("it is {:?}, and {:?} was asked for", story.lines, asked.lines),
        );
    }
    let state = story.state();
    if asked.cancelled && state != Some(State::Cancelled) {
        findings.broke(Law::Lost, order_id, format!("its cancellation was acknowledged, and it is {state:?}"));
    }
    let shipped = story.shipments.contains(&true);
    if state == Some(State::Shipped) && !shipped {
        findings.broke(Law::AbortedRead, order_id, "it is SHIPPED, and no shipment left");
    }
    if shipped && state.is_some_and(|state| state.is_final() && state != State::Shipped) {
        findings.broke(Law::IllegalTransition, order_id, format!("it left the house, and is {state:?}"));
    }
    if state == Some(State::Validated) && story.judged == 0 {
        findings.broke(Law::AbortedRead, order_id, "it is VALIDATED, and nobody judged it");
    }
    if !state.is_some_and(State::is_final) {
        let asked_to = if story.cancellation_requested { ", and was to be cancelled" } else { "" };
        findings.broke(Law::Stuck, order_id, format!("it is {state:?} in the end{asked_to}"));
    } else if asked.over_ns.is_none_or(|at_ns| at_ns > deadline_ns) {
        findings.broke(Law::Stuck, order_id, "no answer said in time that it is over");
    }
}
