//! What a campaign measured, from its history alone: takeovers as clients saw them, and the errors that they had.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::changelogs;
use super::checker::Findings;
use super::history::{Bound, Call, Event, What};
use crate::machine::Machine;
use crate::tally::{Latencies, Quantiles};

/// A campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name for tables.
    pub label: String,
    /// When it was done, in milliseconds since the Unix epoch.
    pub finished_unix_ms: u64,
    /// The commit, `-dirty` when files differed from it.
    pub commit: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The seed, with which it can be done again.
    pub seed: u64,
    /// Instances and broker nodes.
    pub instances: usize,
    /// See `instances`.
    pub brokers: usize,
    /// What was given to the instances beside the usual: arguments and environment.
    pub settings: Vec<String>,
    /// How long it took, in seconds, without the set-up.
    pub seconds: f64,
    /// How often each fault was done.
    pub faults: BTreeMap<String, u64>,
    /// Takeovers: faults that took an instance's partitions away.
    pub takeovers: u64,
    /// Partitions of orders and products whose owner changed between two answers.
    pub moves: u64,
    /// Tasks of all services whose owner changed, by claims that counted, and by the fault that had begun last; `start` before
    /// the first one, `end` when all instances left.
    #[serde(default)]
    pub owner_moves: BTreeMap<String, u64>,
    /// From the moment when all brokers were there again to the first answer, for each partition of orders, by fault.
    #[serde(default)]
    pub return_ms: BTreeMap<String, Quantiles>,
    /// Longest time between two answers about a key that the lost instance had owned, for each such partition, by fault.
    pub gap_ms: BTreeMap<String, Quantiles>,
    /// Calls that were answered.
    pub answered: u64,
    /// What clients saw otherwise, by method and code.
    pub errors: BTreeMap<String, u64>,
    /// Stories that were not begun, for too many were under way.
    pub missed: u64,
    /// What the checker says.
    pub findings: Findings,
}

/// What the history alone tells.
#[derive(Debug, Default)]
pub struct Seen {
    /// See [`Report::faults`].
    pub faults: BTreeMap<String, u64>,
    /// See [`Report::takeovers`].
    pub takeovers: u64,
    /// See [`Report::moves`].
    pub moves: u64,
    /// See [`Report::gap_ms`].
    pub gaps: BTreeMap<String, Latencies>,
    /// See [`Report::return_ms`].
    pub returns: BTreeMap<String, Latencies>,
    /// See [`Report::answered`].
    pub answered: u64,
    /// See [`Report::errors`].
    pub errors: BTreeMap<String, u64>,
    /// Time of the last event.
    pub end_ns: u64,
}

/// A partition of a service.
type Place = (&'static str, i32);

/// Answers about one partition: who owns it, and when it answered last.
#[derive(Debug, Clone)]
struct Owned {
    instance: String,
    at_ns: u64,
}

/// A fault that took partitions away, until the next one.
struct Takeover {
    name: String,
    /// The longest time without an answer, for each partition that was lost.
    lost: HashMap<Place, u64>,
    moved: HashSet<Place>,
}

/// Goes over a history.
pub fn see(history: &[Event]) -> Seen {
    let mut seen = Seen::default();
    let mut calls: HashMap<u64, &Call> = HashMap::new();
    let mut owners: HashMap<Place, Owned> = HashMap::new();
    let mut takeover: Option<Takeover> = None;
    for event in history {
        seen.end_ns = event.at_ns;
        let error = |calls: &HashMap<u64, &Call>, code: &str| {
            let method = calls.get(&event.op).map_or("?", |call| call.method());
            format!("{method} {code}")
        };
        match &event.what {
            What::Invoke { call, .. } => {
                calls.insert(event.op, call);
            }
            What::Ok { answer } => {
                seen.answered += 1;
                let Some(call) = calls.remove(&event.op) else { continue };
                let Some(served) = &answer.served_by else { continue };
                let place = (call.service(), served.partition);
                if let Some(takeover) = &mut takeover {
                    takeover.answered(place, &served.instance, event.at_ns, owners.get(&place));
                }
                let now = Owned { instance: served.instance.clone(), at_ns: event.at_ns };
                let before = owners.insert(place, now);
                seen.moves += u64::from(before.is_some_and(|before| before.instance != served.instance));
            }
            What::Fail { code } | What::Info { code } => {
                *seen.errors.entry(error(&calls, code)).or_default() += 1;
                calls.remove(&event.op);
            }
            What::Fault { name, target } => {
                *seen.faults.entry(name.clone()).or_default() += 1;
                seen.close(takeover.take());
                takeover = target.as_ref().map(|target| Takeover::new(name, target, &owners));
            }
            What::Returned { .. } | What::Healed | What::Clock { .. } => {}
        }
    }
    seen.close(takeover);
    for Return { name, answered_ns, .. } in returns(history) {
        seen.returns.entry(name.to_owned()).or_default().add(Duration::from_nanos(answered_ns));
    }
    seen
}

/// How long one partition of orders took to answer when what had been stopped was continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return<'a> {
    /// The fault, as in the schedule.
    pub name: &'a str,
    /// The partition.
    pub partition: i32,
    /// Nanoseconds from then to its first answer; to the end of the history when there is none.
    pub answered_ns: u64,
}

