//! Orders at a fixed rate (open loop) or a fixed number in flight (closed loop), and what became of them.
//!
//! The open loop is the honest one for latencies: orders come as they would from many clients that do not wait for each
//! other. The closed loop finds the most that a server can do; its latencies only say how long the queue was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::arrivals::{Arrivals, Gaps, pace};
use crate::machine;
use crate::order::{CUSTOMERS, Connections, Plan, Wait, follow};
use crate::process::{self, Usage};
use crate::report::{Figures, Output, Run, Server, rounded};
use crate::scrape::{self, Counters};
use crate::tally::Tally;

/// Most that the work left behind by a run is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(15);
/// The processor time that the Prometheus address shows.
const CPU_COUNTER: &str = "process_cpu_seconds_total";

/// Settings of `loadtest run`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Settings {
    /// Where the mesh listens.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "HOST:PORT")]
    pub addr: String,
    /// How orders come.
    #[arg(long, value_enum, default_value_t = Mode::Open)]
    pub mode: Mode,
    /// Open loop: orders a second.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Open loop: exponential gaps between orders instead of even ones.
    #[arg(long)]
    pub poisson: bool,
    /// Closed loop: orders in flight.
    #[arg(long, default_value_t = 1024)]
    pub in_flight: u32,
    /// Open loop: most orders in flight; those beyond are not started, and counted as missed.
    #[arg(long, default_value_t = 20_000)]
    pub in_flight_max: u32,
    /// Closed loop: stop after so many orders, if that is before the duration is over.
    #[arg(long)]
    pub orders: Option<u64>,
    /// How long orders are started and counted.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s")]
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// The same load before, which does not count.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    #[serde(with = "humantime_serde")]
    pub warmup: Duration,
    /// How VALIDATED is awaited.
    #[arg(long, value_enum, default_value_t = Wait::Get)]
    pub wait: Wait,
    /// Deadline of each call.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// HTTP/2 connections. A server allows a connection only so many calls at a time (256 by default): more in flight
    /// need more connections, or they queue in the driver.
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Lines of an order.
    #[arg(long, default_value_t = 1)]
    pub lines: u64,
    /// Products to order, as `loadtest setup` made them.
    #[arg(long, default_value_t = 1000)]
    pub products: u64,
    /// Customers who order, as `loadtest setup` made them.
    #[arg(long, default_value_t = CUSTOMERS)]
    pub customers: u64,
    /// Decides who orders what, and the gaps of --poisson.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Start of every order id; must be new for each run. Default: made from the time.
    #[arg(long)]
    pub prefix: Option<String>,
    /// Threads of the driver.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Processes of the mesh on this machine, to count their processor time and memory together.
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Processes of its broker on this machine, the same.
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub broker_pid: Vec<u32>,
    /// Prometheus addresses of the mesh's processes, to read their counters.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// What becomes of the result.
    #[command(flatten)]
    #[serde(flatten)]
    pub output: Output,
}

/// How orders come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// At a rate, whatever the server does.
    Open,
    /// The next one when one has ended, a fixed number in flight.
    Closed,
}

impl Settings {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            wait: self.wait,
            timeout: self.timeout,
            lines: self.lines,
            products: self.products,
            customers: self.customers,
            seed: self.seed,
            prefix: self.prefix.clone().unwrap_or_else(|| format!("lt-{:x}", machine::now_unix_ms())),
        }
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.rate.is_finite() && self.rate > 0.0, "--rate must be above 0");
        ensure!(self.in_flight > 0 && self.in_flight_max > 0, "orders in flight must be above 0");
        ensure!(
            self.lines > 0 && self.products > 0 && self.customers > 0,
            "an order needs lines, products and a customer"
        );
        ensure!(self.lines <= self.products, "--lines must not be above --products: each line has its own product");
        Ok(())
    }
}

/// Runs and prints the result.
///
/// # Errors
/// When nobody answers, or not one order was validated.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    settings.check()?;
    let runtime = Builder::new_multi_thread().worker_threads(settings.threads.max(1)).enable_all().build()?;
    let run = runtime.block_on(measure(settings))?;
    let validated = run.validated;
    settings.output.publish(Figures::Run(Box::new(run)))?;
    ensure!(validated > 0, "not one order was validated");
    Ok(())
}

/// Warms up, runs and counts.
///
/// # Errors
/// When nobody answers, or the server's process or metrics cannot be read.
pub async fn measure(settings: &Settings) -> anyhow::Result<Run> {
    let connections = Connections::open(&settings.addr, settings.connections).await?;
    let load = Arc::new(Load { plan: settings.plan(), connections, next: AtomicU64::new(0) });
    if !settings.warmup.is_zero() {
        load.drive(settings, settings.warmup).await?;
    }
    let before = Reading::take(settings).await?;
    let (tally, elapsed) = load.drive(settings, settings.duration).await?;
    let driver_cpu_seconds = process::own_usage()?.cpu_seconds - before.driver.cpu_seconds;
    let after = Reading::take(settings).await?;

    let counters = scrape::difference(&before.counters, &after.counters);
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer orders than 2^52")]
    Ok(Run {
        settings: serde_json::to_value(settings)?,
        started: tally.started,
        missed: tally.missed,
        validated: tally.validated,
        validated_per_second: rounded(tally.validated_in_time as f64 / elapsed.as_secs_f64()),
        rejected: tally.rejected,
        failed: tally.failed,
        errors: tally.errors.clone(),
        create_ms: tally.create.quantiles(),
        validated_ms: tally.validate.quantiles(),
        failed_ms: tally.fail.quantiles(),
        driver_late_ms: tally.late.quantiles(),
        driver_cpu_seconds: rounded(driver_cpu_seconds),
        server: server(&before, &after, &counters, tally.validated + tally.rejected),
        broker: cost(before.broker, after.broker, after.settled, tally.validated + tally.rejected),
        counters,
    })
}

