//! `ordermesh order`: from the wish to the shipment.

use clap::{Subcommand, ValueEnum};
use proto::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderRequest,
    GetOrderResponse, ListOrdersRequest, ListOrdersResponse, Order, OrderLine, OrderState, WaitFor,
};
use proto::validation::v1::{Check, Reason};

use super::client::{Client, Failure};
use super::output::{facts, short, table, time};
use super::pages::{self, Pages};
use super::watch::{self, Watch};
use super::{Read, Write, history, money};

pub(super) const CREATE: &str = "ordermesh.orders.v1.OrderService/CreateOrder";
const GET: &str = "ordermesh.orders.v1.OrderService/GetOrder";
pub(super) const CANCEL: &str = "ordermesh.orders.v1.OrderService/CancelOrder";
const LIST: &str = "ordermesh.orders.v1.OrderService/ListOrders";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Creates an order.
    Create(Create),
    /// Shows an order, now or when it has got so far.
    Get {
        /// Key of the order
        order_id: String,
        /// Wait until the order has got so far, up to the deadline
        #[arg(long, value_enum, value_name = "STATE")]
        wait: Option<Stage>,
        #[command(flatten)]
        read: Read,
    },
    /// Cancels an order, unless it is on its way already.
    Cancel {
        /// Key of the order
        order_id: String,
        /// Version of the order that must be current
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        write: Write,
    },
    /// Lists orders.
    List {
        /// Only orders in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only orders of this customer
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        customer: String,
        #[command(flatten)]
        pages: Pages,
    },
    /// Tells what happened to an order, step by step, and where that is recorded.
    History {
        /// Key of the order
        order_id: String,
        #[command(flatten)]
        read: Read,
    },
    /// Follows what becomes of orders, until it is stopped.
    Watch(Watch),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Who orders
    #[arg(long, value_name = "ID")]
    customer: String,
    /// A line of the order, such as jumper:2:19.99; may be given several times
    #[arg(long = "line", value_name = "PRODUCT:QUANTITY:PRICE", required = true)]
    lines: Vec<String>,
    /// Currency of the prices
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// Key of the order [default: a new one]
    #[arg(long, default_value = "", hide_default_value = true)]
    id: String,
    /// Wait until the order has got so far, up to the deadline
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Stage>,
    #[command(flatten)]
    write: Write,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Stage {
    /// It exists
    Created,
    /// The checks have passed, or it has ended
    Validated,
    /// It is shipped, or has ended otherwise
    Shipped,
}

fn wait_for(stage: Option<Stage>) -> i32 {
    let wait_for = match stage {
        None => WaitFor::Unspecified,
        Some(Stage::Created) => WaitFor::Created,
        Some(Stage::Validated) => WaitFor::Validated,
        Some(Stage::Shipped) => WaitFor::Shipped,
    };
    wait_for.into()
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Created,
    Validated,
    InManufacturing,
    Ready,
    Shipped,
    Rejected,
    Cancelled,
}

/// The state as the API says it; unspecified without one.
pub(super) fn state_number(state: Option<State>) -> i32 {
    let state = match state {
        None => OrderState::Unspecified,
        Some(State::Created) => OrderState::Created,
        Some(State::Validated) => OrderState::Validated,
        Some(State::InManufacturing) => OrderState::InManufacturing,
        Some(State::Ready) => OrderState::Ready,
        Some(State::Shipped) => OrderState::Shipped,
        Some(State::Rejected) => OrderState::Rejected,
        Some(State::Cancelled) => OrderState::Cancelled,
    };
    state.into()
}

