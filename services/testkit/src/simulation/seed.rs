//! One seed from begin to end: faults, healing, draining, and the last questions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use task_runtime::{Consistency, Role};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep, timeout};

use super::oracle::{Failure, Oracle, Reading, Stats, Verdict, fail};
use super::shared::Shared;
use super::world::World;
use super::{Dice, Scenario, TaskKey, nemesis, panics};

/// Simulated time within which everything must have come to rest once nothing goes wrong any more.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// What became of a seed.
pub(super) struct Outcome {
    pub(super) failure: Option<Failure>,
    /// Hash of the trace and number of events in it.
    pub(super) trace: (u64, u64),
    pub(super) stats: Stats,
    /// Simulated time.
    pub(super) lasted: Duration,
}

/// Runs one seed. The same seed gives the same run, to the byte.
pub(super) fn run<S: Scenario>(seed: u64, bug: Option<S::Bug>, print: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("an event loop without I/O needs nothing of the system");
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async move {
        let mut dice = Dice::new(seed);
        let plan = S::draw(&mut dice, bug);
        if print {
            eprintln!("{:#?}", plan.profile);
        }
        let begin = Instant::now();
        let shared = Arc::new(Shared::new(plan, dice.fork(), print));
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

async fn play<S: Scenario>(world: &Rc<World<S>>, dice: &mut Dice) {
    for process in 0..world.shared.profile.processes {
        world.boot(process);
    }
    let crasher = tokio::task::spawn_local(nemesis::crash_on_request(world.clone()));
    let jobs = S::callers(world, dice);
    nemesis::run(world.clone()).await;
    crasher.abort();
    world.heal();
    let verdict = settle(world, jobs).await;
    world.shared.check(verdict);
}

/// After the faults: all callers are answered, everything arrives, and what is left agrees with itself.
async fn settle<S: Scenario>(world: &Rc<World<S>>, jobs: Vec<JoinHandle<()>>) -> Verdict {
    let until = Instant::now() + DRAIN_MAX;
    // What is still under way from before may land as late as this.
    let late = Instant::now() + Duration::from_millis(world.shared.profile.network.late_max_ms + 700);
    for job in jobs {
        match tokio::time::timeout_at(until, job).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return fail("harness", panics::last()),
            // After a loss a task may have stopped for good: loudly, which is all that is asked of it.
            Err(_) if world.shared.oracle(|oracle| oracle.has_lost) => return Ok(()),
            Err(_) => return fail("drain", "a caller still waits"),
        }
    }
    if world.shared.oracle(|oracle| oracle.has_lost) {
        return Ok(());
    }
    tokio::time::sleep_until(late).await;
    while let Some(missing) = world.shared.oracle(|oracle| missing(oracle, world.now_ms())) {
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
        S::settled(oracle)
    })?;
    rebuild(world).await
}

/// What has not come to rest yet.
fn missing<S: Scenario>(oracle: &Oracle<S>, now_ms: i64) -> Option<String> {
    S::unfinished(oracle, now_ms).or_else(|| oracle.unpublished()).or_else(|| oracle.unread())
}

