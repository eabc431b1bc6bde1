//! One process of the mesh: log, stores, tasks, gateway and server, put together, run and drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use embedded_broker::EmbeddedLog;
use event_log::{SharedLog, WatchedLog};
use gateway::{Gateway, LocalOwner};
use notifications::Courier;
use schemas::{Registering, ShowSchemas};
use service_host::{Clock, Drained, Server, Watches};
use state_store::Stores;
use task_runtime::{Assignment, Definition, RestoreProgress, Role, Runtime, SharedTracer, Start, Storage, TaskState};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::data::{DataDirectory, DataError};
use crate::described::{SchemaError, Topics};
use crate::mesh::{self, Arrival, Join, Seat};
use crate::readiness::Readiness;
use crate::roles::{self, Roles};
use crate::{Config, Security};

/// How long tasks may take to finish what is in flight. Later than that the next start replays a little more.
const TASKS_STOP: Duration = Duration::from_secs(10);

/// How long e-mails on their way may take. One whose outcome is not known by then is sent again, with the same Message-ID.
const COURIER_STOP: Duration = Duration::from_secs(10);

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] embedded_broker::Error),
    /// The stores cannot be opened.
    #[error("the local state cannot be opened")]
    Stores(#[from] state_store::Error),
    /// The topics are not as they must be.
    #[error("the tasks cannot be started")]
    Tasks(#[from] event_log::Error),
    /// What this version writes does not go with what is there.
    #[error("this version cannot write to the topics of the mesh")]
    Schemas(#[from] SchemaError),
    /// The gateway refuses.
    #[error("the gateway cannot be started")]
    Gateway(#[from] gateway::StartError),
    /// Nobody can send e-mails.
    #[error("{0}")]
    Mail(String),
    /// The listener is broken.
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
}

/// What an instance is started with, beside its configuration.
#[derive(Debug)]
pub struct Setup {
    /// Everything that can be chosen.
    pub config: Config,
    /// What protects it, read from the files that the configuration names.
    pub security: Security,
    /// Where it serves gRPC.
    pub listener: TcpListener,
    /// Its time.
    pub clock: Clock,
    /// Makes the spans of tasks.
    pub tracer: SharedTracer,
}

/// A process of the mesh that runs.
#[derive(Debug)]
pub struct Instance {
    address: SocketAddr,
    log: SharedLog,
    /// The log, if it is this process's own.
    own_log: Option<EmbeddedLog>,
    runtime: Runtime,
    seat: Seat,
    /// For this process itself: nothing is asked of it.
    gateway: Gateway,
    readiness: Readiness,
    server: JoinHandle<Drained>,
    courier: JoinHandle<()>,
    courier_stop: CancellationToken,
    registering: Registering,
    shutdown: CancellationToken,
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still busy and were cut.
    pub connections_cut: usize,
    /// Whether the tasks finished what was in flight.
    pub tasks_finished: bool,
}

impl Instance {
    /// Opens the data and starts tasks and server: a mesh by itself. The health service says SERVING once [`Instance::running`] returns.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        let config = &setup.config;
        let data = DataDirectory::open(&config.mesh.data, config.mesh.partitions)?;
        let (log, stores) = open(config, &data, &setup.clock).await?;
        let ground =
            Ground { log: Arc::new(log.clone()), own_log: Some(log), storage: Storage::Disk(stores), join: None };
        Self::compose(setup, ground).await
    }

    /// Joins a mesh of several processes on one log. Without roles it is a gateway, and keeps no data.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn join(setup: Setup, join: Join) -> Result<Self, StartError> {
        let config = &setup.config;
        let storage = match join.has_tasks() {
            true => {
                let data = DataDirectory::open(&config.mesh.data, config.mesh.partitions)?;
                Storage::Disk(open_stores(config, &data).await?)
            }
            false => Storage::Memory(Arc::new(|_| state_store::MemoryStore::default())),
        };
        let ground = Ground { log: join.log.clone(), own_log: None, storage, join: Some(join) };
        Self::compose(setup, ground).await
    }

    async fn compose(setup: Setup, ground: Ground) -> Result<Self, StartError> {
        let Setup { config, security, listener, clock, tracer } = setup;
        let Ground { log, own_log, storage, join } = ground;
        let watched = WatchedLog::new(log);
        let availability = watched.availability();
        let log: SharedLog = Arc::new(watched);
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let sender = notifications::sender::from_config(&config.notifications).map_err(StartError::Mail)?;

        let mut start = Start::new(log.clone(), storage, config.mesh.partitions);
        start.config = config.tasks.runtime(config.kafka.append_bytes_max);
        start.clock = Arc::new(clock.clone());
        start.tracer = tracer;
        start.instance = config.mesh.instance.clone();
        start.threads = config.tasks.threads;
        if join.is_some() {
            start.assignment = Assignment::Managed(Role::Idle);
        }
        let shutdown = CancellationToken::new();
        let runs = |service: &str| match &join {
            Some(join) => join.services.contains(service),
            None => config.mesh.runs(service),
        };
        let topics = Topics::of(&config)?;
        let mut definitions = roles::labelled(&config, &topics);
        let (schemas, registering) = agree(&config, &topics, &definitions, &log, &clock, runs, &shutdown).await?;
        if join.is_none() {
            definitions.retain(|definition| config.mesh.runs(definition.service()));
        }
        let runtime = Runtime::start(start, definitions).await?;

        let mails = runtime.tasks(notifications::SERVICE);
        let courier = mails.map(|mails| Courier::new(mails, sender, clock, &config.notifications));
        let (courier_stop, courier) = spawn_courier(courier);

        let watches = Watches::new(config.watches.clone(), log.clone(), config.mesh.partitions);
        let exchange = mesh::exchange(&config);
        let roles = Arc::new(Roles::new(&config, &runtime, &watches, mesh::addresses(&exchange), availability.clone()));
        let services = roles.services();
        let api = config.additions.api();
        let (health, operations) = service_host::diagnostics::routes(&api).await;
        let roster = runtime.roster();
        let arrival = Arrival { config: &config, exchange, roster, roles, security: &security, shutdown: &shutdown };
        let seat = arrival.take(join).map_err(StartError::Listener)?;
        let gateway = Gateway::new(gateway::Setup {
            config: config.gateway.clone(),
            message_bytes_max: config.limits.message_bytes_max,
            descriptors: &api.merged().map_err(SchemaError::Compiled)?,
            owners: seat.owners(),
            operations: LocalOwner::new(operations.add_service(seat.topology()).add_service(schemas.server())),
            tokens: security.tokens,
            draining: shutdown.clone(),
        })?;
        tokio::spawn(service_host::renew_all(security.renewals, shutdown.clone()));
        let readiness = Readiness::begin(health, services, availability).await;
        let own = gateway.unguarded();
        let server = Server::new(&config.listen, &config.limits).answering(api).over(security.clients);
        let server = tokio::spawn(server.serve(listener, gateway, shutdown.clone()));
        Ok(Self {
            address,
            log,
            own_log,
            runtime,
            seat,
            gateway: own,
            readiness,
            server,
            courier,
            courier_stop,
            registering,
            shutdown,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The public API for this process itself, which needs neither a connection nor a token.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        self.gateway.clone()
    }

    /// The log, for what reads and writes topics beside the tasks.
    #[must_use]
    pub fn log(&self) -> task_runtime::SharedLog {
        self.log.clone()
    }

    /// How many tasks run, of how many.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let states = self.runtime.states();
        states.fold((0, 0), |(running, all), (_, state)| (running + usize::from(state == TaskState::Running), all + 1))
    }

    /// How far the restores that are under way have come, all together; none if there are none.
    #[must_use]
    pub fn restoring(&self) -> Option<RestoreProgress> {
        self.runtime.roster().restoring()
    }

    /// Returns when every task runs, and calls are welcome.
    ///
    /// # Errors
    /// The task that cannot run, and why.
    pub async fn running(&self) -> Result<(), String> {
        self.seat.joined().await;
        self.runtime.running().await?;
        self.readiness.open().await;
        Ok(())
    }

    /// What this instance sees of its mesh.
    #[must_use]
    pub fn exchange(&self) -> &membership::Exchange {
        self.seat.exchange()
    }

    /// Returns when a task has failed for good, or the mesh has no place for this instance, with why. The process should stop.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.runtime.failed() => reason,
            reason = self.seat.lost() => reason,
        }
    }

    /// Stops at once, as far as a living process can: nobody is told, and nothing is handed over. For tests.
    pub async fn abandon(self) {
        self.seat.abandon();
        self.readiness.abandon();
        self.server.abort();
        self.courier.abort();
        self.runtime.stop(TASKS_STOP).await;
        if let Some(log) = self.own_log {
            log.close().await;
        }
    }

    /// Drains: tells the health service, hands its tasks over, lets calls end, finishes what is in flight, closes the log.
    pub async fn stop(self) -> Stopped {
        self.readiness.close().await;
        // While the tasks are still here to take what came of the e-mails that are on their way: the next owner would send them again.
        self.courier_stop.cancel();
        let mut courier = self.courier;
        if tokio::time::timeout(COURIER_STOP, &mut courier).await.is_err() {
            courier.abort();
        }
        self.seat.hand_over(&self.runtime.roster()).await;
        self.shutdown.cancel();
        let connections_cut = self.server.await.map_or(0, |drained| drained.connections_cut);
        let tasks_finished = self.runtime.stop(TASKS_STOP).await;
        self.seat.leave().await;
        self.registering.ended().await;
        if let Some(log) = self.own_log {
            log.close().await;
        }
        Stopped { connections_cut, tasks_finished }
    }
}

