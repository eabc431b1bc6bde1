//! Customers and clerks: they order, cancel, pay, report what was made, look how things are, and remember what they were told.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use event_log::partition_for_key;
use proto::common::v1::Money;
use proto::manufacturing::v1::manufacturing_service_client::ManufacturingServiceClient;
use proto::manufacturing::v1::{GetWorkOrderRequest, ReportManufacturedRequest};
use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, GetOrderRequest, Order, OrderLine, OrderRow, OrderState, WaitFor,
};
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::payments::v1::{Payment, RecordPaymentRequest};
use testkit::simulation::Dice;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::desk::{Desk, Try};
use crate::keeper::{FROM_STOCK, MADE_TO_ORDER, customers, euros};
use crate::laws::{self, is_final};
use crate::rows::ORDERS;
use crate::shop::World;
use crate::watcher;

/// How long after the faults an order may take (I4).
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// An order of this client, and what it knows of it.
struct Own {
    order: Order,
    token: String,
    /// The highest version that this client has seen.
    version: u64,
}

pub(crate) struct Client {
    desk: Desk,
    id: usize,
    done: u64,
    own: BTreeMap<String, Own>,
    watches: Vec<JoinHandle<()>>,
}

impl Client {
    pub(crate) fn new(world: &Rc<World>, id: usize, dice: Dice) -> Self {
        Self { desk: Desk::new(world, dice), id, done: 0, own: BTreeMap::new(), watches: Vec::new() }
    }

    pub(crate) async fn run(mut self) {
        for _ in 0..self.desk.world.shared.profile.operations {
            self.desk.pause(0, 350).await;
            self.done += 1;
            match self.desk.dice.below(100) {
                0..40 => self.order().await,
                40..47 => self.order_something_else().await,
                47..60 => self.cancel().await,
                60..78 => self.pay().await,
                78..86 => self.report().await,
                _ => self.look().await,
            }
        }
        self.finish().await;
        for watch in std::mem::take(&mut self.watches) {
            // One that panicked is found by the harness.
            watch.await.unwrap();
        }
    }

    fn any_own(&mut self) -> Option<String> {
        let index = self.desk.dice.index(self.own.len());
        self.own.keys().nth(index).cloned()
    }

    fn draw_order(&mut self) -> Order {
        let dice = &mut self.desk.dice;
        let lines = (0..dice.range(1, 3)).map(|_| {
            let product_id = match dice.below(100) {
                0..70 => dice.pick(&FROM_STOCK),
                70..96 => dice.pick(&MADE_TO_ORDER),
                _ => "unheard-of",
            };
            let quantity = if dice.permille(40) { 0 } else { i64::try_from(dice.range(1, 4)).unwrap() };
            let unit_price = if dice.permille(30) {
                Money { currency_code: "USD".to_owned(), minor_units: 700 }
            } else {
                euros(i64::try_from(dice.range(0, 40)).unwrap() * 100)
            };
            OrderLine { product_id: product_id.to_owned(), quantity, unit_price: Some(unit_price) }
        });
        let lines = lines.collect();
        let customer_id = if dice.permille(60) { "nobody" } else { dice.pick(&customers()) };
        let order_id = format!("o-{}-{}", self.id, self.done);
        Order { order_id, customer_id: customer_id.to_owned(), lines, ..Order::default() }
    }

