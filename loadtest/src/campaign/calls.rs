//! The calls of clients, each recorded with its beginning and its end.
//!
//! Always: an end says *fail* only where the mesh said that nothing happened; everything else that is no answer is *info*,
//! for the call may have had its effect.

#![expect(clippy::disallowed_methods, reason = "what a client makes of an answer")]

use std::sync::Arc;
use std::time::Duration;

use proto::common::v1::Money;
use proto::customers::v1::customer_service_client::CustomerServiceClient;
use proto::customers::v1::{CreateCustomerRequest, Customer};
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{
    AddStockRequest, Fulfilment, GetProductRequest, Product, SetStockRequest, UpsertProductRequest,
};
use proto::mesh::v1::topology_service_client::TopologyServiceClient;
use proto::mesh::v1::{Eventual, GetTopologyRequest, ReadConsistency, Role, ServedBy, Strong, read_consistency};
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{
    CancelOrderRequest, CreateOrderRequest, GetOrderRequest, Order, OrderLine, OrderState, WaitFor,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::history::{Answer, Body, Bound, Call, Recorder, Served, State, What};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls with a shorter deadline have a connection of their own.
const HASTY: Duration = Duration::from_secs(10);

/// An instance as clients reach it.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Name of the instance.
    pub name: String,
    /// For calls that wait as long as an instance may be stopped.
    channel: Channel,
    /// For calls that give up before. A server that was stopped finds a heap of cancelled calls on their connection, takes
    /// them for an attack and closes it; the calls that wait in front of it must not go with them.
    hasty: Channel,
}

impl Gateway {
    /// A connection that is made anew as often as needed.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(name: &str, address: std::net::SocketAddr) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { name: name.to_owned(), channel: endpoint.connect_lazy(), hasty: endpoint.connect_lazy() })
    }
}

/// Everything that clients need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    recorder: Arc<Recorder>,
    gateways: Arc<Vec<Gateway>>,
}

/// A call that ended.
#[derive(Debug)]
pub struct Done {
    /// Its number in the history.
    pub op: u64,
    /// The answer, with the consistency token of a write; or whether the call certainly had no effect.
    pub end: Result<(Answer, String), Refused>,
}

/// A call without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Whether it certainly had no effect.
    pub certain: bool,
}

impl Done {
    /// What was answered.
    pub fn body(&self) -> Option<&Body> {
        self.end.as_ref().ok().map(|(answer, _)| &answer.body)
    }

    /// Whether nobody knows what became of it.
    pub fn is_unknown(&self) -> bool {
        matches!(self.end, Err(Refused { certain: false }))
    }
}

type Told = Result<(Body, Option<ServedBy>, String), Status>;

impl Clients {
    /// Clients of these instances.
    pub fn new(recorder: Arc<Recorder>, gateways: Vec<Gateway>) -> Self {
        Self { recorder, gateways: Arc::new(gateways) }
    }

    /// How many instances there are.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Where everything is recorded.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Makes a customer at an instance, without recording it: no law is about customers.
    ///
    /// # Errors
    /// What the mesh said.
    pub async fn add_customer(&self, gateway: usize, customer_id: &str, timeout: Duration) -> Result<(), Status> {
        let gateway = &self.gateways[gateway % self.gateways.len()];
        let customer = Customer { customer_id: customer_id.to_owned(), ..Customer::default() };
        let request_id = format!("customer-{customer_id}");
        let request = CreateCustomerRequest { customer: Some(customer), request_id };
        CustomerServiceClient::new(gateway.channel.clone()).create_customer(timed(request, timeout)).await.map(drop)
    }

    /// How many tasks of an instance are not ready to be owned yet, as it says itself; none before it has any task. It is not
    /// recorded.
    ///
    /// # Errors
    /// What the instance said, most often that it is not there yet.
    pub async fn restoring(&self, gateway: usize, timeout: Duration) -> Result<Option<usize>, Status> {
        let gateway = &self.gateways[gateway % self.gateways.len()];
        let request = timed(GetTopologyRequest {}, timeout);
        let told = TopologyServiceClient::new(gateway.hasty.clone()).get_topology(request).await?;
        let tasks = told.into_inner().topology.unwrap_or_default().tasks;
        let replicas = tasks.iter().flat_map(|task| &task.replicas);
        let own: Vec<_> = replicas.filter(|replica| replica.instance == gateway.name).collect();
        Ok((!own.is_empty()).then(|| own.iter().filter(|replica| !replica.warm).count()))
    }