/// The server's cost, from its processes or else from its own counter.
fn server(before: &Reading, after: &Reading, counters: &Counters, answered: u64) -> Option<Server> {
    cost(before.server, after.server, after.settled, answered).or_else(|| {
        let cpu_seconds = *counters.get(CPU_COUNTER)?;
        Some(spent(cpu_seconds, after.settled, answered))
    })
}

fn cost(before: Option<Usage>, after: Option<Usage>, settled: Duration, answered: u64) -> Option<Server> {
    let (before, after) = before.zip(after)?;
    let spent = spent(after.cpu_seconds - before.cpu_seconds, settled, answered);
    Some(Server { rss_bytes: Some(after.rss_bytes), rss_peak_bytes: Some(after.rss_peak_bytes), ..spent })
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer orders than 2^52")]
fn spent(cpu_seconds: f64, settled: Duration, answered: u64) -> Server {
    Server {
        cpu_seconds: rounded(cpu_seconds),
        cpu_seconds_per_1000: rounded(1000.0 * cpu_seconds / answered.max(1) as f64),
        settled_seconds: rounded(settled.as_secs_f64()),
        rss_bytes: None,
        rss_peak_bytes: None,
    }
}

/// What driver, server and broker have used, taken when the server is at rest.
struct Reading {
    driver: Usage,
    server: Option<Usage>,
    broker: Option<Usage>,
    settled: Duration,
    counters: Counters,
}

impl Reading {
    async fn take(settings: &Settings) -> anyhow::Result<Self> {
        let pids = settings.pid.clone();
        let settled = if pids.is_empty() {
            Duration::ZERO
        } else {
            spawn_blocking(move || process::settle(&pids, SETTLE_MAX)).await??
        };
        let counters = scrape::counters_of(&settings.metrics).await?;
        let (server, broker) = (process::usage_of(&settings.pid)?, process::usage_of(&settings.broker_pid)?);
        Ok(Self { driver: process::own_usage()?, server, broker, settled, counters })
    }
}

/// The orders of a run.
struct Load {
    plan: Plan,
    connections: Connections,
    /// Number of the next order.
    next: AtomicU64,
}

impl Load {
    /// Starts orders for `duration` and waits for the end of all. Says how long orders were started.
    async fn drive(self: &Arc<Self>, settings: &Settings, duration: Duration) -> anyhow::Result<(Tally, Duration)> {
        match settings.mode {
            Mode::Open => self.drive_open(settings, duration).await,
            Mode::Closed => self.drive_closed(settings, duration).await,
        }
    }

    async fn drive_open(
        self: &Arc<Self>,
        settings: &Settings,
        duration: Duration,
    ) -> anyhow::Result<(Tally, Duration)> {
        let gaps = if settings.poisson { Gaps::Poisson } else { Gaps::Even };
        let arrivals = Arrivals::new(settings.rate, gaps, settings.seed);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let permits = Arc::new(Semaphore::new(settings.in_flight_max as usize));
        let runtime = Handle::current();
        let beginning = Instant::now();
        let end = beginning + duration;

        let (load, tallied, allowed) = (self.clone(), tally.clone(), permits.clone());
        let start = move |intended: Instant| match allowed.clone().try_acquire_owned() {
            Ok(permit) => {
                let (load, tally) = (load.clone(), tallied.clone());
                runtime.spawn(async move {
                    load.one(intended, end, &tally).await;
                    drop(permit);
                });
            }
            Err(_) => lock(&tallied).missed += 1,
        };
        spawn_blocking(move || pace(beginning, duration, arrivals, start)).await.context("the pacing thread ended")?;
        drop(permits.acquire_many(settings.in_flight_max).await?);
        let tally = lock(&tally).clone();
        Ok((tally, duration))
    }

    async fn drive_closed(
        self: &Arc<Self>,
        settings: &Settings,
        duration: Duration,
    ) -> anyhow::Result<(Tally, Duration)> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let budget = Arc::new(AtomicU64::new(settings.orders.unwrap_or(u64::MAX)));
        let beginning = Instant::now();
        let end = beginning + duration;
        let mut workers = JoinSet::new();
        for _ in 0..settings.in_flight {
            let (load, tally, budget) = (self.clone(), tally.clone(), budget.clone());
            workers.spawn(async move {
                let more = || budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                while Instant::now() < end && more().is_ok() {
                    load.one(Instant::now(), end, &tally).await;
                }
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.context("a worker ended")?;
        }
        let tally = lock(&tally).clone();
        Ok((tally, duration.min(beginning.elapsed())))
    }

    /// One order from its start to its end.
    async fn one(&self, intended: Instant, end: Instant, tally: &Mutex<Tally>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        let ended = follow(&self.plan, &self.connections, number).await;
        lock(tally).add(intended, sent, end, &ended);
    }
}

/// A tally is only added to: one that a panic interrupted is still the best there is.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