    async fn order(&mut self) {
        let order = self.draw_order();
        let order_id = order.order_id.clone();
        self.desk.history(|history| history.sent.insert(order_id.clone(), order.clone()));
        // The id of the order alone makes repeats harmless, too.
        let request_id = if self.desk.dice.permille(700) { format!("create-{order_id}") } else { String::new() };
        let wait_for = self.desk.dice.pick(&[WaitFor::Unspecified, WaitFor::Unspecified, WaitFor::Validated]);
        let request = CreateOrderRequest { order: Some(order.clone()), request_id, wait_for: wait_for.into() };
        let repeats = if self.desk.dice.permille(200) { 2 } else { 1 };
        for _ in 0..repeats {
            match self.desk.insist(orders::SERVICE, &order_id, request.clone(), create).await {
                Ok(response) => {
                    let told = response.order.unwrap_or_default();
                    if wait_for == WaitFor::Validated && told.state() == OrderState::Created {
                        self.desk
                            .broken("I6 waits", format!("{order_id} was to be validated, and is {:?}", told.state()));
                    }
                    self.acknowledged(&order, &told);
                    let version = version(&told);
                    let own = Own { order: order.clone(), token: response.consistency_token, version };
                    self.own.insert(order_id.clone(), own);
                }
                Err(problem) => self.desk.broken("I14 right status", format!("{order_id} was refused: {problem:?}")),
            }
        }
        if self.desk.dice.permille(300) {
            let watch = watcher::watch(self.desk.fork(), order_id.clone());
            self.watches.push(spawn_local(watch));
        }
        if self.desk.dice.permille(300) {
            self.pay_for(&order_id).await;
        }
    }

    /// I8: whoever answers, what he says is counted in the log at that moment.
    fn acknowledged(&self, order: &Order, told: &Order) {
        self.desk.history(|history| {
            history.acknowledged.insert(order.order_id.clone());
        });
        self.told(told);
        if told.lines != order.lines || told.customer_id != order.customer_id {
            self.desk
                .broken("I1 acknowledged", format!("{} was answered with another order: {told:?}", order.order_id));
        }
    }

    /// Somebody was told this about an order.
    fn told(&self, told: &Order) {
        self.desk.world.shared.note(format_args!("c{} {} is {:?} {}", self.id, told.order_id, told.state(), told.etag));
        let version = version(told);
        self.desk.history(|history| {
            let highest = history.told.entry(told.order_id.clone()).or_default();
            *highest = (*highest).max(version);
        });
        let verdict = self.desk.world.shared.oracle(|oracle| {
            let task = oracle.scenario.services.iter().position(|name| *name == orders::SERVICE).unwrap();
            let partition = partition_for_key(told.order_id.as_bytes(), self.desk.world.shared.topology.partitions);
            let judged = oracle.judges((task, partition)) && !oracle.has_lost;
            let row: Option<OrderRow> = ORDERS.row(oracle, &told.order_id);
            if judged { laws::i8_only_what_counts_is_told(told, version, row.as_ref()) } else { Ok(()) }
        });
        self.desk.world.shared.check(verdict);
    }

    /// Another order under an id that is taken, and another request under an id that was used.
    async fn order_something_else(&mut self) {
        let Some(order_id) = self.any_own() else { return };
        let mut order = self.own[&order_id].order.clone();
        order.lines[0].quantity += 1;
        let reused = self.desk.dice.permille(500);
        let request_id = if reused { format!("create-{order_id}") } else { String::new() };
        let request = CreateOrderRequest { order: Some(order), request_id, ..CreateOrderRequest::default() };
        match self.desk.insist(orders::SERVICE, &order_id, request, create).await {
            Err(problem) if matches!(&*problem.reason, "ORDER_EXISTS" | "REQUEST_ID_REUSED") => {}
            other => self.desk.broken("I1 acknowledged", format!("another {order_id} was answered with {other:?}")),
        }
    }

    async fn cancel(&mut self) {
        let Some(order_id) = self.any_own() else { return };
        let request = CancelOrderRequest {
            order_id: order_id.clone(),
            request_id: format!("cancel-{order_id}-{}", self.done),
            ..CancelOrderRequest::default()
        };
        let cancelled = self.desk.insist(orders::SERVICE, &order_id, request, async |server, request| {
            let orders = orders::server(server.owner, &server.watches, &server.config.orders);
            OrderServiceClient::new(orders).cancel_order(request).await
        });
        match cancelled.await {
            Ok(response) => {
                let told = response.order.unwrap_or_default();
                self.told(&told);
                if told.state() != OrderState::Cancelled {
                    self.desk.broken("I12 transitions", format!("{order_id} was cancelled, and is {:?}", told.state()));
                }
                self.desk.history(|history| history.cancelled.insert(order_id));
            }
            Err(problem) if problem.reason == "ILLEGAL_TRANSITION" => {}
            Err(problem) => self.desk.broken("I14 right status", format!("a cancel was refused: {problem:?}")),
        }
    }

