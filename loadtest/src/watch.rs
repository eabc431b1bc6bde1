//! What watches cost the mesh: memory of each, processor time of those that hear nothing, and what they take from the orders
//! that come in meanwhile.
//!
//! The same load runs twice, without watches and with them: what differs is theirs. A watch counts as open when its first message
//! has come, so that everything that it needs on its way is there; one that ends before it is told to is counted.

#![expect(clippy::disallowed_methods, reason = "what a client makes of an answer")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use futures::StreamExt;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest, WatchOrdersResponse};
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::order::{Connections, End, channels, customer_id, follow, order_id};
use crate::process::{self, Usage};
use crate::report::{Figures, Watch, rounded};
use crate::{machine, run};

/// Watches that are opened, and orders that are made for them, at a time.
const IN_FLIGHT: usize = 64;
/// Most that the mesh is waited for until it is at rest.
const SETTLE_MAX: Duration = Duration::from_secs(15);

/// Settings of `loadtest watch`; those of `loadtest run` say what load comes beside the watches.
#[derive(Debug, Clone, Args, Serialize)]
#[group(id = "watches")]
pub struct Settings {
    /// How many watch.
    #[arg(long, default_value_t = 1000)]
    pub watchers: u64,
    /// What each of them watches.
    #[arg(long, value_enum, default_value_t = Of::Customer)]
    pub of: Of,
    /// Watches on one connection. A server allows a connection only so many calls at a time.
    #[arg(long, default_value_t = 250)]
    pub watches_per_connection: u64,
    /// How long processor time is taken while no order comes.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "20s")]
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// The load.
    #[command(flatten)]
    #[serde(flatten)]
    pub load: run::Settings,
}

/// What a watch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// One order that nothing happens to any more, each another one.
    Order,
    /// The orders of one customer, each of another one as far as there are so many.
    Customer,
    /// All orders: each watch is told everything.
    All,
}

/// Measures and prints the result.
///
/// # Errors
/// When nobody answers, not all watches open, or the processes cannot be read.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    settings.load.check()?;
    let runtime = Builder::new_multi_thread().worker_threads(settings.load.threads.max(1)).enable_all().build()?;
    let watch = runtime.block_on(measure(settings))?;
    settings.load.output.publish(Figures::Watch(Box::new(watch)))
}

/// Runs the load without watches, opens them, and runs it again.
///
/// # Errors
/// When nobody answers, not all watches open, or the processes cannot be read.
pub async fn measure(settings: &Settings) -> anyhow::Result<Watch> {
    ensure!(settings.watchers > 0 && settings.watches_per_connection > 0, "there must be watchers and connections");
    ensure!(!settings.idle.is_zero(), "--idle must be above 0");
    ensure!(!settings.load.pid.is_empty(), "--pid is needed: memory is what watches cost first");
    let prefix = settings.load.prefix.clone().unwrap_or_else(|| format!("lt-{:x}", machine::now_unix_ms()));
    let load = |name: &str| run::Settings { prefix: Some(format!("{prefix}-{name}")), ..settings.load.clone() };
    if settings.of == Of::Order {
        make_orders(settings, &load("o")).await?;
    }
    let without = run::measure(&load("a")).await?;
    let before = at_rest(settings).await?;
    let watches = Watches::open(settings, &load("o")).await?;
    let open = at_rest(settings).await?;
    let started = Instant::now();
    tokio::time::sleep(settings.idle).await;
    let idle = usage(settings)?;
    let idle_seconds = started.elapsed().as_secs_f64();
    let told_before = watches.seen.changes.load(Ordering::Relaxed);
    let with = run::measure(&load("b")).await?;
    let loaded = at_rest(settings).await?;
    let seen = watches.close().await;
    #[expect(clippy::cast_precision_loss, reason = "memory sizes and numbers of watches stay far below 2^52")]
    let bytes_each = (open.rss_bytes as f64 - before.rss_bytes as f64) / settings.watchers as f64;
    let ended = std::mem::take(&mut *seen.ended.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Watch {
        settings: serde_json::to_value(settings)?,
        watchers: settings.watchers,
        rss_bytes_before: before.rss_bytes,
        rss_bytes_open: open.rss_bytes,
        rss_bytes_loaded: loaded.rss_bytes,
        rss_bytes_per_watcher: rounded(bytes_each),
        idle_cpu_percent: rounded(100.0 * (idle.cpu_seconds - open.cpu_seconds) / idle_seconds),
        changes: seen.changes.load(Ordering::Relaxed) - told_before,
        ended,
        without,
        with,
    })
}

fn usage(settings: &Settings) -> anyhow::Result<Usage> {
    process::usage_of(&settings.load.pid)?.context("there is no process to look at")
}

