//! What goes wrong with processes, tasks and the log itself, and when.

use std::rc::Rc;
use std::time::Duration;

use event_log::{EventLog, Offset, TopicPartition};
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::mesh;
use crate::oracle::TaskKey;
use crate::profile::{Loss, Nemesis, PARTITIONS};
use crate::shared::Trip;
use crate::world::{World, all_tasks};

#[derive(Debug, Clone, Copy)]
enum Blow {
    Crash,
    Trip,
    Freeze,
    Rival,
    Handover,
    Outage,
}

/// Does one thing after the other until the time is over.
pub(crate) async fn run(world: Rc<World>) {
    let nemesis = world.shared.profile.nemesis;
    let until = Instant::now() + world.shared.profile.faulty;
    let mut losses = if world.loses() { 2 } else { 0 };
    loop {
        let gap = world.dice(|dice| dice.millis(1, nemesis.gap_ms));
        sleep(gap).await;
        if Instant::now() >= until {
            break;
        }
        if losses > 0 && world.dice(|dice| dice.permille(250)) {
            losses -= 1;
            lose(&world).await;
            continue;
        }
        if let Some(blow) = draw(&world, nemesis) {
            strike(&world, blow);
        }
    }
}

/// Crashes processes that have reached the append at which they were to crash.
pub(crate) async fn crash_on_request(world: Rc<World>) {
    loop {
        world.shared.crash_wanted.notified().await;
        while let Some(process) = world.shared.next_crash() {
            world.crash(process);
        }
    }
}

fn draw(world: &World, nemesis: Nemesis) -> Option<Blow> {
    let weights = [
        (Blow::Crash, nemesis.crash),
        (Blow::Trip, nemesis.trip),
        (Blow::Freeze, nemesis.freeze),
        (Blow::Rival, nemesis.rival),
        (Blow::Handover, nemesis.handover),
        (Blow::Outage, nemesis.outage),
    ];
    let sum: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut number = world.dice(|dice| dice.below(sum));
    weights.iter().filter(|(_, weight)| *weight > 0).find_map(|(blow, weight)| {
        let hit = number < *weight;
        number = number.saturating_sub(*weight);
        hit.then_some(*blow)
    })
}

fn strike(world: &Rc<World>, blow: Blow) {
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
                world.stop(&owner);
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
    }
}

/// The tasks of a process that is away are given to another.
fn move_tasks(world: &Rc<World>, away: usize) {
    let count = world.shared.profile.processes;
    for task in world.tasks_assigned_to(away) {
        let process = (away + 1 + world.dice(|dice| dice.index(count - 1))) % count;
        world.rival(task, process);
    }
}

fn any_task(world: &World) -> TaskKey {
    let tasks: Vec<_> = all_tasks().collect();
    world.dice(|dice| dice.pick(&tasks))
}

/// The log loses a tail that it has acknowledged.
async fn lose(world: &Rc<World>) {
    let task = any_task(world);
    let changelog = TopicPartition::new(format!("{}-changelog", mesh::SERVICES[task.0]).as_str(), task.1);
    match world.shared.profile.loss {
        Loss::None => {}
        Loss::ChangelogUnderOwner => {
            if cut(world, &changelog, true) {
                world.shared.count("changelog cut under its owner");
            }
        }
        Loss::ChangelogWhileDown => {
            for life in world.lives_of(task) {
                world.kill(&life);
            }
            sleep(Duration::from_millis(1)).await;
            if !cut(world, &changelog, false) {
                return world.start(task, world.assigned(task));
            }
            world.shared.count("changelog cut while the task was down");
            // Someone else goes on with what is left; later the first comes back with what it had.
            let (first, count) = (world.assigned(task), world.shared.profile.processes);
            world.rival(task, (first + 1) % count);
            let wait = world.dice(|dice| dice.millis(20, 400));
            sleep(wait).await;
            world.rival(task, first);
        }
        Loss::TopicTail => {
            let topic = world.dice(|dice| dice.pick(&["first-out", "second-out"]));
            let partition = world.dice(|dice| dice.below(u64::from(PARTITIONS)));
            let partition = TopicPartition::new(topic, u32::try_from(partition).expect("small"));
            if cut(world, &partition, false) {
                world.shared.count("topic cut");
            }
        }
    }
}

fn cut(world: &World, partition: &TopicPartition, under_owner: bool) -> bool {
    let latest = world.shared.log.latest(partition).now_or_never().expect("at once").expect("all topics exist");
    let lost = world.dice(|dice| dice.range(1, 4)).min(latest.0);
    if lost > 0 {
        world.shared.lose(partition, Offset(latest.0 - lost), under_owner);
    }
    lost > 0
}
