//! Tasks on threads: each processing thread runs several tasks on an event loop of its own, for stores block and handlers
//! compute, and neither belongs on the threads that serve gRPC.

use std::sync::Arc;
use std::time::Duration;

use event_log::SharedLog;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::batch::Setting;
use crate::life::{self, Seat};
use crate::restore::{self, Plan};
use crate::role::Order;
use crate::roster::{Entry, Roster};
use crate::status::{Board, Changes};
use crate::{
    Assignment, Clock, Config, Definition, Handle, NoTracer, Role, SharedTracer, Storage, TaskState, TaskStatus, Tasks,
    topics,
};

/// What a runtime is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Limits and times.
    pub config: Config,
    /// The log.
    pub log: SharedLog,
    /// Where stores live.
    pub storage: Storage,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The tracer.
    pub tracer: SharedTracer,
    /// Name of this instance.
    pub instance: String,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Processing threads (at least 1).
    pub threads: usize,
    /// Who says which tasks run here.
    pub assignment: Assignment,
}

impl Start {
    /// A start with defaults for everything that has one.
    #[must_use]
    pub fn new(log: SharedLog, storage: Storage, partitions: u32) -> Self {
        Self {
            config: Config::default(),
            log,
            storage,
            clock: Arc::new(crate::SystemClock),
            tracer: Arc::new(NoTracer),
            instance: "local".to_owned(),
            partitions,
            threads: 1,
            assignment: Assignment::Alone,
        }
    }
}

pub(crate) struct Spawn {
    setting: Setting,
    name: Arc<str>,
    seat: Seat,
}

impl Spawn {
    /// One task with everything that reaches it: how it is called, and how the roster knows it.
    pub(crate) fn new(
        start: &Start,
        definition: &Definition,
        partition: u32,
        changes: &Changes,
    ) -> (Self, Handle, Entry) {
        let service = definition.service();
        let role = start.assignment.initial();
        let setting = Setting::new(definition.clone(), partition, start.partitions, &start.config);
        let setting = setting.traced_by(start.tracer.clone());
        let name: Arc<str> = Arc::from(format!("{service}/{partition}"));
        let (requests, inbox) = mpsc::channel(start.config.calls_waiting_max);
        let orders = Arc::new(watch::channel(Order { role, number: 0 }).0);
        let inputs = definition.input_topics().cloned();
        let board = Arc::new(Board::new(service, partition, role, changes.clone(), inputs));
        let handle = Handle::new(&name, requests);
        let entry = Entry { service, partition, name: name.clone(), orders: orders.clone(), board: board.clone() };
        (Self { setting, name, seat: Seat { service, partition, inbox, orders, board } }, handle, entry)
    }

    pub(crate) fn plan(&self, start: &Start, permits: &Arc<Semaphore>, random: Box<dyn FnMut() -> u64>) -> Plan {
        Plan {
            name: self.name.clone(),
            instance: start.instance.clone(),
            config: Arc::new(start.config.clone()),
            setting: Arc::new(self.setting.clone()),
            log: start.log.clone(),
            clock: start.clock.clone(),
            storage: start.storage.clone(),
            board: self.seat.board.clone(),
            snapshot_permits: permits.clone(),
            alone: start.assignment == Assignment::Alone,
            random,
        }
    }
}