async fn at_rest(settings: &Settings) -> anyhow::Result<Usage> {
    let pids = settings.load.pid.clone();
    spawn_blocking(move || process::settle(&pids, SETTLE_MAX)).await??;
    usage(settings)
}

/// One order for each watch.
async fn make_orders(settings: &Settings, load: &run::Settings) -> anyhow::Result<()> {
    let connections = Connections::open(&load.addr, load.connections).await?;
    let plan = load.plan();
    let orders = futures::stream::iter((0..settings.watchers).map(|number| follow(&plan, &connections, number)));
    let mut orders = orders.buffer_unordered(IN_FLIGHT);
    while let Some(order) = orders.next().await {
        if let End::Failed(why) = order.end {
            bail!("an order that was to be watched could not be made: {why}");
        }
    }
    Ok(())
}

/// What all watches have seen.
#[derive(Debug, Default)]
struct Seen {
    changes: AtomicU64,
    /// Why watches ended too soon, and how many.
    ended: Mutex<BTreeMap<String, u64>>,
}

/// Watches that are open.
struct Watches {
    running: JoinSet<()>,
    seen: Arc<Seen>,
}

impl Watches {
    async fn open(settings: &Settings, orders: &run::Settings) -> anyhow::Result<Self> {
        let connections = settings.watchers.div_ceil(settings.watches_per_connection);
        let channels = channels(&settings.load.addr, usize::try_from(connections)?).await?;
        let prefix = orders.prefix.clone().unwrap_or_default();
        let (seen, opened) = (Arc::new(Seen::default()), Arc::new(Semaphore::new(0)));
        let turn = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut running = JoinSet::new();
        for number in 0..settings.watchers {
            let turn = turn.clone().acquire_owned().await?;
            let channel = channels[usize::try_from(number / settings.watches_per_connection)?].clone();
            let wanted = match settings.of {
                Of::Order => Wanted::Order(order_id(&prefix, number)),
                Of::Customer => Wanted::Orders(customer_id(number % settings.load.customers)),
                Of::All => Wanted::Orders(String::new()),
            };
            let (seen, opened) = (seen.clone(), opened.clone());
            running.spawn(async move {
                let is_open = || {
                    opened.add_permits(1);
                    drop(turn);
                };
                if let Err(status) = watch(channel, wanted, &seen, is_open).await {
                    let why = format!("{:?}: {}", status.code(), status.message());
                    *seen.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
                    // Who waits for it to open looks at why it has not.
                    opened.add_permits(1);
                }
            });
        }
        let all = opened.acquire_many(u32::try_from(settings.watchers)?);
        drop(tokio::time::timeout(settings.load.timeout, all).await.context("the watches do not open in time")??);
        let ended = seen.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(ended.is_empty(), "not all watches could be opened: {ended:?}");
        Ok(Self { running, seen })
    }

    async fn close(mut self) -> Arc<Seen> {
        self.running.shutdown().await;
        self.seen
    }
}

/// What one watch asks for.
enum Wanted {
    /// This order.
    Order(String),
    /// Orders of this customer; all when empty.
    Orders(String),
}

/// Watches until the stream ends, which it should not.
async fn watch(channel: Channel, wanted: Wanted, seen: &Seen, is_open: impl FnOnce()) -> Result<(), Status> {
    let mut client = OrderServiceClient::new(channel);
    match wanted {
        Wanted::Order(order_id) => {
            // The snapshot comes at once; without it the first message is as late as the longest silence.
            let request = WatchOrderRequest { order_id, snapshot: true, ..WatchOrderRequest::default() };
            let parts = client.watch_order(request).await?;
            listen(parts, |part: &WatchOrderResponse| part.changes.len(), seen, is_open).await
        }
        Wanted::Orders(customer_id) => {
            let request = WatchOrdersRequest { customer_id, ..WatchOrdersRequest::default() };
            let parts = client.watch_orders(request).await?;
            listen(parts, |part: &WatchOrdersResponse| part.changes.len(), seen, is_open).await
        }
    }
}

async fn listen<M>(
    parts: Response<Streaming<M>>,
    changes: fn(&M) -> usize,
    seen: &Seen,
    is_open: impl FnOnce(),
) -> Result<(), Status> {
    let (mut parts, mut is_open) = (parts.into_inner(), Some(is_open));
    while let Some(part) = parts.message().await? {
        if let Some(is_open) = is_open.take() {
            is_open();
        }
        seen.changes.fetch_add(changes(&part) as u64, Ordering::Relaxed);
    }
    Err(Status::unavailable("the stream ended"))
}
