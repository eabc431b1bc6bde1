//! One seed from begin to end: faults, healing, draining, and the last questions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use event_log::TopicPartition;
use task_runtime::{Consistency, Role, Shortcut};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep, timeout};

use crate::clients::{self, Client};
use crate::dice::Dice;
use crate::mesh;
use crate::nemesis;
use crate::oracle::{Failure, Oracle, Stats, TaskKey, Verdict, fail};
use crate::profile::Profile;
use crate::shared::Shared;
use crate::world::{World, all_tasks, name};

/// Simulated time within which everything must have come to rest once nothing goes wrong any more.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// What became of a seed.
pub(crate) struct Outcome {
    pub(crate) failure: Option<Failure>,
    /// Hash of the trace and number of events in it.
    pub(crate) trace: (u64, u64),
    pub(crate) stats: Stats,
    /// Simulated time.
    pub(crate) lasted: Duration,
}

/// Runs one seed. The same seed gives the same run, to the byte.
pub(crate) fn run(seed: u64, shortcut: Shortcut, print: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("an event loop without I/O needs nothing of the system");
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async move {
        let mut dice = Dice::new(seed);
        let profile = Profile::draw(&mut dice, shortcut);
        if print {
            eprintln!("{profile:#?}");
        }
        let begin = Instant::now();
        let shared = Arc::new(Shared::new(profile, dice.fork(), print));
        let world = World::new(shared.clone(), dice.fork()).await;
        tokio::select! {
            biased;
            () = shared.failed.notified() => {}
            () = play(&world, &mut dice) => {}
        }
        let trace = shared.trace_digest();
        let (failure, stats) = shared.oracle(|oracle| (oracle.failure.clone(), std::mem::take(&mut oracle.stats)));
        Outcome { failure, trace, stats, lasted: begin.elapsed() }
    }))
}

async fn play(world: &Rc<World>, dice: &mut Dice) {
    for process in 0..world.shared.profile.processes {
        world.boot(process);
    }
    let crasher = tokio::task::spawn_local(nemesis::crash_on_request(world.clone()));
    let mut jobs: Vec<JoinHandle<()>> = Vec::new();
    for id in 0..world.shared.profile.clients {
        jobs.push(tokio::task::spawn_local(Client::new(world, id).run()));
    }
    jobs.push(tokio::task::spawn_local(clients::outside(world.clone(), dice.fork())));
    nemesis::run(world.clone()).await;
    crasher.abort();
    world.heal();
    let verdict = settle(world, jobs).await;
    world.shared.check(verdict);
}

/// After the faults: all callers are answered, everything arrives, and what is left agrees with itself.
async fn settle(world: &Rc<World>, jobs: Vec<JoinHandle<()>>) -> Verdict {
    let until = Instant::now() + DRAIN_MAX;
    // What is still under way from before may land as late as this.
    let late = Instant::now() + Duration::from_millis(world.shared.profile.network.late_max_ms + 700);
    for job in jobs {
        match tokio::time::timeout_at(until, job).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return fail("harness", crate::panics::last()),
            // After a loss a task may have stopped for good: loudly, which is all that is asked of it.
            Err(_) if world.shared.oracle(|oracle| oracle.has_lost) => return Ok(()),
            Err(_) => return fail("drain", "a caller still waits"),
        }
    }
    if world.shared.oracle(|oracle| oracle.has_lost) {
        return Ok(());
    }
    tokio::time::sleep_until(late).await;
    while let Some(missing) = world.shared.oracle(|oracle| missing(oracle, world.shared.profile.forgetful)) {
        if Instant::now() > until {
            return fail("drain", missing);
        }
        sleep(Duration::from_millis(40)).await;
    }
    world.shared.oracle(|oracle| {
        let coverage = coverage(oracle);
        for (what, count) in coverage {
            *oracle.stats.entry(what).or_default() += count;
        }
        final_effects(oracle)
    })?;
    rebuild(world).await
}

/// What has not come to rest yet.
fn missing(oracle: &Oracle, forgetful: bool) -> Option<String> {
    for (task, reading) in oracle.readings() {
        if let Some((timer, _)) = reading.rows(1).next() {
            return Some(format!("timer {} of {task:?}", timer.escape_ascii()));
        }
        if let Some((answer, _)) = reading.rows(2).find(|_| forgetful) {
            return Some(format!("{} of {task:?} is still remembered", answer.escape_ascii()));
        }
        for (to, sent) in reading.outputs() {
            let there = oracle.topics().find(|(at, _)| **at == to).map_or(0, |(_, topic)| topic.dense(&name(task)));
            if there < sent.len() as u64 {
                return Some(format!("{there} of {} outputs of {task:?} are in {to}", sent.len()));
            }
        }
    }
    for (at, topic) in oracle.topics() {
        let reader = match at.topic.as_str() {
            "first-out" => 1,
            "second-out" | mesh::OUTSIDE => 2,
            _ => continue,
        };
        let position = oracle.reading((reader, at.partition)).position(at.topic.as_str());
        if position < topic.end_of_taken() {
            return Some(format!("{at} is read to {position} of {}", topic.end_of_taken()));
        }
    }
    None
}