    /// Pays for an order of its own, or for the one that it will send next.
    async fn pay(&mut self) {
        let order_id = if self.desk.dice.permille(150) {
            format!("o-{}-{}", self.id, self.done + 1)
        } else {
            let Some(order_id) = self.any_own() else { return };
            order_id
        };
        self.pay_for(&order_id).await;
    }

    async fn pay_for(&mut self, order_id: &str) {
        let total = self.own.get(order_id).map_or(2_000, |own| total(&own.order));
        let dice = &mut self.desk.dice;
        let minor_units = dice.pick(&[total, total, total / 2, total + 500]).max(1);
        let currency_code = if dice.permille(80) { "USD" } else { "EUR" }.to_owned();
        let payment_id = format!("p-{}-{}-{}", self.id, self.done, dice.below(2));
        let times = if dice.permille(300) { 2 } else { 1 };
        for time in 0..times {
            let amount = Money { currency_code: currency_code.clone(), minor_units };
            let payment = Payment {
                payment_id: payment_id.clone(),
                order_id: order_id.to_owned(),
                amount: Some(amount),
                ..Payment::default()
            };
            // The second is another request for the same payment.
            let request_id = format!("pay-{payment_id}-{order_id}-{time}");
            let request = RecordPaymentRequest { payment: Some(payment), request_id };
            let recorded = self.desk.insist(payments::SERVICE, order_id, request, async |server, request| {
                PaymentServiceClient::new(payments::server(server.owner)).record_payment(request).await
            });
            match recorded.await {
                Ok(_) => self.desk.history(|history| {
                    let key = (order_id.to_owned(), payment_id.clone());
                    history.payments.insert(key, (minor_units, currency_code.clone()));
                }),
                Err(problem)
                    if matches!(&*problem.reason, "CURRENCY_MISMATCH" | "ORDER_HAS_NO_TOTAL" | "PAYMENT_EXISTS") => {}
                Err(problem) => self.desk.broken("I14 right status", format!("a payment was refused: {problem:?}")),
            }
        }
    }

    /// Reports something as made, whether it was ordered or not.
    async fn report(&mut self) {
        let Some(order_id) = self.any_own() else { return };
        let (product, quantity) = (self.desk.dice.pick(&MADE_TO_ORDER), self.desk.dice.range(1, 2));
        let request_id = format!("made-{}-{}", self.id, self.done);
        self.made(&order_id, product, i64::try_from(quantity).unwrap(), request_id).await;
    }

    async fn made(&mut self, order_id: &str, product_id: &str, quantity: i64, request_id: String) {
        let (order_id, product_id) = (order_id.to_owned(), product_id.to_owned());
        let request = ReportManufacturedRequest { order_id: order_id.clone(), product_id, quantity, request_id };
        let reported = self.desk.insist(manufacturing::SERVICE, &order_id, request, async |server, request| {
            let works = manufacturing::server(server.owner, &server.config.manufacturing);
            ManufacturingServiceClient::new(works).report_manufactured(request).await
        });
        // That it is more than needed, or for an order without it, is for the workshop to know.
        drop(reported.await);
    }

