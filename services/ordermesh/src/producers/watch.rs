//! `ordermesh order watch`: follows one order or many, a line for each change, until it is stopped or the stream ends.
//!
//! The stream carries resume tokens. The last one is told when the watch breaks, so that the next begins where this one ended.

use prost::Message;
use proto::orders::v1::{
    Order, OrderChange, WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest, WatchOrdersResponse,
};
use service_host::Problem;
use tonic::Streaming;

use super::client::{Client, Failure};
use super::money;
use super::order::{State, state_name, state_number};
use super::output::{note, say, time};

const WATCH: &str = "ordermesh.orders.v1.OrderService/WatchOrder";
const WATCH_ALL: &str = "ordermesh.orders.v1.OrderService/WatchOrders";

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Key of the order; all orders without one
    order_id: Option<String>,
    /// Only orders of this customer
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, conflicts_with = "order_id")]
    customer: String,
    /// Only changes that leave an order in this state
    #[arg(long, value_enum, conflicts_with = "order_id")]
    state: Option<State>,
    /// First tell how the orders stand
    #[arg(long)]
    snapshot: bool,
    /// Go on behind an earlier watch, by the token that it told
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    resume: String,
}

/// A part of a watch, whatever is watched.
trait Part: Message + Default + 'static {
    fn orders(&self) -> &[Order];
    fn changes(&self) -> &[OrderChange];
    fn token(&self) -> &str;
}

impl Part for WatchOrderResponse {
    fn orders(&self) -> &[Order] {
        self.order.as_slice()
    }

    fn changes(&self) -> &[OrderChange] {
        &self.changes
    }

    fn token(&self) -> &str {
        &self.resume_token
    }
}

impl Part for WatchOrdersResponse {
    fn orders(&self) -> &[Order] {
        &self.orders
    }

    fn changes(&self) -> &[OrderChange] {
        &self.changes
    }

    fn token(&self) -> &str {
        &self.resume_token
    }
}

pub(super) async fn run(client: &mut Client, watch: Watch) -> Result<(), Failure> {
    let Watch { order_id, customer, state, snapshot, resume } = watch;
    match order_id {
        Some(order_id) => {
            let request = WatchOrderRequest { order_id, snapshot, resume_token: resume };
            let parts = client.follow::<WatchOrderResponse>(WATCH, request).await?;
            tell(client, WATCH, parts).await
        }
        None => {
            let state = state_number(state);
            let request = WatchOrdersRequest { state, customer_id: customer, snapshot, resume_token: resume };
            let parts = client.follow::<WatchOrdersResponse>(WATCH_ALL, request).await?;
            tell(client, WATCH_ALL, parts).await
        }
    }
}

async fn tell<A: Part>(client: &Client, method: &str, mut parts: Streaming<A>) -> Result<(), Failure> {
    let mut token = String::new();
    loop {
        match parts.message().await {
            Ok(Some(part)) => {
                if client.wants_json() {
                    say(client.json(method, &part, false));
                } else {
                    part.orders().iter().for_each(|order| say(standing(order)));
                    part.changes().iter().for_each(|change| say(changed(change)));
                }
                if !part.token().is_empty() {
                    part.token().clone_into(&mut token);
                }
            }
            Ok(None) => return Ok(()),
            Err(status) => {
                if !token.is_empty() && !client.wants_json() {
                    note(format_args!("ordermesh: to go on from here: --resume {token}"));
                }
                return Err(Failure::Refused(Box::new(Problem::from(&status))));
            }
        }
    }
}

/// How an order stands, on a line.
fn standing(order: &Order) -> String {
    let (at, state) = (time(order.update_time.as_ref()), state_name(order.state()));
    format!("{at}  {}  {state}  {}  {}", order.order_id, order.customer_id, money::text(order.total.as_ref()))
}

/// What became of an order, on a line.
fn changed(change: &OrderChange) -> String {
    let reasons: Vec<_> = change.reasons.iter().map(|reason| reason.code.as_str()).collect();
    let (at, state) = (time(change.time.as_ref()), state_name(change.state()));
    format!("{at}  {}  {state}  {}  {}", change.order_id, change.customer_id, reasons.join(",")).trim_end().to_owned()
}