/// Goes over a history for what [`What::Returned`] marks, for all partitions of orders that had answered before.
pub fn returns(history: &[Event]) -> Vec<Return<'_>> {
    let (mut returns, mut reads, mut known) = (Vec::new(), HashSet::new(), BTreeSet::new());
    let mut waits: Vec<(&str, u64, BTreeSet<i32>)> = Vec::new();
    for event in history {
        match &event.what {
            What::Invoke { call: Call::Get { bound, .. }, .. } if *bound != Bound::Eventual => {
                reads.insert(event.op);
            }
            What::Ok { answer } if reads.remove(&event.op) => {
                let Some(served) = &answer.served_by else { continue };
                known.insert(served.partition);
                for (name, since_ns, open) in &mut waits {
                    if open.remove(&served.partition) {
                        let (partition, answered_ns) = (served.partition, event.at_ns - *since_ns);
                        returns.push(Return { name, partition, answered_ns });
                    }
                }
            }
            What::Returned { name } => waits.push((name, event.at_ns, known.clone())),
            _ => {}
        }
    }
    let end_ns = history.last().map_or(0, |event| event.at_ns);
    for (name, since_ns, open) in waits {
        returns.extend(open.iter().map(|&partition| Return { name, partition, answered_ns: end_ns - since_ns }));
    }
    returns
}

/// Counts the moves of tasks by the fault that had begun last.
pub fn owner_moves(history: &[Event], changelogs: &[changelogs::Entry]) -> BTreeMap<String, u64> {
    let Some(time) = changelogs::time_of_day(history) else { return BTreeMap::new() };
    let begun = history.iter().filter_map(|event| match &event.what {
        What::Fault { name, .. } => Some((time(event.at_ns), name.as_str())),
        _ => None,
    });
    let end = history.last().map(|event| (time(event.at_ns).saturating_add(1), "end"));
    let begun: Vec<(i64, &str)> = begun.chain(end).collect();
    let mut moves = BTreeMap::new();
    for moved in changelogs::moves(changelogs) {
        let before = begun.partition_point(|(at_ms, _)| *at_ms <= moved.at_ms);
        let name = before.checked_sub(1).map_or("start", |at| begun[at].1);
        *moves.entry(name.to_owned()).or_default() += 1;
    }
    moves
}

impl Takeover {
    fn new(name: &str, target: &str, owners: &HashMap<Place, Owned>) -> Self {
        let lost = owners.iter().filter(|(_, owned)| owned.instance == target);
        Self { name: name.to_owned(), lost: lost.map(|(place, _)| (*place, 0)).collect(), moved: HashSet::new() }
    }

    fn answered(&mut self, place: Place, by: &str, at_ns: u64, before: Option<&Owned>) {
        let (Some(longest), Some(before)) = (self.lost.get_mut(&place), before) else { return };
        *longest = (*longest).max(at_ns - before.at_ns);
        if before.instance != by {
            self.moved.insert(place);
        }
    }
}

impl Seen {
    fn close(&mut self, takeover: Option<Takeover>) {
        let Some(Takeover { name, lost, moved }) = takeover else { return };
        // An instance that owned nothing, or had everything back before anybody else took it, was not taken over.
        self.takeovers += u64::from(!moved.is_empty());
        let gaps = self.gaps.entry(name).or_default();
        for (place, longest) in lost {
            // Products are not probed: how long they were away is not known well enough.
            if place.0 == "orders" {
                gaps.add(Duration::from_nanos(longest));
            }
        }
    }
}

