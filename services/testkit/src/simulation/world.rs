//! Processes that run tasks, and who is meant to run which. Two processes may run one task at the same time: that the log
//! decides between them is what is tested.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, SharedLog};
use futures::future::LocalBoxFuture;
use task_runtime::{Assignment, Clock, Handle, Role, Roster, Start, Storage, TaskError, TaskStatus, simulated, topics};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::life::{End, Grip, Life, SkewedClock};
use super::network::Connection;
use super::oracle::fail;
use super::profile::Loss;
use super::shared::Shared;
use super::stores::ProcessDisks;
use super::{Dice, Scenario, TaskKey, panics};

pub(super) struct Process<S> {
    pub(super) log: SharedLog,
    pub(super) clock: Arc<SkewedClock>,
    pub(super) disks: Arc<ProcessDisks<S>>,
    pub(super) up: Cell<bool>,
    frozen: Cell<bool>,
}

/// A life that has not ended yet.
pub struct Running {
    /// Its task.
    pub task: TaskKey,
    /// Index of the process that it is in.
    pub process: usize,
    /// The way into it.
    pub handle: Handle,
    /// No two lives have the same.
    pub id: u64,
    roster: Roster,
    shutdown: CancellationToken,
    grip: Arc<Grip>,
}

/// Processes, and the tasks that they run.
pub struct World<S> {
    /// What all parts of the run share.
    pub shared: Arc<Shared<S>>,
    /// The processes; the last one never fails, and runs nothing before the end.
    pub(super) processes: Vec<Process<S>>,
    /// Who is meant to run a task.
    assigned: RefCell<Vec<(TaskKey, usize)>>,
    lives: RefCell<Vec<Rc<Running>>>,
    dice: RefCell<Dice>,
    next_life: Cell<u64>,
    /// Tasks that have stopped loudly, so often that nobody starts them again.
    given_up: RefCell<Vec<TaskKey>>,
    stops: Cell<u64>,
    ending: Cell<bool>,
}

/// A task, with what ends where it does.
async fn beside<E>(task: impl Future<Output = E>, other: Option<LocalBoxFuture<'static, Infallible>>) -> E {
    let Some(other) = other else { return task.await };
    tokio::select! {
        biased;
        end = task => end,
        never = other => match never {},
    }
}

impl Running {
    fn assign(&self, service: &str, role: Role) {
        assert!(self.roster.assign(service, self.task.1, role), "its roster knows it");
    }

    pub(super) fn status(&self) -> TaskStatus {
        self.roster.status().swap_remove(0)
    }
}

impl<S: Scenario> World<S> {
    /// Processes with nothing running yet, and all topics. There is one more process than the profile says: it never fails
    /// and is used at the end.
    pub(super) async fn new(shared: Arc<Shared<S>>, mut dice: Dice) -> Rc<Self> {
        for spec in topics(&shared.topology.definitions, shared.topology.partitions) {
            shared.log.ensure_topic(&spec).await.expect("a fresh log");
        }
        let skew = shared.profile.skew_max_ms;
        let processes = (0..=shared.profile.processes).map(|index| {
            let skew_ms = i64::try_from(dice.below(2 * skew + 1)).expect("small") - i64::try_from(skew).expect("small");
            Process {
                log: Arc::new(Connection::new(shared.clone(), index)),
                clock: Arc::new(SkewedClock::new(skew_ms)),
                disks: Arc::new(ProcessDisks::new(shared.clone())),
                up: Cell::new(true),
                frozen: Cell::new(false),
            }
        });
        let processes: Vec<_> = processes.collect();
        let assigned = shared.topology.tasks().map(|task| (task, dice.index(shared.profile.processes))).collect();
        Rc::new(Self {
            shared,
            processes,
            assigned: RefCell::new(assigned),
            lives: RefCell::default(),
            dice: RefCell::new(dice),
            next_life: Cell::new(0),
            given_up: RefCell::default(),
            stops: Cell::new(0),
            ending: Cell::new(false),
        })
    }

    /// Name of a task: its service and partition.
    pub fn name(&self, task: TaskKey) -> String {
        self.shared.topology.name(task)
    }