    /// Makes a call at an instance (by its number, modulo), with a consistency token where it reads with one.
    pub async fn call(&self, session: u64, gateway: usize, call: &Call, token: &str, timeout: Duration) -> Done {
        let gateway = &self.gateways[gateway % self.gateways.len()];
        let op = self.recorder.invoke(session, &gateway.name, call);
        let channel = if timeout < HASTY { gateway.hasty.clone() } else { gateway.channel.clone() };
        // The server is told the deadline, and a server that is stopped cannot keep it: the client counts as well.
        let told = tokio::time::timeout(timeout + timeout / 4, send(channel, call, token, timeout)).await;
        let told = told.unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "no answer in time")));
        let (what, end) = match told {
            Ok((body, served, token)) => {
                let answer = Answer { body, served_by: served.map(served_by) };
                (What::Ok { answer: answer.clone() }, Ok((answer, token)))
            }
            Err(status) if status.code() == Code::NotFound && call.bound().is_some() => {
                let answer = Answer { body: Body::Absent, served_by: None };
                (What::Ok { answer: answer.clone() }, Ok((answer, String::new())))
            }
            Err(status) => {
                let certain = call.bound().is_some() || had_no_effect(status.code());
                let code = code_of(&status);
                (if certain { What::Fail { code } } else { What::Info { code } }, Err(Refused { certain }))
            }
        };
        self.recorder.note(op, session, what);
        Done { op, end }
    }
}

/// Codes that say of a write that it did not happen and will not.
fn had_no_effect(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition)
}

/// The code, with the machine-readable reason where there is one; else, of what no service says, with its innermost cause.
fn code_of(status: &Status) -> String {
    let code = status.code();
    if let Some(info) = status.get_error_details().error_info() {
        return format!("{code:?}/{}", info.reason);
    }
    let mut cause = std::error::Error::source(status);
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    match cause {
        Some(cause) => format!("{code:?} ({cause})"),
        None => format!("{code:?} ({})", status.message().chars().take(60).collect::<String>()),
    }
}

fn served_by(served: ServedBy) -> Served {
    let active = served.role() == Role::Active;
    Served { instance: served.instance, partition: served.partition, applied_offset: served.applied_offset, active }
}

async fn send(channel: Channel, call: &Call, token: &str, timeout: Duration) -> Told {
    let mut orders = OrderServiceClient::new(channel.clone());
    let mut inventory = InventoryServiceClient::new(channel);
    match call {
        Call::SetUp { product_id, stock } => set_up(inventory, product_id, *stock, timeout).await,
        Call::Create { order_id, customer_id, lines, request_id } => {
            let order = order(order_id, customer_id, lines);
            let request = CreateOrderRequest {
                order: Some(order),
                request_id: request_id.clone(),
                ..CreateOrderRequest::default()
            };
            let created = orders.create_order(timed(request, timeout)).await?.into_inner();
            Ok((order_body(created.order)?, created.served_by, created.consistency_token))
        }
        Call::Get { order_id, bound } => {
            let wait_for = if *bound == Bound::UntilOver { WaitFor::Shipped } else { WaitFor::Unspecified };
            let consistency = consistency(*bound, token);
            let request = GetOrderRequest { order_id: order_id.clone(), consistency, wait_for: wait_for.into() };
            let found = orders.get_order(timed(request, timeout)).await?.into_inner();
            Ok((order_body(found.order)?, found.served_by, String::new()))
        }
        Call::Cancel { order_id, request_id } => {
            let (order_id, request_id) = (order_id.clone(), request_id.clone());
            let request = CancelOrderRequest { order_id, request_id, ..CancelOrderRequest::default() };
            let cancelled = orders.cancel_order(timed(request, timeout)).await?.into_inner();
            Ok((order_body(cancelled.order)?, cancelled.served_by, cancelled.consistency_token))
        }
        Call::AddStock { product_id, quantity, request_id } => {
            let (product_id, request_id) = (product_id.clone(), request_id.clone());
            let request = AddStockRequest { product_id, quantity: *quantity, request_id, ..AddStockRequest::default() };
            let added = inventory.add_stock(timed(request, timeout)).await?.into_inner();
            Ok((product_body(added.product)?, added.served_by, added.consistency_token))
        }
        Call::GetProduct { product_id, bound } => {
            let request = GetProductRequest { product_id: product_id.clone(), consistency: consistency(*bound, token) };
            let found = inventory.get_product(timed(request, timeout)).await?.into_inner();
            Ok((product_body(found.product)?, found.served_by, String::new()))
        }
    }
}

