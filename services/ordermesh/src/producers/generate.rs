//! `ordermesh generate`: a made-up day of business for demonstrations and endurance runs. Customers come and go, order a few
//! things, mostly pay, now and then pay too little, and sometimes think better of it.
//!
//! The rate is that of the intended starts: a mesh that is slow is not asked more slowly until `--in-flight` orders are
//! under way. Everything follows from the seed, the names and request ids too, so that the same run again changes nothing.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use proto::common::v1::Money;
use proto::customers::v1::{CreateCustomerRequest, CreateCustomerResponse};
use proto::inventory::v1::{
    AddStockRequest, AddStockResponse, Fulfilment, UpsertProductRequest, UpsertProductResponse,
};
use proto::orders::v1::{CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse};
use proto::payments::v1::{Payment, RecordPaymentRequest, RecordPaymentResponse};
use serde_json::json;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::client::{Client, Connection, Failure};
use super::order;
use super::output::{note, say, table};
use plan::{Plan, Wish};

const UPSERT: &str = "ordermesh.inventory.v1.InventoryService/UpsertProduct";
const ADD_STOCK: &str = "ordermesh.inventory.v1.InventoryService/AddStock";
const CREATE_CUSTOMER: &str = "ordermesh.customers.v1.CustomerService/CreateCustomer";
const RECORD_PAYMENT: &str = "ordermesh.payments.v1.PaymentService/RecordPayment";

/// Pieces of each product from stock that a run brings along: more than any run can sell.
const STOCK: i64 = 100_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    connection: Connection,
    /// Orders in a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long, such as 30s or 2h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Which run it is: the same again makes the same orders under the same names [default: drawn]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Customers that order at a time
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    customers: u32,
    /// Most orders that are under way at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
}

/// What came of a run, or of one order.
#[derive(Debug, Default)]
struct Tally {
    customers: u64,
    orders: u64,
    payments: u64,
    cancelled: u64,
    /// Cancels that came too late, which is no failure.
    too_late: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.customers += other.customers;
        self.orders += other.orders;
        self.payments += other.payments;
        self.cancelled += other.cancelled;
        self.too_late += other.too_late;
        self.failed += other.failed;
        if self.first_failure.is_none() {
            self.first_failure = other.first_failure;
        }
    }

    fn writes(&self) -> u64 {
        self.customers + self.orders + self.payments + self.cancelled + self.too_late + self.failed
    }

    fn fail(&mut self, failure: &Failure) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| failure.to_string());
    }
}

impl Generate {
    /// Runs until the time is over or Ctrl-C, and tells what came of it.
    ///
    /// # Errors
    /// The mesh cannot be reached, or a write failed.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let seed = self.seed.unwrap_or_else(rand::random);
        let mut client = Client::connect(self.connection.clone()).await?;
        let mut plan = Plan::new(seed, self.customers);
        stock_up(&mut client, seed).await?;
        note(format_args!("ordermesh: {} orders/s for {:?}, seed {seed}", self.rate, self.duration));
        let begin = Instant::now();
        let mut tally = self.orders(&client, &mut plan).await;
        let seconds = begin.elapsed().as_secs_f64();
        let first_failure = tally.first_failure.take();
        if client.wants_json() {
            let summary = json!({
                "seed": seed, "seconds": seconds, "customers": tally.customers, "orders": tally.orders,
                "payments": tally.payments, "cancelled": tally.cancelled, "cancelledTooLate": tally.too_late,
                "failed": tally.failed,
            });
            say(format_args!("{summary:#}"));
        } else {
            let heading = ["SECONDS", "CUSTOMERS", "ORDERS", "PAYMENTS", "CANCELLED", "TOO LATE", "FAILED"];
            let counts = [tally.customers, tally.orders, tally.payments, tally.cancelled, tally.too_late, tally.failed];
            let mut row = vec![format!("{seconds:.1}")];
            row.extend(counts.iter().map(u64::to_string));
            let row: [String; 7] = row.try_into().expect("a number of seconds and six counts are seven cells");
            say(table(heading, &[row]));
        }
        match first_failure {
            Some(first) => Err(Failure::Some { failed: tally.failed, all: tally.writes(), first }),
            None => Ok(()),
        }
    }

    /// Starts one order at each tick, and waits for those that are under way in the end.
    async fn orders(&self, client: &Client, plan: &mut Plan) -> Tally {
        let mut tally = Tally::default();
        let places = Arc::new(Semaphore::new(self.in_flight as usize));
        let mut known: Vec<Known> = (0..self.customers).map(|_| Known::default()).collect();
        let mut under_way = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = tokio::time::sleep(self.duration);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(end, interrupted);
        loop {
            tokio::select! {
                biased;
                _ = &mut interrupted => break,
                () = &mut end => break,
                Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                    tally.add(done.unwrap_or_default());
                }
                place = next(&mut ticks, &places) => {
                    let Some(place) = place else { break };
                    let (wish, mut client) = (plan.next(), client.clone());
                    if wish.is_new_customer {
                        known[wish.chair] = Known::default();
                    }
                    let known = known[wish.chair].clone();
                    under_way.spawn(async move {
                        let done = carry_out(&mut client, &known, wish).await;
                        drop(place);
                        done
                    });
                }
            }
        }
        while let Some(done) = under_way.join_next().await {
            tally.add(done.unwrap_or_default());
        }
        tally
    }
}

