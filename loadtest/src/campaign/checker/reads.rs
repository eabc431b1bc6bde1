//! Answers against real time: what was acknowledged before a call began must show in its answer.
//!
//! Two registers only ever grow: the version of each key, and the position of each partition's changelog as answers tell
//! it. What an answer told is certified, so that every strong answer to a call that began later stands at or above it, whoever
//! gives it. The second register is the sharper one: it shows an owner of the past even at a key that nobody changed.

use std::collections::HashMap;

use super::{End, Findings, Law, Op, Ops, version};
use crate::campaign::history::{Answer, Body, Bound, Event, What};

/// The highest that any answer told so far, and who told it.
#[derive(Debug, Clone, Default)]
struct Floor {
    value: u64,
    session: u64,
    instance: String,
}

/// What the answer of an operation must reach.
#[derive(Debug, Default)]
struct Begun {
    key: Floor,
    /// For every partition of the service, since the partition is known by the answer only.
    partitions: HashMap<i32, Floor>,
}

#[derive(Debug, Default)]
struct Floors {
    keys: HashMap<String, Floor>,
    partitions: HashMap<&'static str, HashMap<i32, Floor>>,
}

pub(super) fn check(history: &[Event], ops: &Ops<'_>, findings: &mut Findings) {
    let (mut floors, mut begun) = (Floors::default(), HashMap::new());
    for event in history {
        let Some(op) = ops.get(&event.op) else { continue };
        match &event.what {
            What::Invoke { .. } => {
                let key = floors.keys.get(&op.call.key()).cloned().unwrap_or_default();
                let partitions = floors.partitions.get(op.call.service()).cloned().unwrap_or_default();
                begun.insert(event.op, Begun { key, partitions });
            }
            What::Ok { answer } => {
                if let Some(begun) = begun.remove(&event.op) {
                    judge(op, answer, &begun, ops, findings);
                }
                floors.rise(op, answer);
            }
            What::Fail { .. } | What::Info { .. } => drop(begun.remove(&event.op)),
            What::Fault { .. } | What::Returned { .. } | What::Healed | What::Clock { .. } => {}
        }
    }
}

impl Floors {
    fn rise(&mut self, op: &Op<'_>, answer: &Answer) {
        let instance = answer.served_by.as_ref().map(|served| served.instance.clone()).unwrap_or_default();
        let floor = |value| Floor { value, session: op.session, instance: instance.clone() };
        if let Some(version) = version(&answer.body) {
            let known = self.keys.entry(op.call.key()).or_default();
            if version > known.value {
                *known = floor(version);
            }
        }
        if let Some(served) = &answer.served_by {
            let partitions = self.partitions.entry(op.call.service()).or_default();
            let known = partitions.entry(served.partition).or_default();
            let offset = u64::try_from(served.applied_offset).unwrap_or(0);
            if offset > known.value {
                *known = floor(offset);
            }
        }
    }
}

fn judge(op: &Op<'_>, answer: &Answer, begun: &Begun, ops: &Ops<'_>, findings: &mut Findings) {
    match op.call.bound() {
        Some(Bound::Eventual) => {}
        Some(Bound::AtLeast(write)) => at_least(op, answer, ops.get(&write), findings),
        // The answer to a repeated request is the first one, however old.
        None if op.repeats => {}
        None | Some(Bound::Strong | Bound::UntilOver) => strong(op, answer, begun, findings),
    }
}

fn at_least(op: &Op<'_>, answer: &Answer, write: Option<&Op<'_>>, findings: &mut Findings) {
    let Some(Op { end: End::Ok(_, written), call, .. }) = write else { return };
    let (wanted, found) = (version(&written.body).unwrap_or(0), version(&answer.body).unwrap_or(0));
    if call.key() == op.call.key() && found < wanted {
        let what = format!("version {found} was read with the token of a write that made version {wanted}");
        findings.broke(Law::StaleRead, op.call.key(), what);
    }
}

fn strong(op: &Op<'_>, answer: &Answer, begun: &Begun, findings: &mut Findings) {
    let found = version(&answer.body).unwrap_or(0);
    if found < begun.key.value {
        let told = if answer.body == Body::Absent { "nothing".to_owned() } else { format!("version {found}") };
        let what = format!("{told} was answered after version {} by {}", begun.key.value, begun.key.instance);
        findings.broke(law(op, answer, &begun.key), op.call.key(), what);
    }
    let Some(served) = &answer.served_by else { return };
    let Some(floor) = begun.partitions.get(&served.partition) else { return };
    if u64::try_from(served.applied_offset).unwrap_or(0) < floor.value {
        let what = format!(
            "{} answered {} from offset {} after {} had answered from {}",
            served.instance,
            op.call.key(),
            served.applied_offset,
            floor.instance,
            floor.value
        );
        findings.broke(law(op, answer, floor), format!("{}/{}", op.call.service(), served.partition), what);
    }
}

/// What an answer below a floor is called: who answers now, and whom, against who answered then.
fn law(op: &Op<'_>, answer: &Answer, floor: &Floor) -> Law {
    match &answer.served_by {
        Some(served) if !floor.instance.is_empty() && served.instance != floor.instance => Law::DeposedAnswer,
        _ if op.session == floor.session => Law::Nonmonotonic,
        _ => Law::StaleRead,
    }
}
