//! What clients do during a campaign: an open loop of stories, drawn from the seed, and probes that notice when a
//! partition does not answer.
//!
//! Always: story `n` is the same for the same seed; a story that would be one too many in flight is counted, not queued;
//! each order, request and added quantity is used by one story only.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::calls::{Clients, Done};
use super::history::{Body, Bound, Call};
use crate::arrivals::{Arrivals, Draw, Gaps};

/// Products with much stock, with little, and without.
const WIDE: u64 = 12;
const TIGHT: u64 = 4;
const MADE: u64 = 2;
/// Customers, none with a credit limit.
const CUSTOMERS: u64 = 40;
const WIDE_STOCK: i64 = 1_000_000;
const TIGHT_STOCK: i64 = 40;
/// Sessions; each keeps to one instance, unless it has no answer from there.
const SESSIONS: u64 = 24;
/// Sessions of the probes, the set-up and the last reads, apart from those of the stories.
const PROBES: u64 = 1_000;
const DESK: u64 = 2_000;
/// Orders that later stories look at again.
const RECENT: usize = 256;
/// Deadline of calls. Longer than an instance is stopped for, so that calls wait in front of it meanwhile.
const TIMEOUT: Duration = Duration::from_secs(12);
/// Deadline of one try of a probe, which then asks another instance.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Tries of a write whose end is unknown, all under one request id.
const TRIES: u64 = 4;
const PAUSE: Duration = Duration::from_millis(150);
/// Last reads at a time.
const DESKS: usize = 48;

/// What the stories share.
#[derive(Debug)]
pub struct Workload {
    clients: Clients,
    seed: u64,
    stop: AtomicBool,
    missed: AtomicU64,
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    recent: Vec<String>,
    all: Vec<String>,
    over: HashSet<String>,
}