/// Whether a customer has been created. Whoever orders first sees to it, and the others wait: an order of a customer whom
/// nobody knows yet would be rejected.
type Known = Arc<OnceCell<()>>;

/// Returns when the next order is due and has a place.
async fn next(ticks: &mut tokio::time::Interval, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // The place first: a tick that was taken and then dropped by `select!` would be an order that nobody makes.
    let place = places.clone().acquire_owned().await.ok()?;
    ticks.tick().await;
    Some(place)
}

/// Products to sell, and enough of them.
async fn stock_up(client: &mut Client, seed: u32) -> Result<(), Failure> {
    for product in plan::products() {
        let product_id = product.product_id.clone();
        let is_from_stock = product.fulfilment() == Fulfilment::FromStock;
        let request_id = format!("gen-{seed}-{product_id}");
        let request = UpsertProductRequest { product: Some(product), request_id: request_id.clone() };
        client.write::<UpsertProductResponse>(UPSERT, request_id, request).await?;
        if is_from_stock {
            let request_id = format!("gen-{seed}-stock-{product_id}");
            let request =
                AddStockRequest { product_id, quantity: STOCK, request_id: request_id.clone(), ..Default::default() };
            client.write::<AddStockResponse>(ADD_STOCK, request_id, request).await?;
        }
    }
    Ok(())
}

/// Does one thing after the other; what builds on a failure is left out.
async fn carry_out(client: &mut Client, known: &Known, wish: Wish) -> Tally {
    let mut tally = Tally::default();
    if let Err(failure) = attempt(client, known, wish, &mut tally).await {
        tally.fail(&failure);
    }
    tally
}

async fn attempt(client: &mut Client, known: &Known, wish: Wish, tally: &mut Tally) -> Result<(), Failure> {
    let Wish { name, customer, order, pays, cancels, .. } = wish;
    let create = async || -> Result<(), Failure> {
        let request_id = format!("{}-new", customer.customer_id);
        let request = CreateCustomerRequest { customer: Some(customer), request_id: request_id.clone() };
        client.clone().write::<CreateCustomerResponse>(CREATE_CUSTOMER, request_id, request).await?;
        tally.customers += 1;
        Ok(())
    };
    known.get_or_try_init(create).await?;
    let request = CreateOrderRequest { order: Some(order), request_id: name.clone(), wait_for: 0 };
    client.write::<CreateOrderResponse>(order::CREATE, name.clone(), request).await?;
    tally.orders += 1;
    for (part, minor_units) in pays.into_iter().enumerate() {
        let payment_id = format!("{name}-{part}");
        let amount = Some(Money { currency_code: plan::CURRENCY.to_owned(), minor_units });
        let payment = Payment { payment_id: payment_id.clone(), order_id: name.clone(), amount, ..Default::default() };
        let request = RecordPaymentRequest { payment: Some(payment), request_id: payment_id.clone() };
        client.write::<RecordPaymentResponse>(RECORD_PAYMENT, payment_id, request).await?;
        tally.payments += 1;
    }
    if cancels {
        let request_id = format!("{name}-cancel");
        let request = CancelOrderRequest { order_id: name, request_id: request_id.clone(), ..Default::default() };
        match client.write::<CancelOrderResponse>(order::CANCEL, request_id, request).await {
            Ok(_) => tally.cancelled += 1,
            Err(Failure::Refused(problem)) if problem.reason == "ILLEGAL_TRANSITION" => tally.too_late += 1,
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
