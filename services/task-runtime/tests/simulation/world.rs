//! Processes that run tasks, and who is meant to run which. Two processes may run one task at the same time: that the log
//! decides between them is what is tested.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, SharedLog};
use task_runtime::{Assignment, Clock, Handle, Role, Roster, Start, Storage, TaskError, TaskStatus, simulated, topics};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::life::{End, Grip, Life, SkewedClock};
use crate::mesh;
use crate::network::Connection;
use crate::oracle::{TaskKey, fail};
use crate::profile::{Loss, PARTITIONS};
use crate::shared::Shared;
use crate::stores::ProcessDisks;

pub(crate) struct Process {
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<SkewedClock>,
    pub(crate) disks: Arc<ProcessDisks>,
    pub(crate) up: Cell<bool>,
    frozen: Cell<bool>,
}

/// A life that has not ended yet.
pub(crate) struct Running {
    pub(crate) task: TaskKey,
    pub(crate) process: usize,
    pub(crate) handle: Handle,
    roster: Roster,
    shutdown: CancellationToken,
    grip: Arc<Grip>,
    id: u64,
}

pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) processes: Vec<Process>,
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

pub(crate) fn all_tasks() -> impl Iterator<Item = TaskKey> {
    (0..mesh::SERVICES.len()).flat_map(|service| (0..PARTITIONS).map(move |partition| (service, partition)))
}

pub(crate) fn name(task: TaskKey) -> String {
    format!("{}/{}", mesh::SERVICES[task.0], task.1)
}

impl Running {
    fn assign(&self, role: Role) {
        assert!(self.roster.assign(mesh::SERVICES[self.task.0], self.task.1, role), "its roster knows it");
    }

    pub(crate) fn status(&self) -> TaskStatus {
        self.roster.status().swap_remove(0)
    }
}

