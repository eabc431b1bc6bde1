//! The methods of OrderService on the owner's side: convert, call the task, convert back.

use proto::orders::v1 as api;
use proto::orders::v1::order_service_server::OrderService;
use service_host::watch::{Messages, Typed};
use service_host::{Answer, Code, Deadline, Look, Owner, Page, Problem, ReadBound, Watches, owner, validate};
use task_runtime::{Feed, View};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::domain::{Milestone, Order, State};
use crate::wire::requests::{self, CANCEL, Create};
use crate::wire::{self, order_message};
use crate::{history, stores, topics, watch};

/// The owner's side of OrderService.
#[derive(Debug, Clone)]
pub struct Orders {
    owner: Owner,
    watches: Watches,
    /// What happens to orders, for all who watch.
    feed: Feed,
    config: Config,
}

impl Orders {
    pub(crate) fn new(owner: Owner, watches: &Watches, config: Config) -> Self {
        let feed = watches.feed(owner.role(), topics::ORDERS, watch::content);
        Self { owner, watches: watches.clone(), feed, config }
    }

    pub(crate) async fn open_one(&self, request: api::WatchOrderRequest) -> Result<Messages, Problem> {
        let partition = self.owner.partition_of(request.order_id.as_bytes());
        self.watches.open(&self.owner, &self.feed, watch::of_one(self.owner.faults(), request, partition)?).await
    }

    pub(crate) async fn open_many(
        &self,
        metadata: &MetadataMap,
        request: api::WatchOrdersRequest,
    ) -> Result<Messages, Problem> {
        self.watches.open(&self.owner, &self.feed, watch::of_many(self.owner.faults(), request, metadata)?).await
    }

    /// Waits until the order has reached the milestone.
    async fn wait(&self, deadline: Deadline, order_id: &str, milestone: Milestone) -> Result<Answer<Order>, Problem> {
        let key = order_id.as_bytes().to_vec();
        let look = move |view: &View<'_>| match stored(view, &key)? {
            Some(order) if milestone.is_reached(order.state) => Ok(Look::Found(order)),
            Some(order) => Ok(Look::Stage(order.state.name())),
            None => Ok(Look::Stage(owner::STAGE_UNKNOWN)),
        };
        self.owner.wait(deadline, stores::ORDERS, order_id.as_bytes(), look).await
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    type WatchOrderStream = Typed<api::WatchOrderResponse>;
    type WatchOrdersStream = Typed<api::WatchOrdersResponse>;

