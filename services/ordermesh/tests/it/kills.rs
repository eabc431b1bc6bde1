//! Acceptance case 8: the process is killed with -9 between any two steps and started again. Every order ends, none twice, and
//! each check gives one verdict.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use embedded_broker::EmbeddedLog;
use event_log::{EventLog, FetchFrom, FetchLimits, Record, TopicPartition};
use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::orders::v1::{Order, OrderState, WaitFor};
use proto::shipping::v1::ShipmentState;
use proto::validation::v1::{Check, CheckVerdict, Outcome, Verdict};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use task_runtime::Source;
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::process::Process;
use crate::shop::{PATIENCE, Shop, eventually, named, order, outcomes, priced, reason};

/// Orders of a run. Every third call on the way comes with a kill, on average.
const ORDERS: usize = 40;
const STOCK: i64 = 1_000;

/// A mesh that dies now and then, and a client that does not give up.
struct Mortal {
    data: TempDir,
    process: Option<Process>,
    random: StdRng,
    kills: usize,
}

impl Mortal {
    fn new(seed: u64) -> Self {
        let data = tempfile::tempdir().unwrap();
        let process = Some(Process::start(data.path(), &[]));
        Self { data, process, random: StdRng::seed_from_u64(seed), kills: 0 }
    }

    fn shop(&self) -> Shop {
        Shop::new(self.process.as_ref().unwrap().channel())
    }

    fn die(&mut self) {
        self.process.take().unwrap().kill();
        self.kills += 1;
        self.process = Some(Process::start(self.data.path(), &[]));
    }

