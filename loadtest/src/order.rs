//! One order as a client sees it: created, then awaited until it is validated. Which customer, product and quantity it
//! has follows from the seed and its number alone.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use proto::common::v1::Money;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{CreateOrderRequest, GetOrderRequest, Order, OrderLine, OrderState, WaitFor};
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::arrivals::Draw;

/// Customers of a run when nobody says how many: enough that hardly two orders of one are under way at a time.
pub const CUSTOMERS: u64 = 10_000;
/// Price of every piece in minor units, so low that no customer's session ever adds up to the fraud limit: with
/// 10,000 customers and at most three pieces a line, a run may have hundreds of millions of orders.
const UNIT_PRICE_MINOR: i64 = 1;
/// Longest text of an error that is kept apart from others.
const ERROR_CHARACTERS: usize = 100;

/// How an order is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// CreateOrder answers at once; GetOrder then waits for VALIDATED. Two calls.
    Get,
    /// CreateOrder itself waits for VALIDATED. One call.
    Create,
    /// CreateOrder answers at once, and that is all. One call.
    None,
}

/// What all orders of a run have in common.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How an order is awaited.
    pub wait: Wait,
    /// Deadline of each call.
    pub timeout: Duration,
    /// Lines of an order, each of another product where there are enough.
    pub lines: u64,
    /// Products `p-0`, `p-1`, ...
    pub products: u64,
    /// Customers `c-0`, `c-1`, ...
    pub customers: u64,
    /// Decides who orders what.
    pub seed: u64,
    /// Start of every order id; new for each run.
    pub prefix: String,
}

/// How an order ended, for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It exists, and nobody asked for more.
    Created,
    /// It is validated, or further.
    Validated,
    /// It is rejected or cancelled: an answer, but not the wanted one.
    Rejected,
    /// A call failed, or answered with a state that it should not have.
    Failed(String),
}

/// An order that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When CreateOrder answered; absent when it failed.
    pub acknowledged: Option<Instant>,
    /// When it ended.
    pub at: Instant,
    /// How.
    pub end: End,
}

/// Connections to one server. Each is an HTTP/2 connection of its own; orders take them in turn.
#[derive(Debug, Clone)]
pub struct Connections(Vec<OrderServiceClient<Channel>>);

impl Connections {
    /// Opens all of them.
    ///
    /// # Errors
    /// When the address is none, or nobody answers there.
    pub async fn open(address: &str, count: usize) -> anyhow::Result<Self> {
        let mut clients = Vec::with_capacity(count);
        for channel in channels(address, count).await? {
            clients.push(OrderServiceClient::new(channel));
        }
        Ok(Self(clients))
    }

    fn pick(&self, number: u64) -> OrderServiceClient<Channel> {
        let turn = usize::try_from(number % self.0.len() as u64).expect("below a length");
        self.0[turn].clone()
    }
}

/// Opens connections.
pub(crate) async fn channels(address: &str, count: usize) -> anyhow::Result<Vec<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(Duration::from_secs(5));
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let channel = endpoint.connect().await;
        channels.push(channel.map_err(|error| anyhow::anyhow!("nobody answers at {address}: {}", chain(&error)))?);
    }
    Ok(channels)
}

/// Sends order `number` and follows it to its end.
pub async fn follow(plan: &Plan, connections: &Connections, number: u64) -> Ended {
    let mut client = connections.pick(number);
    let wait_for = if plan.wait == Wait::Create { WaitFor::Validated } else { WaitFor::Unspecified };
    let order = draw(plan, number);
    let order_id = order.order_id.clone();
    let request = CreateOrderRequest { request_id: order_id.clone(), order: Some(order), wait_for: wait_for.into() };
    let created = match client.create_order(timed(plan, request)).await {
        Ok(created) => created.into_inner(),
        Err(status) => return Ended { acknowledged: None, at: Instant::now(), end: failed("CreateOrder", &status) },
    };
    let acknowledged = Instant::now();
    let order = match plan.wait {
        Wait::None => return Ended { acknowledged: Some(acknowledged), at: acknowledged, end: End::Created },
        Wait::Create => created.order,
        Wait::Get => {
            let request = GetOrderRequest { order_id, consistency: None, wait_for: WaitFor::Validated.into() };
            match client.get_order(timed(plan, request)).await {
                Ok(found) => found.into_inner().order,
                Err(status) => {
                    let end = failed("GetOrder", &status);
                    return Ended { acknowledged: Some(acknowledged), at: Instant::now(), end };
                }
            }
        }
    };
    Ended { acknowledged: Some(acknowledged), at: Instant::now(), end: judge(order.as_ref()) }
}

fn judge(order: Option<&Order>) -> End {
    match order.map(Order::state) {
        Some(OrderState::Validated | OrderState::InManufacturing | OrderState::Ready | OrderState::Shipped) => {
            End::Validated
        }
        Some(OrderState::Rejected | OrderState::Cancelled) => End::Rejected,
        Some(state) => End::Failed(format!("answered too early, in state {}", state.as_str_name())),
        None => End::Failed("answered without an order".to_owned()),
    }
}

/// The order of this number.
fn draw(plan: &Plan, number: u64) -> Order {
    let mut draw = Draw::new(plan.seed, number);
    let customer = draw.below(plan.customers);
    let first_product = draw.below(plan.products);
    let lines = (0..plan.lines).map(|line| OrderLine {
        product_id: product_id((first_product + line) % plan.products.max(1)),
        quantity: 1 + i64::try_from(draw.below(3)).expect("below 3"),
        unit_price: Some(Money { currency_code: "EUR".to_owned(), minor_units: UNIT_PRICE_MINOR }),
    });
    Order {
        order_id: order_id(&plan.prefix, number),
        customer_id: customer_id(customer),
        lines: lines.collect(),
        ..Order::default()
    }
}

/// Key of an order of a run.
pub(crate) fn order_id(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:010}")
}

/// Key of a product that [`crate::setup`] creates.
pub(crate) fn product_id(number: u64) -> String {
    format!("p-{number}")
}

/// Key of a customer that [`crate::setup`] creates.
pub(crate) fn customer_id(number: u64) -> String {
    format!("c-{number}")
}

fn timed<M>(plan: &Plan, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(plan.timeout);
    request
}

fn failed(method: &str, status: &Status) -> End {
    let text: String = status.message().chars().take(ERROR_CHARACTERS).collect();
    End::Failed(format!("{method} {:?}: {text}", status.code()))
}

/// An error with its causes, for one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(text, ": {inner}").expect("a string takes everything");
        cause = inner.source();
    }
    text
}