    /// I6 and I7: what was written is read, and what was read once is not unread.
    async fn look(&mut self) {
        let Some(order_id) = self.any_own() else { return };
        let own = &self.own[&order_id];
        let bound = self.desk.dice.permille(500).then(|| Bound::AtLeast(own.token.clone()));
        let by_token = bound.is_some();
        let known = self.desk.history(|history| history.told.get(&order_id).copied().unwrap_or(0));
        let (floor, law) = match &bound {
            Some(_) => (own.version, "I6 read-your-writes"),
            None => (own.version.max(known), "I7 monotonic reads"),
        };
        let request = GetOrderRequest {
            order_id: order_id.clone(),
            consistency: Some(ReadConsistency { bound }),
            ..GetOrderRequest::default()
        };
        let answer = self.desk.ask(orders::SERVICE, &order_id, async |server| get(server, request).await).await;
        match answer {
            Try::Answered(response) => {
                let told = response.order.unwrap_or_default();
                self.told(&told);
                let version = version(&told);
                if version < floor {
                    self.desk
                        .broken(law, format!("{order_id} was known as of version {floor}, and read as of {version}"));
                }
                let own = self.own.get_mut(&order_id).unwrap();
                // A read by token may be of a process that is behind the last strong read, and says so by its token alone.
                if !by_token {
                    own.version = own.version.max(version);
                }
            }
            Try::Refused(problem) => {
                self.desk.broken("I1 acknowledged", format!("{order_id} cannot be read: {problem:?}"))
            }
            Try::Unknown => {}
        }
    }

    /// Sees to it that every order of its own comes to an end, within its time (I4).
    async fn finish(&mut self) {
        let mut healed = None;
        for order_id in self.own.keys().cloned().collect::<Vec<_>>() {
            let mut round = 0;
            loop {
                let request = GetOrderRequest { order_id: order_id.clone(), ..GetOrderRequest::default() };
                let Ok(response) = self.desk.insist(orders::SERVICE, &order_id, request, get).await else { break };
                let order = response.order.unwrap_or_default();
                if is_final(order.state()) {
                    break;
                }
                if order.state() == OrderState::InManufacturing {
                    self.make_what_is_missing(&order_id, round).await;
                }
                if !self.desk.world.shared.is_faulty()
                    && *healed.get_or_insert_with(Instant::now) + OVER_WITHIN < Instant::now()
                {
                    let detail = format!("{order_id} is still {:?} {OVER_WITHIN:?} after the faults", order.state());
                    return self.desk.broken("I4 every order ends", detail);
                }
                round += 1;
                self.desk.pause(50, 300).await;
            }
        }
    }

    async fn make_what_is_missing(&mut self, order_id: &str, round: u64) {
        let request = GetWorkOrderRequest { order_id: order_id.to_owned(), ..GetWorkOrderRequest::default() };
        let found = self.desk.ask(manufacturing::SERVICE, order_id, async |server| {
            let works = manufacturing::server(server.owner, &server.config.manufacturing);
            ManufacturingServiceClient::new(works).get_work_order(request).await
        });
        let Try::Answered(response) = found.await else { return };
        for item in response.work_order.unwrap_or_default().items {
            if item.manufactured < item.quantity {
                let request_id = format!("finish-{order_id}-{}-{round}", item.product_id);
                self.made(order_id, &item.product_id, item.quantity - item.manufactured, request_id).await;
            }
        }
    }
}

async fn create(
    server: crate::desk::Server,
    request: CreateOrderRequest,
) -> Result<tonic::Response<proto::orders::v1::CreateOrderResponse>, tonic::Status> {
    let orders = orders::server(server.owner, &server.watches, &server.config.orders);
    OrderServiceClient::new(orders).create_order(request).await
}

async fn get(
    server: crate::desk::Server,
    request: GetOrderRequest,
) -> Result<tonic::Response<proto::orders::v1::GetOrderResponse>, tonic::Status> {
    let orders = orders::server(server.owner, &server.watches, &server.config.orders);
    OrderServiceClient::new(orders).get_order(request).await
}

/// The version that an etag says.
pub(crate) fn version(order: &Order) -> u64 {
    order.etag.parse().unwrap_or(0)
}

/// What an order costs in euros; nothing that is no amount.
fn total(order: &Order) -> i64 {
    let price = |line: &OrderLine| line.unit_price.as_ref().map_or(0, |price| price.minor_units);
    order.lines.iter().map(|line| line.quantity * price(line)).sum()
}