    /// Kills it while the call is under way, or not, and makes the call until it is answered.
    async fn insist<T, F: Future<Output = Result<T, Status>>>(
        &mut self,
        call: impl Fn(Shop) -> F,
    ) -> Result<T, Status> {
        if self.random.random_ratio(1, 3) {
            // A call takes a few milliseconds: the moments before, within and after it.
            let moment = Duration::from_micros(self.random.random_range(0..8_000));
            let answer = tokio::time::timeout(moment, call(self.shop())).await;
            // Answered or not: dead before anything else happens.
            self.die();
            match answer {
                Ok(Err(status)) if is_transport(&status) => {}
                Ok(answer) => return answer,
                Err(_) => {}
            }
        }
        let attempts = async {
            loop {
                match call(self.shop()).await {
                    Err(status) if is_transport(&status) => tokio::task::yield_now().await,
                    answer => return answer,
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempts).await.expect("the mesh answers again")
    }
}

/// Whether the call failed on its way, and may be made again.
fn is_transport(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}

/// What an order is made of: from stock, made to order, both, or above the fraud limit.
fn wanted(n: usize) -> Order {
    let customer = format!("c-{n}");
    let order = match n % 4 {
        0 => order(&customer, &[("jumpers", 1), ("underpants", 2)]),
        1 => order(&customer, &[("atlas", 2)]),
        2 => order(&customer, &[("jumpers", 3), ("atlas", 1)]),
        _ => priced(&customer, &[("jumpers", 2, 150_000)]),
    };
    named(&format!("o-{n}"), order)
}

fn pieces(order: &Order, product_id: &str) -> i64 {
    order.lines.iter().filter(|line| line.product_id == product_id).map(|line| line.quantity).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_ends_and_none_twice_whenever_the_process_is_killed() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut mortal = Mortal::new(seed);
    for product in ["jumpers", "underpants"] {
        mortal.insist(async |shop| shop.upsert(product, Fulfilment::FromStock).await).await.unwrap();
        mortal.insist(async |shop| shop.set_stock(product, STOCK).await).await.unwrap();
    }
    mortal.insist(async |shop| shop.upsert("atlas", Fulfilment::MadeToOrder).await).await.unwrap();

    for n in 0..ORDERS {
        let (order, request_id) = (wanted(n), format!("r-{n}"));
        let created = mortal.insist(async |shop| shop.create_as(order.clone(), &request_id).await).await.unwrap();
        assert_eq!(created.order_id, order.order_id);
        for piece in 0..pieces(&order, "atlas") {
            let request_id = format!("r-{n}-{piece}");
            mortal.insist(async |shop| shop.report(&order.order_id, "atlas", 1, &request_id).await).await.unwrap();
        }
    }
    mortal.die();
    check(&mortal.shop()).await;
    mortal.process.take().unwrap().kill();
    each_check_gave_one_verdict(mortal.data.path()).await;
    println!("{} kills", mortal.kills);
    assert!(mortal.kills > ORDERS / 8, "only {} kills", mortal.kills);
}

/// Everything has ended as it must, and the books balance.
async fn check(shop: &Shop) {
    let mut shipped: BTreeMap<&str, i64> = BTreeMap::new();
    for n in 0..ORDERS {
        let order = wanted(n);
        let ended = shop.wait(&order.order_id, WaitFor::Shipped).await.unwrap();
        let expected = if n % 4 == 3 { OrderState::Rejected } else { OrderState::Shipped };
        assert_eq!(ended.state(), expected, "{ended:?}");
        assert_eq!(ended.lines.len(), order.lines.len());

        let verdicts = eventually("every verdict", async || {
            let verdicts = shop.verdicts(&order.order_id).await;
            verdicts.missing.is_empty().then_some(verdicts)
        })
        .await;
        // One verdict of each check, and one for each line of INVENTORY: never the same twice.
        let fraud = if expected == OrderState::Rejected { Outcome::Fail } else { Outcome::Pass };
        assert_eq!(outcomes(&verdicts, Check::Details), [Outcome::Pass], "{verdicts:?}");
        assert_eq!(outcomes(&verdicts, Check::Fraud), [fraud], "{verdicts:?}");
        // Credit hears of an order's end on another topic than of its placing, and so perhaps before it.
        let ended_first = |verdict: &CheckVerdict| verdict.check() == Check::Credit && verdict.code == "ORDER_ENDED";
        let ended_first = fraud == Outcome::Fail && verdicts.verdicts.iter().any(ended_first);
        let credit = if ended_first { Outcome::Fail } else { Outcome::Pass };
        assert_eq!(outcomes(&verdicts, Check::Credit), [credit], "{verdicts:?}");
        assert_eq!(outcomes(&verdicts, Check::Inventory), vec![Outcome::Pass; order.lines.len()], "{verdicts:?}");

        // Nobody has paid: what was shipped holds its credit, and what was rejected holds none.
        let held = if expected == OrderState::Shipped { ended.total.as_ref().unwrap().minor_units } else { 0 };
        eventually("credit", async || (shop.credit(&order.customer_id).await.1 == held).then_some(())).await;

        if expected == OrderState::Shipped {
            assert_eq!(shop.shipment(&order.order_id).await.unwrap().state(), ShipmentState::Shipped);
            for product in ["jumpers", "underpants"] {
                *shipped.entry(product).or_default() += pieces(&order, product);
            }
            let again = shop.cancel(&order.order_id).await.unwrap_err();
            assert_eq!(reason(&again), "ILLEGAL_TRANSITION");
        }
    }
    assert_eq!(shop.all_orders().await.len(), ORDERS);
    for (product, gone) in shipped {
        let left = STOCK - gone;
        eventually(product, async || (shop.pieces(product).await == (left, 0, left)).then_some(())).await;
    }
}

/// Checks whose verdicts are records, with their topics. DETAILS is judged where verdicts are collected.
const VERDICTS: [(Check, &str); 3] = [
    (Check::Fraud, validation::topics::ORDER_VERDICTS),
    (Check::Inventory, inventory::topics::INVENTORY_VERDICTS),
    (Check::Credit, customers::topics::CREDIT_VERDICTS),
];

/// What the log of a process that is gone says: the API shows each verdict once, however often it was given.
async fn each_check_gave_one_verdict(data: &Path) {
    let log = EmbeddedLog::open(embedded_broker::Config::new(data.join("log"))).unwrap();
    let topics = log.topics().await.unwrap();
    for (check, topic) in VERDICTS {
        let topic = topics.iter().find(|spec| spec.name.as_str() == topic).unwrap();
        let mut given: BTreeMap<(String, u32), usize> = BTreeMap::new();
        for partition in 0..topic.partitions {
            let at = TopicPartition { topic: topic.name.clone(), partition };
            for record in taken(&log, at).await {
                let verdict = Verdict::decode(record.value.unwrap()).unwrap();
                assert_eq!(verdict.check(), check);
                *given.entry((verdict.order_id, verdict.line)).or_default() += 1;
            }
        }
        let lines = |n: usize| if check == Check::Inventory { wanted(n).lines.len() } else { 1 };
        let key = |n: usize, line: usize| (format!("o-{n}"), u32::try_from(line).unwrap());
        let once = (0..ORDERS).flat_map(|n| (0..lines(n)).map(move |line| (key(n, line), 1)));
        assert_eq!(given, once.collect(), "{check:?}");
    }
    log.close().await;
}

/// The records of a partition that a receiver takes: of each sender those whose number is the next one.
async fn taken(log: &EmbeddedLog, at: TopicPartition) -> Vec<Record> {
    let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::ZERO };
    let mut offset = log.earliest(&at).await.unwrap();
    let end = log.latest(&at).await.unwrap();
    let mut watermarks: BTreeMap<(String, u128), u64> = BTreeMap::new();
    let mut taken = Vec::new();
    while offset < end {
        let from = [FetchFrom { partition: at.clone(), offset }];
        for stored in log.fetch(&from, limits).await.unwrap().remove(0).result.unwrap().records {
            offset = stored.offset.next();
            let source = Source::of(&stored.record).unwrap();
            let watermark = watermarks.entry((source.task.to_owned(), source.incarnation)).or_default();
            if source.sequence == *watermark + 1 {
                *watermark += 1;
                taken.push(stored.record);
            }
        }
    }
    taken
}
