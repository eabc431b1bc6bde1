//! `ordermesh serve` and `ordermesh gateway`: one process of several, from its first word to its last.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Config, Instance, Join, Membership, Security, Setup, definitions, key_name};
use anyhow::{Context, anyhow, bail};
use kafka_log::KafkaLog;
use kafka_log::wire::Dial;
use service_host::{Clock, SpanTracer, Telemetry, shutdown};
use task_runtime::RestoreProgress;
use tokio_util::sync::CancellationToken;

use crate::dev::{bar, bind, offered, reachable, say, serve_metrics};

/// How often a start that takes long says what it waits for.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// How long brokers that cannot be reached are tried again at the start: they may be starting too.
const BROKERS_WAIT: Duration = Duration::from_secs(60);
/// Pause between two tries.
const BROKERS_PAUSE: Duration = Duration::from_secs(1);

/// What a process does in its mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It runs tasks, and is a gateway too.
    Tasks,
    /// It is a gateway only.
    Gateway,
}

/// Runs until a signal, in life order: telemetry, listen, connect, build, wait, hand over, drain.
pub(crate) async fn run(config: Config, part: Part) -> anyhow::Result<()> {
    let begin = Instant::now();
    config.peers.check_place(&config.mesh.instance, part == Part::Tasks).map_err(|reason| anyhow!(reason))?;
    let stop = shutdown::on_signal().context("signals cannot be listened to")?;
    let telemetry = Telemetry::init(&config.log, &config.telemetry, &config.mesh.instance)?;
    service_host::files::raise_open_files();
    let metrics = serve_metrics(&config, &stop).await?;
    let security = Security::open(&config)?;
    let listener = bind(config.listen.address, "--listen").await?;
    let peers = bind(config.peers.listen, "--peers").await?;
    let doors =
        Doors { peers: peers.local_addr().context("the listener for other instances has no address")?, metrics };
    say(format_args!("ordermesh {} starts as {}", env!("CARGO_PKG_VERSION"), config.mesh.instance));
    let Some(log) = connect(&config, &stop).await? else { return Ok(()) };
    say(format_args!("  brokers are reached after {:.0?}", begin.elapsed()));

    let services = services(&config, part);
    let membership = if config.peers.instances.is_empty() {
        Membership::Group(Dial::new(&config.kafka)?)
    } else {
        Membership::listed(&config)
    };
    let tracer = Arc::new(SpanTracer::new(&telemetry, key_name));
    let setup = Setup { config: config.clone(), security, listener, clock: Clock::system(), tracer };
    let join = Join { log: Arc::new(log), membership, peers, services };
    let instance = Instance::join(setup, join).await?;

    let ended = tokio::select! {
        ended = serve(&instance, &config, part, begin, doors) => ended,
        () = stop.cancelled() => Ok(()),
    };
    say("stopping: tasks are handed over");
    let stopped = instance.stop().await;
    if stopped.connections_cut > 0 {
        say(format_args!("  {} connections were still busy and were cut", stopped.connections_cut));
    }
    if !stopped.tasks_finished {
        say("  tasks did not finish in time: the next owner goes over a little more of the log");
    }
    telemetry.shutdown().await;
    ended
}

/// Where it listens for others than clients.
struct Doors {
    peers: SocketAddr,
    metrics: Option<SocketAddr>,
}

/// Says where everything is once the mesh is known, and stays as long as nothing fails.
async fn serve(instance: &Instance, config: &Config, part: Part, begin: Instant, doors: Doors) -> anyhow::Result<()> {
    let running = async {
        let mut running = std::pin::pin!(instance.running());
        loop {
            match tokio::time::timeout(PROGRESS_INTERVAL, running.as_mut()).await {
                Ok(ended) => return ended,
                Err(_) => match restoring(instance) {
                    Some(restore) => say(format_args!("  {}", bar(restore))),
                    None => say("  waiting for the other instances and for tasks to be restored"),
                },
            }
        }
    };
    tokio::select! {
        ended = running => ended.map_err(|reason| anyhow!(reason))?,
        reason = instance.failed() => bail!(reason),
    }
    say(format_args!("  the mesh {} is joined after {:.0?}", config.mesh.group, begin.elapsed()));
    say(format_args!("listening on {} ({})", reachable(instance.address()), offered(config)));
    if part == Part::Tasks {
        say(format_args!(
            "other instances reach it at {}{}",
            config.peers.advertise.clone().unwrap_or(doors.peers.to_string()),
            if config.peers.tls.ca_file.is_some() { " (over TLS)" } else { "" }
        ));
    }
    if let Some(metrics) = doors.metrics {
        say(format_args!("metrics on http://{metrics}/metrics"));
    }
    tokio::select! {
        reason = instance.failed() => bail!(reason),
        never = tell_restores(instance) => match never {},
    }
}

/// How far the restores are that are under way, once it is known how much there is.
fn restoring(instance: &Instance) -> Option<RestoreProgress> {
    instance.restoring().filter(|restore| restore.of > 0)
}

/// Says from time to time how far restores are: an instance that listens gets its tasks one after another.
async fn tell_restores(instance: &Instance) -> Infallible {
    let mut was_restoring = false;
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let restoring = restoring(instance);
        match restoring {
            Some(restore) => say(format_args!("  {}", bar(restore))),
            None if was_restoring => say("  everything is restored"),
            None => {}
        }
        was_restoring = restoring.is_some();
    }
}

fn services(config: &Config, part: Part) -> BTreeSet<Arc<str>> {
    match part {
        Part::Gateway => BTreeSet::new(),
        Part::Tasks if config.mesh.roles.is_empty() => {
            definitions(config).iter().map(|definition| definition.service().into()).collect()
        }
        Part::Tasks => config.mesh.roles.iter().map(|role| role.as_str().into()).collect(),
    }
}

/// The log; `None` when the process was told to stop before a broker answered.
async fn connect(config: &Config, stop: &CancellationToken) -> anyhow::Result<Option<KafkaLog>> {
    let deadline = Instant::now() + BROKERS_WAIT;
    loop {
        let connected = tokio::select! {
            connected = KafkaLog::connect(config.kafka.clone()) => connected,
            () = stop.cancelled() => return Ok(None),
        };
        match connected {
            Ok(log) => return Ok(Some(log)),
            Err(error @ kafka_log::ConnectError::Brokers(_)) if Instant::now() < deadline => {
                say(format_args!("  {:#}; trying again", anyhow!(error)));
                tokio::time::sleep(BROKERS_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
