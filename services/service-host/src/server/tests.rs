//! A real server on a real socket, and a client that can do what no well-behaved one would.

mod attacks;
mod client;
mod draining;
mod misuse;
mod raw;
mod stalled;

use std::time::Duration;

use futures::stream::Pending;
use prost::Message as _;
use proto::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use proto::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderHistoryRequest,
    GetOrderHistoryResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse, Order,
    WatchOrderRequest, WatchOrderResponse, WatchOrdersRequest, WatchOrdersResponse,
};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use super::*;
use crate::{Health, diagnostics};
use client::Client;

const GET_ORDER: &str = "/ordermesh.orders.v1.OrderService/GetOrder";
const CREATE_ORDER: &str = "/ordermesh.orders.v1.OrderService/CreateOrder";
const WATCH_HEALTH: &str = "/grpc.health.v1.Health/Watch";
/// For what must happen; never waited for when it does.
const SOON: Duration = Duration::from_secs(20);

/// Answers at once, never, when told to, with much, or with a problem, as the order id says.
#[derive(Debug, Clone, Default)]
struct Orders {
    go_on: CancellationToken,
}

#[tonic::async_trait]
impl OrderService for Orders {
    type WatchOrderStream = Pending<Result<WatchOrderResponse, Status>>;
    type WatchOrdersStream = Pending<Result<WatchOrdersResponse, Status>>;

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let traceparent = request.metadata().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        let order_id = request.into_inner().order_id;
        match order_id.as_str() {
            "never" => std::future::pending().await,
            "later" => self.go_on.cancelled().await,
            "unknown" => return Err(crate::Problem::not_found("order", "unknown").into()),
            "big" => {
                let order = Order { order_id: "x".repeat(3 << 20), ..Default::default() };
                return Ok(Response::new(GetOrderResponse { order: Some(order), served_by: None }));
            }
            "large" => {
                let order = Order { order_id: "x".repeat(1 << 20), ..Default::default() };
                return Ok(Response::new(GetOrderResponse { order: Some(order), served_by: None }));
            }
            _ => {}
        }
        let order = Order { order_id, etag: traceparent.unwrap_or_default(), ..Default::default() };
        Ok(Response::new(GetOrderResponse { order: Some(order), served_by: None }))
    }

    async fn create_order(&self, _: Request<CreateOrderRequest>) -> Result<Response<CreateOrderResponse>, Status> {
        Ok(Response::new(CreateOrderResponse::default()))
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        Ok(Response::new(ListOrdersResponse::default()))
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Result<Response<CancelOrderResponse>, Status> {
        Ok(Response::new(CancelOrderResponse::default()))
    }

    async fn get_order_history(
        &self,
        _: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        Ok(Response::new(GetOrderHistoryResponse::default()))
    }

    async fn watch_order(&self, _: Request<WatchOrderRequest>) -> Result<Response<Self::WatchOrderStream>, Status> {
        Ok(Response::new(futures::stream::pending()))
    }

    async fn watch_orders(&self, _: Request<WatchOrdersRequest>) -> Result<Response<Self::WatchOrdersStream>, Status> {
        Ok(Response::new(futures::stream::pending()))
    }
}

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Drained>,
    health: Health,
    go_on: CancellationToken,
}

impl Running {
    async fn start(listen: ListenConfig, limits: LimitsConfig) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, routes) = diagnostics::routes(&Api::of_the_mesh()).await;
        let orders = Orders::default();
        let go_on = orders.go_on.clone();
        let service = OrderServiceServer::new(orders)
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(2 << 20);
        let shutdown = CancellationToken::new();
        let server = Server::new(&listen, &limits);
        let ended = tokio::spawn(server.serve(listener, routes.add_service(service), shutdown.clone()));
        Self { address, shutdown, ended, health, go_on }
    }

    async fn start_default() -> Self {
        Self::start(ListenConfig::default(), LimitsConfig::default()).await
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Shuts down and returns how it ended.
    async fn stop(self) -> Drained {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.ended).await.expect("the server ends").unwrap()
    }
}

fn get(order_id: &str) -> GetOrderRequest {
    GetOrderRequest { order_id: order_id.into(), ..Default::default() }
}

#[tokio::test]
async fn calls_are_answered() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let answer: GetOrderResponse = client.call(GET_ORDER, &[], &get("o-1")).await.unwrap();
    assert_eq!(answer.order.unwrap().order_id, "o-1");
    let problem = client.call::<GetOrderResponse>(GET_ORDER, &[], &get("unknown")).await.unwrap_err();
    assert_eq!(problem, crate::Problem::not_found("order", "unknown"));
    drop(client);
    assert_eq!(server.stop().await, Drained { connections_cut: 0 });
}

#[tokio::test]
async fn a_thousand_tiny_answers_at_once_pass_on_one_connection() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let calls = (0..1_000).map(|n| {
        let client = client.clone();
        async move { client.call::<GetOrderResponse>(GET_ORDER, &[], &get(&format!("o-{n}"))).await }
    });
    for answer in futures::future::join_all(calls).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn health_says_what_it_is_told() {
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
    let server = Running::start_default().await;
    let client = server.client().await;
    let check = |service: &str| {
        let (client, request) = (client.clone(), HealthCheckRequest { service: service.into() });
        async move { client.call::<HealthCheckResponse>("/grpc.health.v1.Health/Check", &[], &request).await }
    };
    assert_eq!(check("").await.unwrap().status, 2, "not serving at first");
    server.health.serving(&["ordermesh.orders.v1.OrderService"]).await;
    assert_eq!(check("").await.unwrap().status, 1);
    assert_eq!(check("ordermesh.orders.v1.OrderService").await.unwrap().status, 1);
    assert_eq!(check("no.such.Service").await.unwrap_err().reason, "NOT_FOUND");
    server.health.not_serving(&["ordermesh.orders.v1.OrderService"]).await;
    assert_eq!(check("ordermesh.orders.v1.OrderService").await.unwrap().status, 2);
    server.stop().await;
}

#[tokio::test]
async fn reflection_answers_in_both_versions() {
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    let server = Running::start_default().await;
    let client = server.client().await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let request = MessageRequest::ListServices(String::new());
        let request = ServerReflectionRequest { message_request: Some(request), ..Default::default() };
        let answer: ServerReflectionResponse = client.call(&path, &[], &request).await.unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        assert!(names.contains(&"ordermesh.orders.v1.OrderService"), "{names:?}");
        assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");

        // As tools do: the file of a service, then each file that it needs.
        let mut wanted = vec![MessageRequest::FileContainingSymbol("ordermesh.orders.v1.OrderService".into())];
        let mut files = std::collections::BTreeSet::new();
        while let Some(request) = wanted.pop() {
            let request = ServerReflectionRequest { message_request: Some(request), ..Default::default() };
            let answer: ServerReflectionResponse = client.call(&path, &[], &request).await.unwrap();
            let Some(MessageResponse::FileDescriptorResponse(found)) = answer.message_response else {
                panic!("{request:?}: {answer:?}")
            };
            for file in found.file_descriptor_proto {
                let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
                if files.insert(file.name().to_owned()) {
                    wanted.extend(file.dependency.into_iter().map(MessageRequest::FileByFilename));
                }
            }
        }
        assert!(files.contains("google/protobuf/timestamp.proto") && files.len() > 5, "{files:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn taken_port_is_named() {
    let server = Running::start_default().await;
    let error = bind(server.address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
    server.stop().await;
}