/// The tasks of a process.
#[derive(Debug)]
pub struct Runtime {
    services: Vec<Tasks>,
    roster: Roster,
    shutdown: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Runtime {
    /// Makes sure of the topics and starts every partition of every service here, in the role that the assignment says.
    ///
    /// # Errors
    /// A topic exists with other properties or has gone missing, the log refuses, or does not answer for a minute.
    pub async fn start(start: Start, definitions: Vec<Definition>) -> Result<Self, event_log::Error> {
        topics::ensure(&start, &definitions).await?;
        let shutdown = CancellationToken::new();
        let thread_count = start.threads.max(1);
        let mut per_thread: Vec<Vec<Spawn>> = (0..thread_count).map(|_| Vec::new()).collect();
        let (mut services, mut entries, changes) = (Vec::new(), Vec::new(), Changes::new());
        for definition in definitions {
            let mut handles = Vec::new();
            for partition in 0..start.partitions {
                let (spawn, handle, entry) = Spawn::new(&start, &definition, partition, &changes);
                handles.push(Some(handle));
                entries.push(entry);
                per_thread[partition as usize % thread_count].push(spawn);
            }
            services.push(Tasks::new(definition.service(), handles, start.clock.clone()));
        }
        let roster = Roster { entries: entries.into(), changes, clock: start.clock.clone() };
        let permits = Arc::new(Semaphore::new(start.config.snapshots_at_once.max(1)));
        let mut threads = Vec::new();
        for (index, tasks) in per_thread.into_iter().enumerate() {
            let (start, permits, shutdown) = (start.clone(), permits.clone(), shutdown.clone());
            let thread = std::thread::Builder::new()
                .name(format!("tasks-{index}"))
                .spawn(move || run_thread(&start, tasks, &permits, &shutdown))
                .map_err(|error| event_log::Error::Failed(format!("cannot start a processing thread: {error}")))?;
            threads.push(thread);
        }
        Ok(Self { services, roster, shutdown, threads })
    }

    /// The tasks of a service.
    #[must_use]
    pub fn tasks(&self, service: &str) -> Option<Tasks> {
        self.services.iter().find(|tasks| tasks.service() == service).cloned()
    }

    /// All tasks with their roles, for whoever orders and watches them.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Gives a task a role: see [`Roster::assign`].
    pub fn assign(&self, service: &str, partition: u32, role: Role) -> bool {
        self.roster.assign(service, partition, role)
    }

    /// Every task as it is now.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        self.roster.status()
    }

    /// Changes with every change of a role, a state or an owner: see [`Roster::watch`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.roster.watch()
    }

    /// Where each task is, by its name.
    pub fn states(&self) -> impl Iterator<Item = (&str, TaskState)> {
        self.roster.entries.iter().map(|entry| (&*entry.name, entry.board.watch().borrow().state()))
    }

    /// Returns when every task plays its role.
    ///
    /// # Errors
    /// The first task that cannot, and why.
    pub async fn running(&self) -> Result<(), String> {
        self.roster.running().await
    }

    /// Returns when a task has failed for good, with its name and why. The process should stop.
    pub async fn failed(&self) -> String {
        self.roster.failed().await
    }

    /// Stops all tasks: what is in flight is finished, certified outputs are published, stores are closed.
    /// Returns false if that took longer than `timeout`; the next start then replays a little more.
    pub async fn stop(self, timeout: Duration) -> bool {
        self.shutdown.cancel();
        let threads = self.threads;
        let join = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        matches!(tokio::time::timeout(timeout, join).await, Ok(Ok(true)))
    }
}

/// One life of one task as a future, for a simulation that decides when it runs and when it dies. Numbers of lives come
/// from `random`. The future ends as the task does: `Ok` after `shutdown`, otherwise with what stopped it; a fenced one goes
/// on as a standby if tasks are managed.
#[cfg(feature = "simulation")]
pub fn simulated(
    start: &Start,
    definition: &Definition,
    partition: u32,
    shutdown: CancellationToken,
    random: Box<dyn FnMut() -> u64>,
) -> (Handle, Roster, impl Future<Output = Result<(), crate::TaskError>> + use<>) {
    let changes = Changes::new();
    let (spawn, handle, entry) = Spawn::new(start, definition, partition, &changes);
    let roster = Roster { entries: Arc::from([entry]), changes, clock: start.clock.clone() };
    let permits = Arc::new(Semaphore::new(start.config.snapshots_at_once.max(1)));
    let mut plan = spawn.plan(start, &permits, random);
    let mut seat = spawn.seat;
    (handle, roster, async move { life::play(&mut plan, &mut seat, &shutdown).await })
}

fn run_thread(start: &Start, tasks: Vec<Spawn>, permits: &Arc<Semaphore>, shutdown: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("an event loop without I/O needs nothing of the system");
    let local = LocalSet::new();
    for task in tasks {
        let plan = task.plan(start, permits, restore::random());
        local.spawn_local(life::supervise(plan, task.seat, shutdown.clone()));
    }
    runtime.block_on(local);
}
