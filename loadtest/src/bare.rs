//! A gRPC server with nothing behind it: the floor below the figures of any server of this kind on this machine.
//!
//! Most of what a call costs at a low rate is not the work that it asks for: a thread wakes up with cold caches, reads a
//! socket, takes HTTP/2 frames apart and puts others together. No figure of a mesh can be judged before it is known what
//! the same calls cost when nobody does anything for them. So this server answers CreateOrder and GetOrder at once with
//! what `loadtest run` wants to hear, and is measured by the same driver in the same run.
//!
//! What always holds: it has no state, no log and no limits of its own, only tonic's own server on the threads that the
//! mesh has, too. It knows no order: GetOrder says VALIDATED of any id.

#![expect(clippy::disallowed_methods, reason = "this server is none of the mesh")]

use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use futures::stream::Empty;
use proto::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use proto::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderHistoryRequest,
    GetOrderHistoryResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse, Order,
    OrderState, WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest, WatchOrdersResponse,
};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Calls that a connection may have at a time: as many as a mesh allows by default, so that the driver queues for neither.
const STREAMS_PER_CONNECTION_MAX: u32 = 1000;

/// Settings of `loadtest bare`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:50052", value_name = "ADDR")]
    pub listen: SocketAddr,
}

/// Says where it listens, and serves until SIGINT or SIGTERM. Calls under way are cut then: nobody loses anything.
///
/// # Errors
/// When it cannot listen there.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // Before anybody is told: who has read the address may end it at once.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
        println!("listening on {}", listener.local_addr()?);
        tokio::select! {
            ended = serve(listener) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    // As the mesh does: waiting to fill a segment would cost up to 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder().max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    Ok(server.add_service(OrderServiceServer::new(Bare)).serve_with_incoming(incoming).await?)
}

/// Answers at once.
struct Bare;

fn none<M>() -> Result<Response<M>, Status> {
    Err(Status::unimplemented("this server only answers CreateOrder and GetOrder"))
}

#[tonic::async_trait]
impl OrderService for Bare {
    type WatchOrderStream = Empty<Result<WatchOrderResponse, Status>>;
    type WatchOrdersStream = Empty<Result<WatchOrdersResponse, Status>>;

    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let order = request.into_inner().order.ok_or_else(|| Status::invalid_argument("there is no order"))?;
        let order = Order { state: OrderState::Validated.into(), ..order };
        Ok(Response::new(CreateOrderResponse { order: Some(order), ..CreateOrderResponse::default() }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let order_id = request.into_inner().order_id;
        let order = Order { order_id, state: OrderState::Validated.into(), ..Order::default() };
        Ok(Response::new(GetOrderResponse { order: Some(order), ..GetOrderResponse::default() }))
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        none()
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Result<Response<CancelOrderResponse>, Status> {
        none()
    }

    async fn get_order_history(
        &self,
        _: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        none()
    }

    async fn watch_order(&self, _: Request<WatchOrderRequest>) -> Result<Response<Self::WatchOrderStream>, Status> {
        none()
    }

    async fn watch_orders(&self, _: Request<WatchOrdersRequest>) -> Result<Response<Self::WatchOrdersStream>, Status> {
        none()
    }
}