impl Report {
    fn moves_by_fault(&self) -> String {
        let each = self.owner_moves.iter().map(|(name, moves)| format!("{moves} after {name}")).collect::<Vec<_>>();
        if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: seed {}, {} instances, {} broker nodes, {:.0} s\n",
            self.label, self.seed, self.instances, self.brokers, self.seconds
        );
        let faults = self.faults.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ");
        let Findings { orders, shipped, rejected, cancelled, records, repeats, dead_letters, .. } = &self.findings;
        let lines = [
            format!("faults: {faults}"),
            format!("takeovers: {} of instances, {} of partitions", self.takeovers, self.moves),
            format!("moves of tasks: {}{}", self.owner_moves.values().sum::<u64>(), self.moves_by_fault()),
            format!("orders: {orders} ({shipped} shipped, {rejected} rejected, {cancelled} cancelled)"),
            format!("records: {records} taken, {repeats} repeats dropped, {dead_letters} dead letters"),
            format!("calls: {} answered, {} stories not begun", self.answered, self.missed),
        ];
        for line in lines {
            writeln!(text, "  {line}").expect("a string takes everything");
        }
        text.push_str(
            "\n| longest time without an answer | partitions | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n",
        );
        for (name, gap) in &self.gap_ms {
            writeln!(text, "| {name} | {} | {:.0} | {:.0} | {:.0} |", gap.count, gap.p50, gap.p99, gap.max)
                .expect("a string takes everything");
        }
        for (name, time) in &self.return_ms {
            writeln!(
                text,
                "| {name}, since its end | {} | {:.0} | {:.0} | {:.0} |",
                time.count, time.p50, time.p99, time.max
            )
            .expect("a string takes everything");
        }
        text.push_str("\n| errors that clients saw | times |\n|---|---|\n");
        for (error, times) in &self.errors {
            writeln!(text, "| {error} | {times} |").expect("a string takes everything");
        }
        text.push('\n');
        for (law, times) in &self.findings.broken {
            writeln!(text, "BROKEN {law}: {times} times").expect("a string takes everything");
        }
        for violation in &self.findings.told {
            writeln!(text, "  {violation}").expect("a string takes everything");
        }
        text.push_str(if self.findings.is_clean() { "every law holds\n" } else { "" });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::history::{Answer, Body, Bound, Served, State};

    fn answered(history: &mut Vec<Event>, at_ms: u64, partition: i32, instance: &str) {
        let op = history.len() as u64 + 1;
        let call = Call::Get { order_id: "o".into(), bound: Bound::Strong };
        let served_by = Some(Served { instance: instance.into(), partition, applied_offset: 1, active: true });
        let answer = Answer { body: Body::Order { state: State::Created, version: 1 }, served_by };
        for what in [What::Invoke { gateway: "a".into(), call }, What::Ok { answer }] {
            history.push(Event { at_ns: at_ms * 1_000_000, op, session: 1, what });
        }
    }

    #[test]
    fn a_takeover_is_the_longest_time_without_an_answer_about_what_was_lost() {
        let mut history = Vec::new();
        answered(&mut history, 90, 0, "a");
        answered(&mut history, 95, 1, "b");
        let what = What::Fault { name: "kill".into(), target: Some("a".into()) };
        history.push(Event { at_ns: 100_000_000, op: 0, session: 0, what });
        for at_ms in [800, 900] {
            answered(&mut history, at_ms, 0, "b");
            answered(&mut history, at_ms, 1, "b");
        }
        let seen = see(&history);
        assert_eq!((seen.takeovers, seen.moves, seen.answered), (1, 1, 6));
        let gaps = seen.gaps["kill"].quantiles();
        assert_eq!(gaps.count, 1, "partition 1 was not lost");
        assert!((gaps.max - 710.0).abs() < 1.0, "{gaps:?}");
    }

    #[test]
    fn brokers_are_back_for_a_partition_with_its_first_answer() {
        let mut history = Vec::new();
        answered(&mut history, 90, 0, "a");
        answered(&mut history, 95, 1, "b");
        let what = What::Returned { name: "brokers-away".into() };
        history.push(Event { at_ns: 100_000_000, op: 0, session: 0, what });
        answered(&mut history, 800, 0, "a");
        answered(&mut history, 900, 0, "a");
        let returned = |partition, answered_ms: u64| Return {
            name: "brokers-away",
            partition,
            answered_ns: answered_ms * 1_000_000,
        };
        assert_eq!(returns(&history), [returned(0, 700), returned(1, 800)], "partition 1 was not heard again");
        assert_eq!(see(&history).returns["brokers-away"].quantiles().count, 2);
    }

    #[test]
    fn moves_of_tasks_are_counted_by_the_fault_before() {
        let mut history = vec![Event { at_ns: 0, op: 0, session: 0, what: What::Clock { unix_ms: 1_000 } }];
        let what = What::Fault { name: "kill".into(), target: None };
        history.push(Event { at_ns: 5_000_000_000, op: 0, session: 0, what });
        history.push(Event { at_ns: 6_000_000_000, op: 0, session: 0, what: What::Healed });
        let claim = |epoch: u64, at_ms, instance: &str| changelogs::Entry {
            task: "orders/0".into(),
            offset: epoch,
            at_ms,
            what: changelogs::What::Claimed { incarnation: "7".into(), epoch, instance: instance.into(), life: epoch },
        };
        let claims = [(1, 1_000, "a"), (2, 5_000, "b"), (3, 6_000, "b"), (4, 6_500, "a"), (5, 7_500, "b")];
        let claims = claims.map(|(epoch, at_ms, instance)| claim(epoch, at_ms, instance));
        let counted = owner_moves(&history, &claims);
        let expected = ["end", "kill", "start"].map(|name| (name.to_owned(), 1));
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), expected);
    }
}
