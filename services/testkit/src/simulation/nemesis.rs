//! What goes wrong with processes, tasks and the log itself, and when.

use std::rc::Rc;
use std::time::Duration;

use event_log::{EventLog, Offset, TopicPartition};
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use super::oracle::Oracle;
use super::profile::{Loss, Nemesis};
use super::shared::Trip;
use super::world::World;
use super::{Scenario, TaskKey};

#[derive(Debug, Clone, Copy)]
enum Blow {
    Crash,
    Trip,
    Freeze,
    Rival,
    Handover,
    Outage,
    Damage,
}

/// Does one thing after the other until the time is over.
pub(super) async fn run<S: Scenario>(world: Rc<World<S>>) {
    let nemesis = world.shared.profile.nemesis;
    let until = Instant::now() + world.shared.profile.faulty;
    let mut losses: u64 = if world.loses() { 4 } else { 0 };
    loop {
        let gap = world.dice(|dice| dice.millis(1, nemesis.gap_ms));
        sleep(gap).await;
        if Instant::now() >= until {
            break;
        }
        if losses > 0 && world.dice(|dice| dice.permille(500)) {
            losses -= u64::from(lose(&world).await);
            continue;
        }
        if let Some(blow) = draw(&world, nemesis) {
            strike(&world, blow);
        }
    }
}

/// Crashes processes that have reached the append at which they were to crash.
pub(super) async fn crash_on_request<S: Scenario>(world: Rc<World<S>>) {
    loop {
        world.shared.crash_wanted.notified().await;
        while let Some(process) = world.shared.next_crash() {
            world.crash(process);
        }
    }
}

fn draw<S: Scenario>(world: &World<S>, nemesis: Nemesis) -> Option<Blow> {
    let weights = [
        (Blow::Crash, nemesis.crash),
        (Blow::Trip, nemesis.trip),
        (Blow::Freeze, nemesis.freeze),
        (Blow::Rival, nemesis.rival),
        (Blow::Handover, nemesis.handover),
        (Blow::Outage, nemesis.outage),
        (Blow::Damage, nemesis.damage),
    ];
    let sum: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut number = world.dice(|dice| dice.below(sum));
    weights.iter().filter(|(_, weight)| *weight > 0).find_map(|(blow, weight)| {
        let hit = number < *weight;
        number = number.saturating_sub(*weight);
        hit.then_some(*blow)
    })
}

fn strike<S: Scenario>(world: &Rc<World<S>>, blow: Blow) {
    let count = world.shared.profile.processes;
    let process = world.dice(|dice| dice.index(count));
    let task = any_task(world);
    match blow {
        Blow::Crash => {
            world.crash(process);
            if world.dice(|dice| dice.permille(500)) {
                move_tasks(world, process);
            }
        }
        Blow::Trip => {
            let trip = world.dice(|dice| Trip { appends: dice.below(6), after_landing: dice.permille(600) });
            world.shared.set_trip(process, trip);
        }
        Blow::Freeze => {
            let time = world.dice(|dice| dice.millis(20, 1_500));
            world.freeze(process, time);
            if world.dice(|dice| dice.permille(700)) {
                move_tasks(world, process);
            }
        }
        Blow::Rival => world.rival(task, process),
        Blow::Handover => {
            if let Some(owner) = world.owner_of(task) {
                world.shared.count("handover");
                world.assign(task, process);
                world.release(&owner);
                let (world, wait) = (world.clone(), world.dice(|dice| dice.millis(1, 300)));
                tokio::task::spawn_local(async move {
                    sleep(wait).await;
                    world.start(task, world.assigned(task));
                });
            }
        }
        Blow::Outage => {
            world.shared.count("cut off");
            let time = world.dice(|dice| dice.millis(20, 1_200));
            world.shared.cut_off(process, time);
        }
        Blow::Damage => damage(world, process),
    }
}

/// The disk of a process goes bad, at several places. Half of the times its power fails, too.
fn damage<S: Scenario>(world: &Rc<World<S>>, process: usize) {
    if world.dice(|dice| dice.permille(500)) {
        world.crash(process);
    }
    for _ in 0..world.dice(|dice| dice.range(1, 4)) {
        let task = any_task(world);
        world.damage(task, process);
    }
}

/// The tasks of a process that is away are given to another.
fn move_tasks<S: Scenario>(world: &Rc<World<S>>, away: usize) {
    let count = world.shared.profile.processes;
    for task in world.tasks_assigned_to(away) {
        let process = (away + 1 + world.dice(|dice| dice.index(count - 1))) % count;
        world.rival(task, process);
    }
}

fn any_task<S: Scenario>(world: &World<S>) -> TaskKey {
    let tasks: Vec<_> = world.shared.topology.tasks().collect();
    world.dice(|dice| dice.pick(&tasks))
}