pub(super) async fn run(client: &mut Client, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(create) => {
            let lines = create.lines.iter().map(|text| line(text, &create.currency)).collect::<Result<_, _>>()?;
            let order = Order { order_id: create.id, customer_id: create.customer, lines, ..Default::default() };
            let request_id = create.write.request_id();
            let wait_for = wait_for(create.wait);
            let request = CreateOrderRequest { order: Some(order), request_id: request_id.clone(), wait_for };
            let answer: CreateOrderResponse = client.write(CREATE, request_id, request).await?;
            client.print(CREATE, &answer, |answer| sheet(answer.order.as_ref()));
        }
        Command::Get { order_id, wait, read } => {
            let request = GetOrderRequest { order_id, wait_for: wait_for(wait), consistency: read.consistency() };
            let answer: GetOrderResponse = client.read(GET, request).await?;
            client.print(GET, &answer, |answer| sheet(answer.order.as_ref()));
        }
        Command::Cancel { order_id, etag, write } => {
            let request_id = write.request_id();
            let request = CancelOrderRequest { order_id, etag, request_id: request_id.clone() };
            let answer: CancelOrderResponse = client.write(CANCEL, request_id, request).await?;
            client.print(CANCEL, &answer, |answer| sheet(answer.order.as_ref()));
        }
        Command::List { state, customer, pages } => {
            let request = ListOrdersRequest { state: state_number(state), customer_id: customer, ..Default::default() };
            let answer = pages::list(client, LIST, &request, &pages).await?;
            client.print(LIST, &answer, rows);
        }
        Command::History { order_id, read } => history::run(client, order_id, &read).await?,
        Command::Watch(watch) => watch::run(client, watch).await?,
    }
    Ok(())
}

/// Reads a line such as `jumper:2:19.99`. What is wrong with quantity or price but for their form is for the mesh to say.
pub(super) fn line(text: &str, currency: &str) -> Result<OrderLine, Failure> {
    let refuse = || Failure::Input(format!("{text:?} is no line of an order: it must look like jumper:2:19.99"));
    let [product_id, quantity, price] = text.split(':').collect::<Vec<_>>().try_into().map_err(|_| refuse())?;
    Ok(OrderLine {
        product_id: product_id.to_owned(),
        quantity: quantity.parse().map_err(|_| refuse())?,
        unit_price: Some(money::parse(price, currency)?),
    })
}

/// The name of a state without its enum.
pub(super) fn state_name(state: OrderState) -> &'static str {
    short(state.as_str_name(), "ORDER_STATE_")
}

fn sheet(order: Option<&Order>) -> String {
    let Some(order) = order else { return String::new() };
    let mut text = facts(
        &format!("order {}", order.order_id),
        &[
            ("state", state_name(order.state()).to_owned()),
            ("customer", order.customer_id.clone()),
            ("total", money::text(order.total.as_ref())),
            ("created", time(order.create_time.as_ref())),
            ("changed", time(order.update_time.as_ref())),
            ("etag", order.etag.clone()),
        ],
    );
    let row =
        |line: &OrderLine| [line.product_id.clone(), line.quantity.to_string(), money::text(line.unit_price.as_ref())];
    let lines: Vec<_> = order.lines.iter().map(row).collect();
    text.push_str(&format!("\n{}", table(["PRODUCT", "QUANTITY", "PRICE"], &lines)));
    if !order.reasons.is_empty() {
        text.push_str(&format!("\n{}", reasons(&order.reasons)));
    }
    text
}

/// Reasons as a table.
pub(super) fn reasons(reasons: &[Reason]) -> String {
    let row = |reason: &Reason| {
        let check = match reason.check() {
            Check::Unspecified => "",
            check => short(check.as_str_name(), "CHECK_"),
        };
        [check.to_owned(), reason.product_id.clone(), reason.code.clone(), reason.message.clone()]
    };
    table(["CHECK", "PRODUCT", "REASON", "MESSAGE"], &reasons.iter().map(row).collect::<Vec<_>>())
}

fn rows(answer: &ListOrdersResponse) -> String {
    let row = |order: &Order| {
        [
            order.order_id.clone(),
            order.customer_id.clone(),
            state_name(order.state()).to_owned(),
            money::text(order.total.as_ref()),
            time(order.update_time.as_ref()),
        ]
    };
    let orders: Vec<_> = answer.orders.iter().map(row).collect();
    table(["ORDER", "CUSTOMER", "STATE", "TOTAL", "CHANGED"], &orders)
}