impl Workload {
    /// Stories of this seed.
    pub fn new(clients: Clients, seed: u64) -> Arc<Self> {
        let (stop, missed) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { clients, seed, stop, missed, orders: Mutex::default() })
    }

    /// Creates the products and one order in each of `partitions` partitions, and returns those orders by partition.
    ///
    /// # Errors
    /// When the mesh does not take them within `patience`.
    pub async fn set_up(&self, partitions: u32, patience: Duration) -> anyhow::Result<HashMap<i32, String>> {
        let deadline = Instant::now() + patience;
        let products = (0..WIDE).map(|n| (format!("p-{n}"), Some(WIDE_STOCK)));
        let products = products.chain((0..TIGHT).map(|n| (format!("t-{n}"), Some(TIGHT_STOCK))));
        for (product_id, stock) in products.chain((0..MADE).map(|n| (format!("m-{n}"), None))) {
            self.insist(deadline, &Call::SetUp { product_id, stock }).await?;
        }
        for n in 0..CUSTOMERS {
            let mut gateway = 0;
            while let Err(status) = self.clients.add_customer(gateway, &format!("c-{n}"), Duration::from_secs(5)).await
            {
                anyhow::ensure!(Instant::now() < deadline, "the mesh does not take customers: {}", status.message());
                gateway += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        let mut probes = HashMap::new();
        for n in 0.. {
            if probes.len() >= partitions as usize {
                break;
            }
            let order_id = format!("probe-{n}");
            let lines = vec![("p-0".to_owned(), 1)];
            let call = create(&order_id, n, lines);
            self.know(&order_id);
            let done = self.insist(deadline, &call).await?;
            if let Ok((answer, _)) = &done.end
                && let Some(served) = &answer.served_by
            {
                probes.entry(served.partition).or_insert(order_id);
            }
        }
        Ok(probes)
    }

    async fn insist(&self, deadline: Instant, call: &Call) -> anyhow::Result<Done> {
        for gateway in 0.. {
            let done = self.clients.call(DESK, gateway, call, "", Duration::from_secs(5)).await;
            if done.end.is_ok() {
                return Ok(done);
            }
            anyhow::ensure!(Instant::now() < deadline, "the mesh does not take {call:?}");
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("the loop has no end")
    }

    /// Starts `rate` stories a second until [`Workload::stop`], at most `in_flight_max` at a time; then waits for them.
    pub async fn run(self: Arc<Self>, rate: f64, in_flight_max: usize) {
        let begin = tokio::time::Instant::now();
        let mut running = JoinSet::new();
        for (n, at) in (0..).zip(Arrivals::new(rate, Gaps::Poisson, self.seed)) {
            tokio::time::sleep_until(begin + at).await;
            while running.try_join_next().is_some() {}
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if running.len() >= in_flight_max {
                self.missed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let workload = Arc::clone(&self);
            running.spawn(async move { workload.story(n).await });
        }
        while running.join_next().await.is_some() {}
    }

    /// Asks for one order every `interval` until [`Workload::stop`], at one instance after the other until one answers.
    /// Probes do not wait for each other.
    pub async fn probe(self: Arc<Self>, partition: i32, order_id: String, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        let mut running = JoinSet::new();
        for n in partition.unsigned_abs() as usize.. {
            ticks.tick().await;
            while running.try_join_next().is_some() {}
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if running.len() >= 64 {
                continue;
            }
            let (clients, order_id) = (self.clients.clone(), order_id.clone());
            let session = PROBES + u64::from(partition.unsigned_abs());
            running.spawn(async move {
                let call = Call::Get { order_id, bound: Bound::Strong };
                for gateway in n..n + clients.gateways() {
                    if clients.call(session, gateway, &call, "", PROBE_TIMEOUT).await.end.is_ok() {
                        return;
                    }
                }
            });
        }
        while running.join_next().await.is_some() {}
    }

    /// No new stories and probes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stories that were not begun, for too many others were in flight.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Waits until every order is over, at most for `patience`; then reads every order and every product once more.
    pub async fn last_reads(self: &Arc<Self>, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (all, open) = {
            let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let open = orders.all.iter().filter(|order_id| !orders.over.contains(*order_id)).cloned();
            (orders.all.clone(), open.collect::<Vec<_>>())
        };
        self.each(open, Bound::UntilOver, deadline).await;
        let late = Instant::now().max(deadline) + Duration::from_secs(30);
        self.each(all, Bound::Strong, late).await;
        for n in 0..WIDE + TIGHT {
            let product_id = if n < WIDE { format!("p-{n}") } else { format!("t-{}", n - WIDE) };
            let call = Call::GetProduct { product_id, bound: Bound::Strong };
            // Without an answer the product is not judged; the reads before show whether the mesh answers at all.
            let _ = self.insist(late, &call).await;
        }
    }

    async fn each(self: &Arc<Self>, order_ids: Vec<String>, bound: Bound, deadline: Instant) {
        let mut running = JoinSet::new();
        for (gateway, order_id) in order_ids.into_iter().enumerate() {
            if running.len() >= DESKS {
                running.join_next().await;
            }
            let workload = Arc::clone(self);
            running.spawn(async move { workload.last_read(gateway, order_id, bound, deadline).await });
        }
        while running.join_next().await.is_some() {}
    }

    async fn last_read(&self, gateway: usize, order_id: String, bound: Bound, deadline: Instant) {
        for gateway in gateway.. {
            // An order that never came to be is never over.
            let call = Call::Get { order_id: order_id.clone(), bound: Bound::Strong };
            let done = self.clients.call(DESK, gateway, &call, "", Duration::from_secs(5)).await;
            match done.body() {
                Some(Body::Order { state, .. }) if bound == Bound::Strong || state.is_final() => return,
                Some(Body::Absent) => return,
                Some(_) => {
                    let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(10));
                    let call = Call::Get { order_id: order_id.clone(), bound };
                    if self.clients.call(DESK, gateway, &call, "", left).await.end.is_ok() {
                        return;
                    }
                }
                None => tokio::time::sleep(PAUSE).await,
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    async fn story(&self, n: u64) {
        let mut draw = Draw::new(self.seed, n);
        let session = n % SESSIONS;
        let home = usize::try_from(session).unwrap_or(0);
        let elsewhere = home + 1 + usize::try_from(draw.below(2)).unwrap_or(0);
        match draw.below(100) {
            0..50 => self.order(n, session, home, elsewhere, &mut draw).await,
            50..62 => {
                let product_id = product(&mut draw);
                self.one(session, home, Call::GetProduct { product_id, bound: Bound::Strong }).await;
            }
            62..70 => {
                let product_id = format!("p-{}", draw.below(WIDE));
                let (quantity, request_id) = (i64::try_from(n).unwrap_or(0) + 1, format!("add-{n}"));
                self.write(session, home, &Call::AddStock { product_id, quantity, request_id }).await;
            }
            70..96 => {
                let Some(order_id) = self.recent(&mut draw) else { return };
                let bound = if draw.below(5) == 0 { Bound::Eventual } else { Bound::Strong };
                self.one(session, elsewhere, Call::Get { order_id, bound }).await;
            }
            // Without lines: refused.
            _ => self.one(session, home, create(&format!("refused-{n}"), n, Vec::new())).await,
        }
    }

    /// An order from its creation to its end, or as far as its client cares.
    async fn order(&self, n: u64, session: u64, home: usize, elsewhere: usize, draw: &mut Draw) {
        let order_id = format!("o-{n}");
        let call = create(&order_id, n, lines(draw));
        self.know(&order_id);
        let Some(done) = self.write(session, home, &call).await else { return };
        let Ok((_, token)) = &done.end else { return };
        self.remember(&order_id);
        if draw.below(100) < 15 {
            self.clients.call(session, elsewhere, &call, "", TIMEOUT).await;
        }
        if draw.below(100) < 35 {
            let call = Call::Get { order_id: order_id.clone(), bound: Bound::AtLeast(done.op) };
            self.clients.call(session, elsewhere, &call, token, TIMEOUT).await;
        }
        if draw.below(100) < 25 {
            self.one(session, elsewhere, Call::Get { order_id: order_id.clone(), bound: Bound::Strong }).await;
        }
        if draw.below(100) < 15 {
            let request_id = format!("cancel-{n}");
            self.write(session, home, &Call::Cancel { order_id: order_id.clone(), request_id }).await;
        }
        if draw.below(100) < 40 {
            self.one(session, elsewhere, Call::Get { order_id, bound: Bound::UntilOver }).await;
        }
    }

    /// A write, under one request id until its end is known or it was tried often enough.
    async fn write(&self, session: u64, home: usize, call: &Call) -> Option<Done> {
        for attempt in 0..TRIES {
            let gateway = home + usize::try_from(attempt).unwrap_or(0);
            let done = self.clients.call(session, gateway, call, "", TIMEOUT).await;
            self.is_over(call, &done);
            if !done.is_unknown() {
                return Some(done);
            }
            tokio::time::sleep(PAUSE * u32::try_from(attempt + 1).unwrap_or(1)).await;
        }
        None
    }

    async fn one(&self, session: u64, gateway: usize, call: Call) {
        let done = self.clients.call(session, gateway, &call, "", TIMEOUT).await;
        self.is_over(&call, &done);
    }

    fn is_over(&self, call: &Call, done: &Done) {
        let (Call::Get { order_id, .. } | Call::Cancel { order_id, .. }) = call else { return };
        if matches!(done.body(), Some(Body::Order { state, .. }) if state.is_final()) {
            self.orders.lock().unwrap_or_else(PoisonError::into_inner).over.insert(order_id.clone());
        }
    }

    /// Notes an order before it is created: the last reads ask for it whatever becomes of the call.
    fn know(&self, order_id: &str) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).all.push(order_id.to_owned());
    }

    fn remember(&self, order_id: &str) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.recent.len() >= RECENT {
            orders.recent.remove(0);
        }
        orders.recent.push(order_id.to_owned());
    }

    fn recent(&self, draw: &mut Draw) -> Option<String> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(draw.below(orders.recent.len() as u64)).ok()?;
        orders.recent.get(at).cloned()
    }
}

fn create(order_id: &str, n: u64, lines: Vec<(String, i64)>) -> Call {
    let (customer_id, request_id) = (format!("c-{}", n % CUSTOMERS), format!("create-{order_id}"));
    Call::Create { order_id: order_id.to_owned(), customer_id, lines, request_id }
}

/// One to three lines: mostly of what there is plenty of, at times of what runs out or has to be made.
fn lines(draw: &mut Draw) -> Vec<(String, i64)> {
    let count = 1 + draw.below(3);
    (0..count).map(|_| (product(draw), 1 + i64::try_from(draw.below(3)).unwrap_or(0))).collect()
}

fn product(draw: &mut Draw) -> String {
    match draw.below(20) {
        0 => format!("t-{}", draw.below(TIGHT)),
        1 | 2 => format!("m-{}", draw.below(MADE)),
        _ => format!("p-{}", draw.below(WIDE)),
    }
}