/// The log loses a tail that it has acknowledged. Returns whether it had one that is worth losing.
async fn lose<S: Scenario>(world: &Rc<World<S>>) -> bool {
    match world.shared.profile.loss {
        Loss::None => false,
        Loss::ChangelogUnderOwner => {
            let lost = cut(world, &changelog(world, any_task(world)), true);
            if lost {
                world.shared.count("changelog cut under its owner");
            }
            lost
        }
        Loss::ChangelogWhileDown => lose_while_down(world).await,
        Loss::TopicTail => lose_unread(world).await,
    }
}

/// A task is down when its changelog loses commits that its store has. Someone else goes on with what is left, and later
/// the first comes back with what it had.
async fn lose_while_down<S: Scenario>(world: &Rc<World<S>>) -> bool {
    let count = world.shared.profile.processes;
    let other = |process: usize| (process + 1) % count;
    let is_fit = |task: &TaskKey| {
        let process = world.assigned(*task);
        let both_up = world.processes[process].up.get() && world.processes[other(process)].up.get();
        both_up
            && world.owner_of(*task).is_some()
            && world.shared.oracle(|oracle| oracle.reading(*task).ends_with_commit())
    };
    let fit: Vec<TaskKey> = world.shared.topology.tasks().filter(is_fit).collect();
    // Mostly where clients would be told.
    let asked: Vec<TaskKey> = fit.iter().copied().filter(|task| task.0 == world.shared.topology.asked).collect();
    let of = if asked.is_empty() || world.dice(|dice| dice.permille(200)) { fit } else { asked };
    if of.is_empty() {
        return false;
    }
    let task = world.dice(|dice| dice.pick(&of));
    let (first, second) = (world.assigned(task), other(world.assigned(task)));
    for life in world.lives_of(task) {
        world.kill(&life);
    }
    sleep(Duration::from_millis(1)).await;
    cut(world, &changelog(world, task), false);
    world.shared.count("changelog cut while the task was down");
    world.rival(task, second);
    let wait = world.dice(|dice| dice.pick(&[10, 40, 300]));
    sleep(Duration::from_millis(wait)).await;
    world.rival(task, first);
    true
}

fn changelog<S: Scenario>(world: &World<S>, task: TaskKey) -> TopicPartition {
    TopicPartition::new(world.shared.topology.definitions[task.0].changelog(), task.1)
}

/// A topic loses records that its receiver has not read yet; then it goes on.
async fn lose_unread<S: Scenario>(world: &Rc<World<S>>) -> bool {
    let topics = world.shared.topology.internal_topics();
    let topic = topics[world.dice(|dice| dice.index(topics.len()))].clone();
    let partition = world.dice(|dice| dice.below(u64::from(world.shared.topology.partitions)));
    let partition = TopicPartition::new(topic, u32::try_from(partition).expect("small"));
    let receivers = world.shared.topology.receivers(&partition);
    for life in receivers.iter().flat_map(|receiver| world.lives_of(*receiver)) {
        world.kill(&life);
    }
    let wait = world.dice(|dice| dice.millis(100, 600));
    sleep(wait).await;
    let read = |oracle: &mut Oracle<S>, receiver| oracle.reading(receiver).position(partition.topic.as_str());
    let position = world.shared.oracle(|oracle| receivers.iter().map(|receiver| read(oracle, *receiver)).max());
    let position = position.unwrap_or(0);
    let unread = end(world, &partition).saturating_sub(position);
    if unread > 0 {
        let lost = world.dice(|dice| dice.range(1, unread));
        let from = Offset(end(world, &partition) - lost);
        // Meanwhile it may run again, and may have read on.
        let under_receiver = receivers.iter().any(|receiver| !world.lives_of(*receiver).is_empty());
        world.shared.lose(&partition, from, under_receiver);
        world.shared.count("topic cut");
    }
    for receiver in receivers {
        world.start(receiver, world.assigned(receiver));
    }
    unread > 0
}

fn end<S: Scenario>(world: &World<S>, partition: &TopicPartition) -> u64 {
    world.shared.log.latest(partition).now_or_never().expect("at once").expect("all topics exist").0
}

fn cut<S: Scenario>(world: &World<S>, partition: &TopicPartition, under_owner: bool) -> bool {
    let end = end(world, partition);
    let most = if world.dice(|dice| dice.permille(600)) { 1 } else { 4 };
    let begin = world.shared.log.earliest(partition).now_or_never().expect("at once").expect("all topics exist").0;
    let lost = world.dice(|dice| dice.range(1, most)).min(end - begin);
    if lost > 0 {
        world.shared.lose(partition, Offset(end - lost), under_owner);
    }
    lost > 0
}
