//! The scenario: three chained services, and what is demanded of them besides the protocol:
//!
//! - `exactly-once`: no effect is ever counted twice, and in the end each one is counted at every hop;
//! - `reply-certified`: what a caller was told stands in the log as counted, at that moment;
//! - `strong-read`: a strong read is the state of the log at some moment while it ran;
//! - `linearizable`: the same from the clients' side alone, without looking into the log.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use event_log::TopicPartition;
use task_runtime::changelog::Body;
use task_runtime::{Role, Shortcut};
use testkit::simulation::{Dice, Losses, Oracle, Plan, Profile, Reading, Scenario, TaskKey, Topology, Verdict, fail};
use tokio::task::JoinHandle;

use crate::bugs::BUGS;
use crate::calls::Calls;
use crate::clients::{self, Client};
use crate::mesh;

pub(crate) const PARTITIONS: u32 = 2;

pub(crate) type World = testkit::simulation::World<Chain>;

#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) calls: Calls,
    /// Whether requests are forgotten while a run lasts.
    forgetful: bool,
    /// Effects that were counted, and lost.
    lost: BTreeSet<(Bytes, u64)>,
}

impl Scenario for Chain {
    type Bug = Shortcut;

    // Topics lead from the first to the last.
    const REBUILT_AS: Role = Role::Active;

    fn bugs() -> Vec<(&'static str, Shortcut)> {
        BUGS.to_vec()
    }

    fn draw(dice: &mut Dice, bug: Option<Shortcut>) -> Plan<Self> {
        let profile = Profile::draw(dice, bug.unwrap_or_default());
        let scenario = Self { forgetful: profile.forgetful, ..Self::default() };
        Plan { profile, topology: Topology::new(mesh::definitions(), PARTITIONS, 0), scenario }
    }

    fn callers(world: &Rc<World>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
        let clients = 0..world.shared.profile.clients;
        let mut jobs: Vec<_> = clients.map(|id| tokio::task::spawn_local(Client::new(world, id).run())).collect();
        jobs.push(tokio::task::spawn_local(clients::outside(world.clone(), dice.fork())));
        jobs
    }

    fn committed(&mut self, task: TaskKey, _: &Reading, body: &Body, losses: Losses) -> Verdict {
        // A sender that has lost its changelog sends other things under the same numbers, and the same things again.
        if task.0 == 0 || !losses.changelog { check_effects(body, losses.changelog) } else { Ok(()) }
    }

    fn losing(&mut self, reading: &Reading) {
        self.lost.extend(effects(reading));
    }

    fn unfinished(oracle: &Oracle<Self>, _: i64) -> Option<String> {
        for (task, reading) in oracle.readings() {
            if let Some((timer, _)) = reading.rows(1).next() {
                return Some(format!("timer {} of {task:?}", timer.escape_ascii()));
            }
            if let Some((answer, _)) = reading.rows(2).find(|_| oracle.scenario.forgetful) {
                return Some(format!("{} of {task:?} is still remembered", answer.escape_ascii()));
            }
        }
        None
    }

    fn settled(oracle: &Oracle<Self>) -> Verdict {
        every_effect_is_everywhere_once(oracle)?;
        every_outside_record_is_taken_or_buried(oracle)
    }
}

impl Chain {
    /// A caller was told that this effect has happened, with this value of the counter.
    pub(crate) fn replied(oracle: &Oracle<Self>, task: TaskKey, effect: &[u8], count: u64) -> Verdict {
        if !oracle.judges(task) {
            return Ok(());
        }
        let found = oracle.reading(task).row(&mesh::row(2, effect));
        match found {
            Some(value) if value.get(1..).map(mesh::number) == Some(count) => Ok(()),
            // It was acknowledged, and lost while the answer was on its way.
            _ if oracle.scenario.lost.contains(&(Bytes::copy_from_slice(effect), count)) => Ok(()),
            other => {
                let effect = effect.escape_ascii();
                fail("reply-certified", format!("{task:?} answered {count} for {effect}, the log says {other:?}"))
            }
        }
    }
}

/// Value of a counter.
pub(crate) fn count_of(reading: &Reading, key: &[u8]) -> u64 {
    reading.row(&mesh::row(1, key)).map_or(0, |value| mesh::number(value))
}

/// Sum of all counters.
pub(crate) fn sum_of(reading: &Reading) -> u64 {
    reading.rows(0x81).map(|(_, value)| mesh::number(value)).sum()
}

/// Effects that were carried out, with the value of the counter behind them.
fn effects(reading: &Reading) -> impl Iterator<Item = (Bytes, u64)> {
    reading.rows(0x82).map(|(key, value)| (key.slice(1..), value.get(1..).map_or(0, mesh::number)))
}

/// Nothing that this commit changed was carried out twice, and nothing poisoned or refused ever was. A task that `forgot`
/// answers which it had given, because its log lost them, cannot refuse what reuses their request ids.
fn check_effects(body: &Body, forgot: bool) -> Verdict {
    for (key, value) in &body.changes {
        let Some(effect) = key.strip_prefix(&[0x82][..]) else { continue };
        let times = value.as_ref().map_or(0, |value| mesh::times(value));
        if times > 1 || effect.starts_with(b"p") || effect.starts_with(b"q") && !forgot {
            return fail("exactly-once", format!("{} was carried out {times} times", effect.escape_ascii()));
        }
    }
    Ok(())
}

/// Whether all tasks of a service together have carried out an effect once.
fn once(oracle: &Oracle<Chain>, service: usize, effect: &[u8]) -> bool {
    let row = mesh::row(2, effect);
    let found = oracle.readings().filter(|(task, _)| task.0 == service).filter_map(|(_, reading)| reading.row(&row));
    found.map(|value| u64::from(mesh::times(value))).sum::<u64>() == 1
}

/// Everything that happened at the first hop has happened at every hop, once.
fn every_effect_is_everywhere_once(oracle: &Oracle<Chain>) -> Verdict {
    for (task, reading) in oracle.readings().filter(|(task, _)| task.0 == 0) {
        let commanded = reading.rows(0x82).map(|(key, _)| &key[1..]).filter(|effect| !effect.starts_with(b"t/"));
        for effect in commanded.flat_map(mesh::effects_of) {
            if !(0..mesh::SERVICES.len()).all(|service| once(oracle, service, &effect)) {
                return fail("exactly-once", format!("{} of {task:?} did not arrive once", effect.escape_ascii()));
            }
        }
    }
    Ok(())
}

fn every_outside_record_is_taken_or_buried(oracle: &Oracle<Chain>) -> Verdict {
    for (at, topic) in oracle.topics().filter(|(at, _)| at.topic.as_str() == mesh::OUTSIDE) {
        let buried = TopicPartition::new("third-dead-letters", at.partition);
        let buried = oracle.topics().find(|(other, _)| **other == buried);
        let buried = buried.map_or(0, |(_, topic)| topic.dense(&format!("third/{}", at.partition)));
        let name = |offset: &u64| mesh::from_outside(at.partition, *offset);
        let taken = (0..topic.end()).filter(|offset| once(oracle, 2, &name(offset))).count() as u64;
        if taken + buried != topic.end() {
            return fail("exactly-once", format!("{at}: {} records, {taken} taken, {buried} buried", topic.end()));
        }
    }
    Ok(())
}