/// Stops everything in good order, then rebuilds every store from its changelog alone and compares.
async fn rebuild<S: Scenario>(world: &Rc<World<S>>) -> Verdict {
    let owners = loop {
        let mut owners = Vec::new();
        for task in world.shared.topology.tasks() {
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
    // The last service first: a sender that was rebuilt may send again what its store alone knew to be published.
    for (task, owner) in owners.into_iter().rev() {
        match S::REBUILT_AS {
            Role::Active => claim_afresh(world, task, owner).await?,
            Role::Standby | Role::Idle => stand_by(world, task, owner, fresh).await?,
        }
    }
    world.end();
    stopped(world).await?;
    world.begin_again();
    i10_damage_is_found_and_rebuilt(world, fresh).await?;
    world.end();
    stopped(world).await
}

/// Disks go bad once more while nobody looks. What stands on a damaged one, since now or earlier, must not be taken for the
/// state: a standby there comes to hold what was rebuilt.
async fn i10_damage_is_found_and_rebuilt<S: Scenario>(world: &Rc<World<S>>, rebuilt: usize) -> Verdict {
    for task in world.shared.topology.tasks() {
        world.assign_to_nobody(task);
        let process = world.dice(|dice| dice.index(rebuilt));
        if world.dice(|dice| dice.permille(300)) {
            world.damage(task, process);
        }
    }
    for process in 0..rebuilt {
        for name in world.processes[process].disks.damaged() {
            let task = world.shared.topology.task(&name).expect("stores are named like their tasks");
            // An owner that stopped may have told in its last commit what it knew to be published.
            stand_by(world, task, rebuilt, rebuilt).await?;
            let verdict = stand_by(world, task, rebuilt, process).await;
            verdict.map_err(|failure| Failure { oracle: "I10 damage", ..failure })?;
            world.shared.count("damaged store compared with a rebuilt one");
        }
    }
    Ok(())
}

/// A process without a store claims the task, and holds what its last owner held.
async fn claim_afresh<S: Scenario>(world: &Rc<World<S>>, task: TaskKey, owner: usize) -> Verdict {
    let fresh = world.shared.profile.processes;
    let last_commit = || world.shared.oracle(|oracle| oracle.reading(task).last_commit());
    let before = last_commit();
    world.assign(task, fresh);
    world.start(task, fresh);
    if strong_owner(world, task).await? != fresh {
        return fail("I9 rebuild", format!("{} is owned by another than who rebuilt it", world.name(task)));
    }
    // With a snapshot that is due it may have told already, in a commit of its own, what it knows to be published.
    let has_committed = last_commit() != before;
    let sum = |process: usize| {
        let sums = world.processes[process].disks.sums(&world.name(task))?;
        Some(if has_committed { sums.service } else { sums.all })
    };
    // What was found to be damaged a moment ago is not there to be compared.
    if sum(owner).is_some_and(|of_owner| sum(fresh).unwrap_or(0) != of_owner) {
        return fail("I9 rebuild", format!("the store of {} at p{owner} differs from its changelog", world.name(task)));
    }
    if world.shared.profile.managed {
        let process = world.dice(|dice| dice.index(fresh));
        stand_by(world, task, fresh, process).await?;
    }
    Ok(())
}

/// A standby at `process` that has read as far as the owner, or the one who was it last, holds the same.
async fn stand_by<S: Scenario>(world: &Rc<World<S>>, task: TaskKey, owner: usize, process: usize) -> Verdict {
    world.start_as(task, process, Role::Standby);
    let sum = |process: usize| world.processes[process].disks.sums(&world.name(task)).map(|sums| sums.all);
    let until = Instant::now() + DRAIN_MAX;
    while Instant::now() < until {
        let standby = world.life_at(task, process).map(|life| life.status());
        let end = match world.life_at(task, owner) {
            Some(life) => life.status().applied_offset,
            None => world.shared.oracle(|oracle| oracle.reading(task).end()),
        };
        if standby.is_some_and(|standby| standby.is_warm() && standby.applied_offset == end) {
            if sum(owner).is_none_or(|of_owner| sum(process).unwrap_or(0) == of_owner) {
                return Ok(());
            }
            return fail(
                "I9 standby",
                format!("{} at p{process} holds something else than its owner", world.name(task)),
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    fail("I9 standby", format!("{} at p{process} does not come to where its owner is", world.name(task)))
}

async fn stopped<S: Scenario>(world: &World<S>) -> Verdict {
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
async fn strong_owner<S: Scenario>(world: &Rc<World<S>>, task: TaskKey) -> Result<usize, Failure> {
    let until = Instant::now() + DRAIN_MAX;
    while Instant::now() < until {
        for life in world.lives_of(task) {
            let (reader, before) = (format!("p{}", life.process), owner_in_log(world, task));
            let read = life.handle.read(Consistency::Strong, |_| ());
            if let Ok(Ok(_)) = timeout(Duration::from_secs(5), read).await {
                let owner = owner_in_log(world, task);
                if owner == reader {
                    return Ok(life.process);
                }
                // One that was deposed while it read has told the truth.
                if before != reader {
                    let detail = format!("{reader} proves that it owns {}, which is {owner}'s", world.name(task));
                    return Err(Failure { oracle: "strong-read", detail });
                }
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(Failure { oracle: "drain", detail: format!("nobody serves {}", world.name(task)) })
}

fn owner_in_log<S: Scenario>(world: &World<S>, task: TaskKey) -> String {
    world.shared.oracle(|oracle| oracle.reading(task).owner().to_owned())
}

fn coverage<S: Scenario>(oracle: &Oracle<S>) -> Vec<(&'static str, u64)> {
    let sum = |of: fn(&Reading) -> u64| oracle.readings().map(|(_, reading)| of(reading)).sum();
    vec![
        ("void entries", sum(|reading| reading.void)),
        ("claims", sum(|reading| reading.claims)),
        ("parts of split commits", sum(|reading| reading.split)),
        ("outputs sent again", oracle.topics().map(|(_, topic)| topic.repeated()).sum()),
    ]
}