    async fn create_order(
        &self,
        request: Request<api::CreateOrderRequest>,
    ) -> Result<Response<api::CreateOrderResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let (metadata, _, request) = request.into_parts();
        let (wish, call) = Create::of(self.owner.faults(), request, &metadata, &self.config)?;
        let answer = self.owner.execute::<api::CreateOrderReply>(&metadata, call).await?;
        let consistency_token = self.owner.consistency_token(&answer);
        let order_id = wish.order_id(&answer.value);
        let (order, served_by) = match (wish.wait_for, &answer.value.existing) {
            (Some(milestone), _) => {
                let waited = self.wait(deadline, order_id, milestone).await;
                // The order is there, whatever becomes of the wait: the caller must learn its id.
                let waited = waited.map_err(|problem| problem.with("order_id", order_id))?;
                (order_message(order_id, &waited.value), self.owner.served_by(&waited))
            }
            (None, Some(row)) => {
                let row = row.clone();
                let order = wire::order(row).map_err(|error| owner::unreadable("reply of CreateOrder", &error))?;
                (order_message(order_id, &order), self.owner.served_by(&answer))
            }
            (None, None) => (wish.created(&answer.value), self.owner.served_by(&answer)),
        };
        let (order, served_by) = (Some(order), Some(served_by));
        Ok(Response::new(api::CreateOrderResponse { order, consistency_token, served_by }))
    }

    async fn get_order(
        &self,
        request: Request<api::GetOrderRequest>,
    ) -> Result<Response<api::GetOrderResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let request = request.into_inner();
        let answer = match requests::get(self.owner.faults(), &request)? {
            // A wait begins with a strong look, which satisfies every bound.
            (Some(milestone), _) => self.wait(deadline, &request.order_id, milestone).await?,
            (None, bound) => {
                let key = request.order_id.clone();
                let read = move |view: &View<'_>| {
                    stored(view, key.as_bytes())?.ok_or_else(|| Problem::not_found("order", &key))
                };
                self.owner.read(request.order_id.as_bytes(), bound, read).await?
            }
        };
        let order = Some(order_message(&request.order_id, &answer.value));
        Ok(Response::new(api::GetOrderResponse { order, served_by: Some(self.owner.served_by(&answer)) }))
    }

    async fn get_order_history(
        &self,
        request: Request<api::GetOrderHistoryRequest>,
    ) -> Result<Response<api::GetOrderHistoryResponse>, Status> {
        let request = request.into_inner();
        let mut faults = self.owner.faults();
        validate::id(&mut faults, "order_id", &request.order_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        faults.finish()?;
        let key = request.order_id.clone();
        let read =
            move |view: &View<'_>| stored(view, key.as_bytes())?.ok_or_else(|| Problem::not_found("order", &key));
        let answer = self.owner.read(request.order_id.as_bytes(), bound, read).await?;
        let (feeds, marks) = (self.watches.feeds(), &answer.value.history);
        let entries = history::entries(feeds, answer.partition, &request.order_id, marks).await?;
        Ok(Response::new(api::GetOrderHistoryResponse { entries, served_by: Some(self.owner.served_by(&answer)) }))
    }

    async fn list_orders(
        &self,
        request: Request<api::ListOrdersRequest>,
    ) -> Result<Response<api::ListOrdersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut faults = self.owner.faults();
        let state = requests::filter(&mut faults, request.state, &request.customer_id);
        let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
        let page = Page::of(&metadata, &request, request.page_size, &request.page_token, faults)?;
        let (customer_id, rows_max) = (request.customer_id, self.config.list_rows_max);
        let read = move |view: &View<'_>, page: &Page| list(view, page, &customer_id, state, rows_max);
        let mut answer = self.owner.list(page, bound, read).await?;
        let served_by = vec![self.owner.served_by(&answer)];
        let (orders, next_page_token) = std::mem::take(&mut answer.value);
        Ok(Response::new(api::ListOrdersResponse { orders, next_page_token, unreachable: Vec::new(), served_by }))
    }

    async fn cancel_order(
        &self,
        request: Request<api::CancelOrderRequest>,
    ) -> Result<Response<api::CancelOrderResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let (metadata, _, request) = request.into_parts();
        let (order_id, is_repeatable) = (request.order_id.clone(), !request.request_id.is_empty());
        self.owner.execute::<api::CancelOrderReply>(&metadata, requests::cancel(self.owner.faults(), request)?).await?;
        // How an order ended never changes, so that every repeat of this request ends here with the same answer.
        let ended = self.wait(deadline, &order_id, Milestone::Shipped).await;
        let ended = ended.map_err(|problem| if is_repeatable { problem } else { recorded(problem, &order_id) })?;
        if ended.value.state != State::Cancelled {
            return Err(Problem::illegal_transition(ended.value.state.name(), CANCEL).into());
        }
        let consistency_token = self.owner.consistency_token(&ended);
        let (order, served_by) = (Some(order_message(&order_id, &ended.value)), Some(self.owner.served_by(&ended)));
        Ok(Response::new(api::CancelOrderResponse { order, consistency_token, served_by }))
    }

    async fn watch_order(
        &self,
        request: Request<api::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        Ok(Response::new(Typed::new(self.open_one(request.into_inner()).await?)))
    }

    async fn watch_orders(
        &self,
        request: Request<api::WatchOrdersRequest>,
    ) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        Ok(Response::new(Typed::new(self.open_many(&metadata, request).await?)))
    }
}

/// What is told when a cancellation without a request_id is recorded and what comes of it is to be heard elsewhere, or later. Nobody may
/// send it again: once the order has ended, as it was told to, the second one is refused.
fn recorded(problem: Problem, order_id: &str) -> Problem {
    if problem.retry_after.is_none() && problem.code != Code::FailedPrecondition {
        return problem;
    }
    let message = format!("the cancellation is recorded; read order {order_id} for what comes of it");
    Problem::new(Code::Unavailable, "OUTCOME_UNKNOWN", message).with("outcome", "recorded")
}

/// A page of one partition's orders: of one customer or in one state along an index, else along the orders themselves.
fn list(
    view: &View<'_>,
    page: &Page,
    customer_id: &str,
    state: Option<State>,
    rows_max: usize,
) -> Result<owner::Listed<api::Order>, Problem> {
    let item = |order_id: &[u8], order: Order| {
        let is_wanted = state.is_none_or(|state| state == order.state);
        is_wanted.then(|| order_message(&String::from_utf8_lossy(order_id), &order))
    };
    if customer_id.is_empty() {
        let Some(prefix) = state.and_then(stores::state_prefix) else {
            return page.fill(view, stores::ORDERS, b"", rows_max, |key, row| Ok(item(key, read_row(row)?)));
        };
        return page.fill(view, stores::BY_STATE, &prefix, rows_max, |key, _| {
            let order_id = stores::order_of_state_key(key);
            Ok(stored(view, order_id)?.and_then(|order| item(order_id, order)))
        });
    }
    page.fill(view, stores::BY_CUSTOMER, &stores::customer_prefix(customer_id), rows_max, |key, _| {
        let order_id = stores::order_of_customer_key(key);
        Ok(stored(view, order_id)?.and_then(|order| item(order_id, order)))
    })
}

fn stored(view: &View<'_>, order_id: &[u8]) -> Result<Option<Order>, Problem> {
    owner::row(view, stores::ORDERS, order_id)?.map(read_row).transpose()
}

fn read_row(row: bytes::Bytes) -> Result<Order, Problem> {
    wire::order_of_row(row).map_err(|error| owner::unreadable("order row", &error))
}

#[cfg(test)]
mod tests;