/// Sends what the tasks here decide to send, if they are here, until it is told to stop.
fn spawn_courier(courier: Option<Courier>) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let sending = async move {
        if let Some(courier) = courier {
            courier.run(stopped).await;
        }
    };
    (stop, tokio::spawn(sending))
}

/// Makes sure that what this process reads and writes is what the log and the schema registry know, before it writes anything.
async fn agree(
    config: &Config,
    topics: &Topics,
    definitions: &[Definition],
    log: &SharedLog,
    clock: &Clock,
    runs: impl Fn(&str) -> bool,
    stop: &CancellationToken,
) -> Result<(ShowSchemas, Registering), StartError> {
    let here: Vec<&Definition> = definitions.iter().filter(|definition| runs(definition.service())).collect();
    let writes = |topic: &str| match topic {
        schemas::TOPIC => !here.is_empty(),
        _ => here.iter().any(|definition| definition.messages().any(|(written, _)| written.as_str() == topic)),
    };
    let shown = topics.keep(log.clone(), &config.mesh.instance, clock.now_ms(), writes).await?;
    let registering = match here.is_empty() {
        true => Registering::none(),
        false => topics.register(config, stop).await?,
    };
    Ok((shown.with_standing(registering.standing()), registering))
}

/// Opens log and stores on a thread that may block: after a crash the log reads what was being written.
pub(crate) async fn open(
    config: &Config,
    data: &DataDirectory,
    clock: &Clock,
) -> Result<(EmbeddedLog, Stores), StartError> {
    let clock = clock.clone();
    let log = embedded_broker::Config {
        sync: config.broker.sync.into(),
        segment_bytes: config.broker.segment_bytes,
        tail_cache_bytes: config.broker.tail_cache_bytes,
        open_files_max: config.broker.open_files_max,
        clock: embedded_broker::Clock::new(move || clock.now_ms()),
        ..embedded_broker::Config::new(data.log())
    };
    let stores = stores(config, data);
    let opened = tokio::task::spawn_blocking(move || Ok((EmbeddedLog::open(log)?, Stores::open(stores)?)));
    opened.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Opens the stores alone, for a process whose log is elsewhere.
pub(crate) async fn open_stores(config: &Config, data: &DataDirectory) -> Result<Stores, StartError> {
    let stores = stores(config, data);
    let opened = tokio::task::spawn_blocking(move || Ok(Stores::open(stores)?));
    opened.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn stores(config: &Config, data: &DataDirectory) -> state_store::Config {
    state_store::Config {
        cache_bytes: config.store.cache_bytes,
        memtable_bytes: config.store.memtable_bytes,
        verify_rows: config.store.verify_rows,
        ..state_store::Config::new(data.state())
    }
}

/// What an instance stands on.
struct Ground {
    log: SharedLog,
    own_log: Option<EmbeddedLog>,
    storage: Storage,
    join: Option<Join>,
}