async fn set_up(
    mut client: InventoryServiceClient<Channel>,
    product_id: &str,
    stock: Option<i64>,
    timeout: Duration,
) -> Told {
    let fulfilment = if stock.is_some() { Fulfilment::FromStock } else { Fulfilment::MadeToOrder };
    let product = Product {
        product_id: product_id.to_owned(),
        name: product_id.to_owned(),
        fulfilment: fulfilment.into(),
        ..Product::default()
    };
    let request = UpsertProductRequest { product: Some(product), request_id: format!("set-up-{product_id}") };
    let made = client.upsert_product(timed(request, timeout)).await?.into_inner();
    let Some(quantity) = stock else {
        return Ok((product_body(made.product)?, made.served_by, made.consistency_token));
    };
    let (product_id, request_id) = (product_id.to_owned(), format!("stock-{product_id}"));
    let request = SetStockRequest { product_id, quantity, request_id, ..SetStockRequest::default() };
    let set = client.set_stock(timed(request, timeout)).await?.into_inner();
    Ok((product_body(set.product)?, set.served_by, set.consistency_token))
}

fn order(order_id: &str, customer_id: &str, lines: &[(String, i64)]) -> Order {
    let lines = lines.iter().map(|(product_id, quantity)| OrderLine {
        product_id: product_id.clone(),
        quantity: *quantity,
        // So little that no customer's session ever adds up to the fraud limit.
        unit_price: Some(Money { currency_code: "EUR".to_owned(), minor_units: 1 }),
    });
    let lines = lines.collect();
    Order { order_id: order_id.to_owned(), customer_id: customer_id.to_owned(), lines, ..Order::default() }
}

fn consistency(bound: Bound, token: &str) -> Option<ReadConsistency> {
    let bound = match bound {
        Bound::Strong | Bound::UntilOver => read_consistency::Bound::Strong(Strong {}),
        Bound::AtLeast(_) => read_consistency::Bound::AtLeast(token.to_owned()),
        Bound::Eventual => read_consistency::Bound::Eventual(Eventual {}),
    };
    Some(ReadConsistency { bound: Some(bound) })
}

fn order_body(order: Option<Order>) -> Result<Body, Status> {
    let order = order.unwrap_or_default();
    let state = match order.state() {
        OrderState::Created => State::Created,
        OrderState::Validated => State::Validated,
        OrderState::InManufacturing => State::InManufacturing,
        OrderState::Ready => State::Ready,
        OrderState::Shipped => State::Shipped,
        OrderState::Rejected => State::Rejected,
        OrderState::Cancelled => State::Cancelled,
        OrderState::Unspecified => return Err(Status::new(Code::DataLoss, "an order without a state")),
    };
    Ok(Body::Order { state, version: version(&order.etag)? })
}

fn product_body(product: Option<Product>) -> Result<Body, Status> {
    let Product { stock, reserved, available, etag, .. } = product.unwrap_or_default();
    Ok(Body::Product { stock, reserved, available, version: version(&etag)? })
}

fn version(etag: &str) -> Result<u64, Status> {
    etag.parse().map_err(|_| Status::new(Code::DataLoss, format!("{etag:?} is no version")))
}

fn timed<M>(message: M, timeout: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