impl World {
    /// Processes with nothing running yet, and all topics. There is one more process than the profile says: it never fails
    /// and is used at the end.
    pub(crate) async fn new(shared: Arc<Shared>, mut dice: Dice) -> Rc<Self> {
        for spec in topics(&mesh::definitions(), PARTITIONS) {
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
        let assigned = all_tasks().map(|task| (task, dice.index(shared.profile.processes))).collect();
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

    pub(crate) fn dice<R>(&self, draw: impl FnOnce(&mut Dice) -> R) -> R {
        draw(&mut self.dice.borrow_mut())
    }

    pub(crate) fn assigned(&self, task: TaskKey) -> usize {
        let assigned = self.assigned.borrow();
        assigned.iter().find(|(other, _)| *other == task).expect("all tasks are assigned").1
    }

    pub(crate) fn assign(&self, task: TaskKey, process: usize) {
        for (other, assigned) in self.assigned.borrow_mut().iter_mut() {
            if *other == task {
                *assigned = process;
            }
        }
    }

    pub(crate) fn tasks_assigned_to(&self, process: usize) -> Vec<TaskKey> {
        self.assigned.borrow().iter().filter(|(_, at)| *at == process).map(|(task, _)| *task).collect()
    }

    /// Lives of a task that have not ended, oldest first.
    pub(crate) fn lives_of(&self, task: TaskKey) -> Vec<Rc<Running>> {
        self.lives.borrow().iter().filter(|life| life.task == task).cloned().collect()
    }

    /// The life that is meant to own the task.
    pub(crate) fn owner_of(&self, task: TaskKey) -> Option<Rc<Running>> {
        let process = self.assigned(task);
        self.lives.borrow().iter().rev().find(|life| life.task == task && life.process == process).cloned()
    }

    pub(crate) fn has_given_up(&self, task: TaskKey) -> bool {
        self.given_up.borrow().contains(&task)
    }

    /// Has a task claimed at a process, unless the process is down.
    pub(crate) fn start(self: &Rc<Self>, task: TaskKey, process: usize) {
        self.start_as(task, process, Role::Active);
    }

    /// Gives a task a role at a process, unless the process is down. Where tasks are not managed there is one role, and a life
    /// that is there already is left alone.
    pub(crate) fn start_as(self: &Rc<Self>, task: TaskKey, process: usize, role: Role) {
        let at = &self.processes[process];
        let managed = self.shared.profile.managed;
        if !at.up.get() || self.ending.get() || self.has_given_up(task) {
            return;
        }
        if let Some(life) = self.life_at(task, process) {
            if managed {
                life.assign(role);
            }
            return;
        }
        let start = Start {
            config: self.shared.profile.config.clone(),
            clock: at.clock.clone(),
            instance: format!("p{process}"),
            assignment: if managed { Assignment::Managed(role) } else { Assignment::Alone },
            ..Start::new(at.log.clone(), Storage::Simulated(at.disks.clone()), PARTITIONS)
        };
        let shutdown = CancellationToken::new();
        let mut numbers = self.dice(Dice::fork);
        let random = Box::new(move || numbers.next_u64());
        let (handle, roster, future) = simulated(&start, &mesh::definition(task.0), task.1, shutdown.clone(), random);
        let (life, grip) = Life::new(future);
        if at.frozen.get() {
            grip.freeze();
        }
        let id = self.next_life.replace(self.next_life.get() + 1);
        self.shared.note(format_args!("{} starts at p{process} as {id}, {}", name(task), role.name()));
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
                    life.assign(Role::Active);
                }
            }
        }
    }

    /// Some tasks that the process does not own are kept warm there.
    fn keep_warm(self: &Rc<Self>, process: usize) {
        if !self.shared.profile.managed {
            return;
        }
        for task in all_tasks().filter(|task| self.assigned(*task) != process) {
            if self.dice(|dice| dice.permille(500)) {
                self.shared.count("standby");
                self.start_as(task, process, Role::Standby);
            }
        }
    }

    pub(crate) fn life_at(&self, task: TaskKey, process: usize) -> Option<Rc<Running>> {
        self.lives.borrow().iter().find(|life| life.task == task && life.process == process).cloned()
    }

    async fn ended(self: &Rc<Self>, life: &Running, end: Result<End, tokio::task::JoinError>) {
        let Running { task, process, id, .. } = *life;
        self.shared.note(format_args!("{} at p{process} ends: {end:?}", name(task)));
        let pause = match end {
            Err(_) => {
                let panic = crate::panics::last();
                return self.shared.check(fail("panic", format!("{} life {id}: {panic}", name(task))));
            }
            Ok(End::Spins) => return self.shared.check(fail("spin", format!("{} never waits", name(task)))),
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
                self.processes[process].disks.wipe_task(&name(task));
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
                self.processes[process].disks.wipe_task(&name(task));
                self.dice(|dice| dice.millis(50, 300))
            }
            Ok(End::Of(Err(error))) => {
                let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let text: Vec<_> = chain.map(ToString::to_string).collect();
                return self.shared.check(fail("stop", format!("{} stopped: {}", name(task), text.join(": "))));
            }
        };
        sleep(pause).await;
        if self.assigned(task) == process {
            self.start(task, process);
        }
    }

    /// All tasks of the process stop where they are; what its disks had not synced is partly gone. It comes back later.
    pub(crate) fn crash(self: &Rc<Self>, process: usize) {
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

    pub(crate) fn boot(self: &Rc<Self>, process: usize) {
        self.processes[process].up.set(true);
        for task in self.tasks_assigned_to(process) {
            self.start(task, process);
        }
        if process < self.shared.profile.processes {
            self.keep_warm(process);
        }
    }

    /// Nothing in the process moves until it is thawed.
    pub(crate) fn freeze(self: &Rc<Self>, process: usize, time: Duration) {
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

    pub(crate) fn thaw(&self, process: usize) {
        if !self.processes[process].frozen.replace(false) {
            return;
        }
        self.shared.note(format_args!("p{process} thaws"));
        for life in self.lives.borrow().iter().filter(|life| life.process == process) {
            life.grip.thaw();
        }
    }

    /// Another process claims the task while the first may still run it.
    pub(crate) fn rival(self: &Rc<Self>, task: TaskKey, process: usize) {
        self.shared.count("rival");
        self.shared.note(format_args!("{} is assigned to p{process}", name(task)));
        self.assign(task, process);
        self.start(task, process);
    }

    /// The owner of a task is asked to stop.
    pub(crate) fn stop(&self, life: &Running) {
        self.shared.note(format_args!("{} at p{} is asked to stop", name(life.task), life.process));
        life.shutdown.cancel();
    }

    /// The owner of a task is asked to give it up: its process lets it go on as a standby or not at all, or ends it.
    pub(crate) fn release(&self, life: &Running) {
        if !self.shared.profile.managed || self.dice(|dice| dice.permille(300)) {
            return self.stop(life);
        }
        let role = self.dice(|dice| dice.pick(&[Role::Standby, Role::Idle]));
        self.shared.note(format_args!("{} at p{} is made {}", name(life.task), life.process, role.name()));
        life.assign(role);
    }

    pub(crate) fn kill(&self, life: &Running) {
        life.grip.kill();
    }

    /// Everything is up, thawed, and has an owner.
    pub(crate) fn heal(self: &Rc<Self>) {
        self.shared.note(format_args!("heal"));
        self.shared.heal();
        for process in 0..self.processes.len() {
            self.thaw(process);
            self.boot(process);
        }
    }

    /// No more starts.
    pub(crate) fn end(&self) {
        self.ending.set(true);
        for life in self.lives.borrow().iter() {
            life.shutdown.cancel();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lives.borrow().is_empty()
    }

    /// The next phase may start tasks again.
    pub(crate) fn begin_again(&self) {
        self.ending.set(false);
    }

    pub(crate) fn loses(&self) -> bool {
        self.shared.profile.loss != Loss::None
    }

    pub(crate) fn clock_of(&self, process: usize) -> i64 {
        self.processes[process].clock.now_ms()
    }
}