/// Everything that happened at the first hop has happened at every hop, once.
fn final_effects(oracle: &Oracle) -> Verdict {
    let once = |service: usize, effect: &[u8]| {
        let row = mesh::row(2, effect);
        let times = all_tasks().filter(|task| task.0 == service).filter_map(|task| oracle.reading(task).row(&row));
        times.map(|value| u64::from(mesh::times(value))).sum::<u64>() == 1
    };
    for (task, reading) in oracle.readings().filter(|(task, _)| task.0 == 0) {
        let commanded = reading.rows(0x82).map(|(key, _)| &key[1..]).filter(|effect| !effect.starts_with(b"t/"));
        for effect in commanded.flat_map(mesh::effects_of) {
            if !(0..mesh::SERVICES.len()).all(|service| once(service, &effect)) {
                return fail("exactly-once", format!("{} of {task:?} did not arrive once", effect.escape_ascii()));
            }
        }
    }
    for (at, topic) in oracle.topics().filter(|(at, _)| at.topic.as_str() == mesh::OUTSIDE) {
        let buried = TopicPartition::new("third-dead-letters", at.partition);
        let buried = oracle
            .topics()
            .find(|(other, _)| **other == buried)
            .map_or(0, |(_, topic)| topic.dense(&name((2, at.partition))));
        let taken =
            (0..topic.end()).filter(|offset| once(2, &mesh::from_outside(at.partition, *offset))).count() as u64;
        if taken + buried != topic.end() {
            return fail("exactly-once", format!("{at}: {} records, {taken} taken, {buried} buried", topic.end()));
        }
    }
    Ok(())
}

/// Stops everything in good order, then rebuilds every store from its changelog alone and compares.
async fn rebuild(world: &Rc<World>) -> Verdict {
    let owners = loop {
        let mut owners = Vec::new();
        for task in all_tasks() {
            owners.push((task, strong_owner(world, task).await?));
        }
        // Meanwhile one that was fenced may have come back.
        if owners.iter().all(|(task, owner)| owner_in_log(world, *task) == format!("p{owner}")) {
            break owners;
        }
    };
    world.end();
    stopped(world).await?;
    world.begin_again();
    let fresh = world.shared.profile.processes;
    // From the end of the chain: a sender that was rebuilt may send again what its store alone knew to be published.
    for (task, owner) in owners.into_iter().rev() {
        world.assign(task, fresh);
        world.start(task, fresh);
        if strong_owner(world, task).await? != fresh {
            return fail("rebuild", format!("{} is owned by another than who rebuilt it", name(task)));
        }
        let digest = |process: usize| world.processes[process].disks.digest(&name(task));
        if digest(owner) != digest(fresh) {
            return fail("rebuild", format!("the store of {} at p{owner} differs from its changelog", name(task)));
        }
        if world.shared.profile.managed {
            stand_by(world, task, fresh).await?;
        }
    }
    world.end();
    stopped(world).await
}

/// A standby that has read as far as the owner holds the same.
async fn stand_by(world: &Rc<World>, task: TaskKey, owner: usize) -> Verdict {
    let process = world.dice(|dice| dice.index(owner));
    world.start_as(task, process, Role::Standby);
    let digest = |process: usize| world.processes[process].disks.digest(&name(task));
    let until = Instant::now() + DRAIN_MAX;
    while Instant::now() < until {
        let lives = world.life_at(task, process).zip(world.life_at(task, owner));
        let both = lives.map(|(standby, owner)| (standby.status(), owner.status()));
        if both.is_some_and(|(standby, owner)| standby.is_warm() && standby.applied_offset == owner.applied_offset) {
            if digest(process) == digest(owner) {
                return Ok(());
            }
            return fail("standby", format!("{} at p{process} holds something else than its owner", name(task)));
        }
        sleep(Duration::from_millis(20)).await;
    }
    fail("standby", format!("{} at p{process} does not come to where its owner is", name(task)))
}

async fn stopped(world: &World) -> Verdict {
    let until = Instant::now() + DRAIN_MAX;
    while !world.is_empty() {
        if Instant::now() > until {
            return fail("drain", "a task does not stop");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The process that can prove that it owns the task.
async fn strong_owner(world: &Rc<World>, task: TaskKey) -> Result<usize, Failure> {
    let until = Instant::now() + DRAIN_MAX;
    while Instant::now() < until {
        for life in world.lives_of(task) {
            let read = life.handle.read(Consistency::Strong, |_| ());
            if let Ok(Ok(_)) = timeout(Duration::from_secs(5), read).await {
                let owner = owner_in_log(world, task);
                if owner != format!("p{}", life.process) {
                    let detail = format!("p{} proves that it owns {}, which is {owner}'s", life.process, name(task));
                    return Err(Failure { oracle: "strong-read", detail });
                }
                return Ok(life.process);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(Failure { oracle: "drain", detail: format!("nobody serves {}", name(task)) })
}

fn owner_in_log(world: &World, task: TaskKey) -> String {
    world.shared.oracle(|oracle| oracle.reading(task).owner().to_owned())
}

fn coverage(oracle: &Oracle) -> Vec<(&'static str, u64)> {
    let sum = |of: fn(&crate::oracle::Reading) -> u64| oracle.readings().map(|(_, reading)| of(reading)).sum();
    vec![
        ("void entries", sum(|reading| reading.void)),
        ("claims", sum(|reading| reading.claims)),
        ("parts of split commits", sum(|reading| reading.split)),
        ("outputs sent again", oracle.topics().map(|(_, topic)| topic.repeated()).sum()),
    ]
}
