//! Tasks on threads: each processing thread runs several tasks on an event loop of its own, for stores block and handlers
//! compute, and neither belongs on the threads that serve gRPC.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Cleanup, SharedLog, TopicName, TopicSpec};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::batch::Setting;
use crate::config::Backoff;
use crate::handle::Request;
use crate::restore::{self, Plan};
use crate::{Clock, Config, Definition, Handle, NoTracer, SharedTracer, TaskError, Tasks};

#[cfg(feature = "simulation")]
pub use crate::restore::Disks;
pub use crate::restore::Storage;

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Its store is opened, caught up with the changelog and claimed.
    Restoring,
    /// It processes.
    Running,
    /// It has ended on request.
    Closed,
    /// It cannot go on, and neither should the process: a person must look.
    Failed(String),
}

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
        }
    }
}

struct Spawn {
    setting: Setting,
    name: Arc<str>,
    inbox: mpsc::Receiver<Request>,
    state: watch::Sender<TaskState>,
}

/// The tasks of a process.
#[derive(Debug)]
pub struct Runtime {
    services: Vec<Tasks>,
    states: Vec<(Arc<str>, watch::Receiver<TaskState>)>,
    shutdown: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Runtime {
    /// Makes sure of the topics and starts every partition of every service here.
    ///
    /// # Errors
    /// A topic exists with other properties, or the log refuses.
    pub async fn start(start: Start, definitions: Vec<Definition>) -> Result<Self, event_log::Error> {
        for spec in topics(&definitions, start.partitions) {
            start.log.ensure_topic(&spec).await?;
        }
        let shutdown = CancellationToken::new();
        let thread_count = start.threads.max(1);
        let mut per_thread: Vec<Vec<Spawn>> = (0..thread_count).map(|_| Vec::new()).collect();
        let (mut services, mut states) = (Vec::new(), Vec::new());
        for definition in definitions {
            let mut handles = Vec::new();
            for partition in 0..start.partitions {
                let (requests, inbox) = mpsc::channel(start.config.calls_waiting_max);
                let (state, watched) = watch::channel(TaskState::Restoring);
                let setting = Setting::new(definition.clone(), partition, start.partitions, &start.config);
                let setting = setting.traced_by(start.tracer.clone());
                let name: Arc<str> = Arc::from(format!("{}/{partition}", definition.service()));
                handles.push(Some(Handle::new(&name, requests)));
                states.push((name.clone(), watched));
                per_thread[partition as usize % thread_count].push(Spawn { setting, name, inbox, state });
            }
            services.push(Tasks::new(definition.service(), handles, start.clock.clone()));
        }
        let mut threads = Vec::new();
        for (index, tasks) in per_thread.into_iter().enumerate() {
            let (start, shutdown) = (start.clone(), shutdown.clone());
            let thread = std::thread::Builder::new()
                .name(format!("tasks-{index}"))
                .spawn(move || run_thread(start, tasks, &shutdown))
                .map_err(|error| event_log::Error::Failed(format!("cannot start a processing thread: {error}")))?;
            threads.push(thread);
        }
        Ok(Self { services, states, shutdown, threads })
    }

    /// The tasks of a service.
    #[must_use]
    pub fn tasks(&self, service: &str) -> Option<Tasks> {
        self.services.iter().find(|tasks| tasks.service() == service).cloned()
    }

    /// Where each task is, by its name.
    pub fn states(&self) -> impl Iterator<Item = (&str, TaskState)> {
        self.states.iter().map(|(name, state)| (&**name, state.borrow().clone()))
    }

    /// Returns when every task runs.
    ///
    /// # Errors
    /// The first task that cannot, and why.
    pub async fn running(&self) -> Result<(), String> {
        for (name, state) in &self.states {
            let mut state = state.clone();
            let reached = state.wait_for(|state| *state != TaskState::Restoring).await.map(|state| state.clone());
            match reached {
                Ok(TaskState::Failed(reason)) => return Err(format!("task {name}: {reason}")),
                Ok(_) => {}
                Err(_) => return Err(format!("task {name} ended unexpectedly")),
            }
        }
        Ok(())
    }

    /// Returns when a task has failed for good, with its name and why. The process should stop.
    pub async fn failed(&self) -> String {
        let waits = self.states.iter().map(|(name, state)| {
            let mut state = state.clone();
            Box::pin(async move {
                let failed = state.wait_for(|state| matches!(state, TaskState::Failed(_))).await.map(|s| s.clone());
                match failed {
                    Ok(TaskState::Failed(reason)) => format!("task {name}: {reason}"),
                    _ => std::future::pending().await,
                }
            })
        });
        futures::future::select_all(waits.collect::<Vec<_>>()).await.0
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

/// The topics that these services need.
#[must_use]
pub fn topics(definitions: &[Definition], partitions: u32) -> Vec<TopicSpec> {
    let spec = |name: TopicName| TopicSpec { name, partitions, cleanup: Cleanup::Never };
    let mut specs = Vec::new();
    for definition in definitions {
        let own = [definition.changelog(), definition.dead_letters()];
        let all = own.into_iter().chain(definition.output_topics().cloned()).chain(definition.input_topics().cloned());
        specs.extend(all.map(spec));
    }
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    specs.dedup();
    specs
}

/// One life of one task as a future, for a simulation that decides when it runs and when it dies. Numbers of lives come
/// from `random`. The future ends as the task does: `Ok` after `shutdown`, otherwise with what stopped it.
#[cfg(feature = "simulation")]
pub fn simulated(
    start: &Start,
    definition: Definition,
    partition: u32,
    shutdown: CancellationToken,
    random: Box<dyn FnMut() -> u64>,
) -> (Handle, impl Future<Output = Result<(), TaskError>> + use<>) {
    let name: Arc<str> = Arc::from(format!("{}/{partition}", definition.service()));
    let (requests, inbox) = mpsc::channel(start.config.calls_waiting_max);
    let (state, _) = watch::channel(TaskState::Restoring);
    let handle = Handle::new(&name, requests);
    let setting = Setting::new(definition, partition, start.partitions, &start.config);
    let mut task = Spawn { setting, name, inbox, state };
    let mut plan = plan(start, &task, random);
    (handle, async move { live(&mut plan, &mut task, &shutdown).await })
}

fn plan(start: &Start, task: &Spawn, random: Box<dyn FnMut() -> u64>) -> Plan {
    Plan {
        name: task.name.clone(),
        instance: start.instance.clone(),
        config: Arc::new(start.config.clone()),
        setting: Arc::new(task.setting.clone()),
        log: start.log.clone(),
        clock: start.clock.clone(),
        storage: start.storage.clone(),
        random,
    }
}

fn run_thread(start: Start, tasks: Vec<Spawn>, shutdown: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("an event loop without I/O needs nothing of the system");
    let local = LocalSet::new();
    let jobs: Vec<_> =
        tasks.into_iter().map(|task| local.spawn_local(supervise(start.clone(), task, shutdown.clone()))).collect();
    runtime.block_on(local.run_until(async {
        for job in jobs {
            if let Err(error) = job.await {
                tracing::error!(%error, "a task ended in a panic");
            }
        }
    }));
}

/// Runs one task, again and again as long as what ends it can heal.
async fn supervise(start: Start, mut task: Spawn, shutdown: CancellationToken) {
    let mut plan = plan(&start, &task, restore::random());
    let mut backoff = Backoff::new(&plan.config);
    loop {
        task.state.send_replace(TaskState::Restoring);
        let result = live(&mut plan, &mut task, &shutdown).await;
        let name = &task.name;
        match result {
            Ok(()) => {
                task.state.send_replace(TaskState::Closed);
                return;
            }
            Err(TaskError::Fenced { epoch }) => {
                tracing::warn!(task = %name, epoch, "another owner has claimed the task")
            }
            Err(TaskError::Store(error)) => {
                tracing::error!(task = %name, %error, "the store cannot be used at present")
            }
            Err(TaskError::Corrupted(error)) => {
                tracing::error!(task = %name, %error, "the store is damaged and is rebuilt");
                if let Err(error) = plan.storage.wipe(name) {
                    tracing::error!(task = %name, %error, "the damaged store cannot be removed");
                }
            }
            Err(error) => {
                tracing::error!(task = %name, %error, "the task cannot go on");
                task.state.send_replace(TaskState::Failed(error.to_string()));
                return;
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = backoff.pause() => {}
        }
    }
}

async fn live(plan: &mut Plan, task: &mut Spawn, shutdown: &CancellationToken) -> Result<(), TaskError> {
    let mut owner = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        owner = plan.begin() => owner?,
    };
    task.state.send_replace(TaskState::Running);
    owner.run(&mut task.inbox, shutdown).await?;
    owner.close()
}