    fn service(&self, task: TaskKey) -> &'static str {
        self.shared.topology.definitions[task.0].service()
    }

    /// Draws from the dice of the run.
    pub fn dice<R>(&self, draw: impl FnOnce(&mut Dice) -> R) -> R {
        draw(&mut self.dice.borrow_mut())
    }

    pub(super) fn assigned(&self, task: TaskKey) -> usize {
        let assigned = self.assigned.borrow();
        assigned.iter().find(|(other, _)| *other == task).expect("all tasks are assigned").1
    }

    pub(super) fn assign(&self, task: TaskKey, process: usize) {
        for (other, assigned) in self.assigned.borrow_mut().iter_mut() {
            if *other == task {
                *assigned = process;
            }
        }
    }

    /// No process starts it again by itself.
    pub(super) fn assign_to_nobody(&self, task: TaskKey) {
        self.assign(task, self.processes.len());
    }

    pub(super) fn tasks_assigned_to(&self, process: usize) -> Vec<TaskKey> {
        self.assigned.borrow().iter().filter(|(_, at)| *at == process).map(|(task, _)| *task).collect()
    }

    /// Lives of a task that have not ended, oldest first.
    pub fn lives_of(&self, task: TaskKey) -> Vec<Rc<Running>> {
        self.lives.borrow().iter().filter(|life| life.task == task).cloned().collect()
    }

    /// The life that is meant to own the task.
    pub fn owner_of(&self, task: TaskKey) -> Option<Rc<Running>> {
        let process = self.assigned(task);
        self.lives.borrow().iter().rev().find(|life| life.task == task && life.process == process).cloned()
    }

    /// Whether the task has stopped loudly so often that nobody serves it any more.
    pub fn has_given_up(&self, task: TaskKey) -> bool {
        self.given_up.borrow().contains(&task)
    }

    /// Has a task claimed at a process, unless the process is down.
    pub(super) fn start(self: &Rc<Self>, task: TaskKey, process: usize) {
        self.start_as(task, process, Role::Active);
    }

    /// Gives a task a role at a process, unless the process is down. Where tasks are not managed there is one role, and a life
    /// that is there already is left alone.
    pub(super) fn start_as(self: &Rc<Self>, task: TaskKey, process: usize, role: Role) {
        let at = &self.processes[process];
        let managed = self.shared.profile.managed || role != Role::Active;
        if !at.up.get() || self.ending.get() || self.has_given_up(task) {
            return;
        }
        if let Some(life) = self.life_at(task, process) {
            if managed {
                life.assign(self.service(life.task), role);
            }
            return;
        }
        let start = Start {
            config: self.shared.profile.config.clone(),
            clock: at.clock.clone(),
            instance: format!("p{process}"),
            assignment: if managed { Assignment::Managed(role) } else { Assignment::Alone },
            ..Start::new(at.log.clone(), Storage::Simulated(at.disks.clone()), self.shared.topology.partitions)
        };
        let shutdown = CancellationToken::new();
        let mut numbers = self.dice(Dice::fork);
        let random = Box::new(move || numbers.next_u64());
        let (handle, roster, future) =
            simulated(&start, &self.shared.topology.definitions[task.0], task.1, shutdown.clone(), random);
        let (life, grip) = Life::new(beside(future, S::beside(self, task, process, &handle)));
        if at.frozen.get() {
            grip.freeze();
        }
        let id = self.next_life.replace(self.next_life.get() + 1);
        self.shared.note(format_args!("{} starts at p{process} as {id}, {}", self.name(task), role.name()));
        let running = Rc::new(Running { task, process, handle, roster, shutdown, grip, id });
        self.lives.borrow_mut().push(running.clone());
        if managed {
            tokio::task::spawn_local(self.clone().reappoint(running.clone()));
        }
        let world = self.clone();
        let job = tokio::task::spawn_local(life);
        tokio::task::spawn_local(async move {
            let end = job.await;
            world.lives.borrow_mut().retain(|life| life.id != running.id);
            world.ended(&running, end).await;
        });
    }

    /// As membership does: whoever is meant to own a task and finds itself a standby is told again, after a while.
    async fn reappoint(self: Rc<Self>, life: Rc<Running>) {
        let mut changes = life.roster.watch();
        while changes.changed().await.is_ok() && self.lives.borrow().iter().any(|other| other.id == life.id) {
            let is_meant = || self.assigned(life.task) == life.process && life.status().is_warm();
            if is_meant() {
                self.shared.count("stands by and should own");
                let pause = self.dice(|dice| dice.millis(30, 400));
                sleep(pause).await;
                if is_meant() && !self.ending.get() {
                    life.assign(self.service(life.task), Role::Active);
                }
            }
        }
    }

    /// Some tasks that the process does not own are kept warm there.
    fn keep_warm(self: &Rc<Self>, process: usize) {
        if !self.shared.profile.managed {
            return;
        }
        for task in self.shared.topology.tasks().filter(|task| self.assigned(*task) != process) {
            if self.dice(|dice| dice.permille(500)) {
                self.shared.count("standby");
                self.start_as(task, process, Role::Standby);
            }
        }
    }

    pub(super) fn life_at(&self, task: TaskKey, process: usize) -> Option<Rc<Running>> {
        self.lives.borrow().iter().find(|life| life.task == task && life.process == process).cloned()
    }

    async fn ended(self: &Rc<Self>, life: &Running, end: Result<End, tokio::task::JoinError>) {
        let Running { task, process, id, .. } = *life;
        self.shared.note(format_args!("{} at p{process} ends: {end:?}", self.name(task)));
        let pause = match end {
            Err(_) => {
                let panic = panics::last();
                return self.shared.check(fail("panic", format!("{} life {id}: {panic}", self.name(task))));
            }
            Ok(End::Spins) => return self.shared.check(fail("spin", format!("{} never waits", self.name(task)))),
            Ok(End::Killed) => return,
            // Asked to stop; meanwhile it may have been given back to this process.
            Ok(End::Of(Ok(()))) => self.dice(|dice| dice.millis(1, 50)),
            Ok(End::Of(Err(TaskError::Fenced { .. }))) => {
                self.shared.count("fenced");
                // As the runtime does, but for the number of tries: the network is given time, not a thousand claims.
                self.dice(|dice| dice.millis(30, 400))
            }
            Ok(End::Of(Err(TaskError::Corrupted(_)))) => {
                self.shared.count("store rebuilt as damaged");
                self.processes[process].disks.wipe_task(&self.name(task));
                self.dice(|dice| dice.millis(1, 50))
            }
            Ok(End::Of(Err(error))) if self.shared.oracle(|oracle| oracle.has_lost) => {
                self.shared.count("stopped loudly after a loss");
                self.shared.note(format_args!("operator: {error}"));
                self.stops.set(self.stops.get() + 1);
                if self.stops.get() > 6 {
                    self.given_up.borrow_mut().push(task);
                    return;
                }
                // What a person might do first: try again with a fresh store.
                self.processes[process].disks.wipe_task(&self.name(task));
                self.dice(|dice| dice.millis(50, 300))
            }
            Ok(End::Of(Err(error))) => {
                let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let text: Vec<_> = chain.map(ToString::to_string).collect();
                return self.shared.check(fail("stop", format!("{} stopped: {}", self.name(task), text.join(": "))));
            }
        };
        sleep(pause).await;
        if self.assigned(task) == process {
            self.start(task, process);
        }
    }

    /// All tasks of the process stop where they are; what its disks had not synced is partly gone. It comes back later.
    pub(super) fn crash(self: &Rc<Self>, process: usize) {
        let at = &self.processes[process];
        if !at.up.replace(false) {
            return;
        }
        at.frozen.set(false);
        self.shared.count("crash");
        self.shared.note(format_args!("p{process} crashes"));
        for life in self.lives.borrow().iter().filter(|life| life.process == process) {
            life.grip.kill();
        }
        self.dice(|dice| at.disks.crash(dice));
        let back = self.dice(|dice| if dice.permille(500) { dice.millis(1, 40) } else { dice.millis(40, 1_500) });
        let world = self.clone();
        tokio::task::spawn_local(async move {
            sleep(back).await;
            world.boot(process);
        });
    }

    pub(super) fn boot(self: &Rc<Self>, process: usize) {
        self.processes[process].up.set(true);
        for task in self.tasks_assigned_to(process) {
            self.start(task, process);
        }
        if process < self.shared.profile.processes {
            self.keep_warm(process);
        }
    }

    /// Damages the store that a process has of a task. Returns whether it has one.
    pub(super) fn damage(&self, task: TaskKey, process: usize) -> bool {
        let is_open = self.processes[process].up.get() && self.life_at(task, process).is_some();
        // A store that is not ahead of this log, or the log would seem to have lost something.
        let end = |task| self.shared.oracle(|oracle| oracle.reading(task).end());
        let tasks = self.shared.topology.tasks();
        let donors: Vec<_> = tasks.filter(|other| *other != task && end(*other) <= end(task)).collect();
        let disks = &self.processes[process].disks;
        self.dice(|dice| {
            let donor = donors.get(dice.index(donors.len())).and_then(|donor| disks.copy(&self.name(*donor)));
            disks.damage(&self.name(task), is_open, donor.as_ref(), dice)
        })
    }

    /// Nothing in the process moves until it is thawed.
    pub(super) fn freeze(self: &Rc<Self>, process: usize, time: Duration) {
        if self.processes[process].frozen.replace(true) {
            return;
        }
        self.shared.count("freeze");
        self.shared.note(format_args!("p{process} freezes for {time:?}"));
        for life in self.lives.borrow().iter().filter(|life| life.process == process) {
            life.grip.freeze();
        }
        let world = self.clone();
        tokio::task::spawn_local(async move {
            sleep(time).await;
            world.thaw(process);
        });
    }

    pub(super) fn thaw(&self, process: usize) {
        if !self.processes[process].frozen.replace(false) {
            return;
        }
        self.shared.note(format_args!("p{process} thaws"));
        for life in self.lives.borrow().iter().filter(|life| life.process == process) {
            life.grip.thaw();
        }
    }

    /// Another process claims the task while the first may still run it.
    pub(super) fn rival(self: &Rc<Self>, task: TaskKey, process: usize) {
        self.shared.count("rival");
        self.shared.note(format_args!("{} is assigned to p{process}", self.name(task)));
        self.assign(task, process);
        self.start(task, process);
    }

    /// The owner of a task is asked to stop.
    pub(super) fn stop(&self, life: &Running) {
        self.shared.note(format_args!("{} at p{} is asked to stop", self.name(life.task), life.process));
        life.shutdown.cancel();
    }

    /// The owner of a task is asked to give it up: its process lets it go on as a standby or not at all, or ends it.
    pub(super) fn release(&self, life: &Running) {
        if !self.shared.profile.managed || self.dice(|dice| dice.permille(300)) {
            return self.stop(life);
        }
        let role = self.dice(|dice| dice.pick(&[Role::Standby, Role::Idle]));
        self.shared.note(format_args!("{} at p{} is made {}", self.name(life.task), life.process, role.name()));
        life.assign(self.service(life.task), role);
    }

    pub(super) fn kill(&self, life: &Running) {
        life.grip.kill();
    }

    /// Everything is up, thawed, and has an owner.
    pub(super) fn heal(self: &Rc<Self>) {
        self.shared.note(format_args!("heal"));
        self.shared.heal();
        for process in 0..self.processes.len() {
            self.thaw(process);
            self.boot(process);
        }
    }

    /// No more starts.
    pub(super) fn end(&self) {
        self.ending.set(true);
        for life in self.lives.borrow().iter() {
            life.shutdown.cancel();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lives.borrow().is_empty()
    }

    /// The next phase may start tasks again.
    pub(super) fn begin_again(&self) {
        self.ending.set(false);
    }

    pub(super) fn loses(&self) -> bool {
        self.shared.profile.loss != Loss::None
    }

    /// The clock of a process.
    pub fn clock(&self, process: usize) -> Arc<dyn Clock> {
        self.processes[process].clock.clone()
    }

    /// Time on the clock of a process, in milliseconds.
    pub fn clock_of(&self, process: usize) -> i64 {
        self.processes[process].clock.now_ms()
    }

    /// Time on the slowest of all clocks, in milliseconds: what is due on it is due everywhere.
    pub(super) fn now_ms(&self) -> i64 {
        (0..self.processes.len()).map(|process| self.clock_of(process)).min().unwrap_or(0)
    }

    /// The log as somebody sees it who is no part of the mesh: what crashes tasks does not crash him.
    pub fn outside_log(&self) -> SharedLog {
        self.processes[self.shared.profile.processes].log.clone()
    }

    /// Usually the life that is meant to own the task; now and then one that may not know yet that it does not.
    pub async fn pick(&self, task: TaskKey, dice: &mut Dice) -> Rc<Running> {
        loop {
            let lives = self.lives_of(task);
            let owner = self.owner_of(task);
            let other = !lives.is_empty() && dice.permille(250);
            match owner {
                _ if other => return lives[dice.index(lives.len())].clone(),
                Some(owner) => return owner,
                None if !lives.is_empty() => return lives[lives.len() - 1].clone(),
                None => sleep(Duration::from_millis(15)).await,
            }
            if self.has_given_up(task) {
                // Nobody serves it any more: a call is never answered.
                std::future::pending::<()>().await;
            }
        }
    }
}
