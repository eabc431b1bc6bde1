//! What comes in wrong: every method of the API, also those that come later, must say so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use ordermesh::Config;
use proto::common::v1::Money;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{CreateOrderRequest, Order, OrderLine};
use service_host::Problem;
use testkit::Mesh;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt;

use crate::shop::timed;

/// Calls a method with any bytes as its body.
async fn call(channel: &Channel, path: &str, body: Vec<u8>) -> Status {
    call_within(channel, path, body, Duration::from_secs(10)).await
}

/// The same, with another deadline.
pub(crate) async fn call_within(channel: &Channel, path: &str, body: Vec<u8>, deadline: Duration) -> Status {
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.header("grpc-timeout", format!("{}m", deadline.as_millis()));
    let request = request.body(Body::new(Full::new(Bytes::from(body)))).unwrap();
    let (head, body) = channel.clone().oneshot(request).await.unwrap().into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers)).unwrap()
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    body
}

/// Every method with a key, and the path of that key.
fn keyed_methods() -> Vec<(String, String)> {
    let pool = prost_reflect::DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let routing = pool.get_extension_by_name("ordermesh.options.v1.routing").unwrap();
    let mut methods = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            let options = method.options();
            let routing = options.get_extension(&routing);
            let routing = routing.as_message().unwrap();
            let key = routing.get_field_by_name("key").unwrap().as_str().unwrap().to_owned();
            let makes_keys = routing.get_field_by_name("generate_key").unwrap().as_bool().unwrap();
            if !key.is_empty() && !makes_keys {
                methods.push((format!("/{}/{}", service.full_name(), method.name()), key));
            }
        }
    }
    methods
}

/// A request to a method in which nothing is set but its key.
fn keyed(path: &str, key: &str, value: &str) -> Vec<u8> {
    let pool = prost_reflect::DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap();
    let service = pool.get_service_by_name(service).unwrap();
    let mut message = service.methods().find(|found| found.name() == method).unwrap().input();
    let mut numbers = Vec::new();
    for name in key.split('.') {
        let field = message.get_field_by_name(name).unwrap();
        numbers.push(u8::try_from(field.number()).unwrap());
        if let Some(inner) = field.kind().as_message() {
            message = inner.clone();
        }
    }
    let of_length =
        |inner: Vec<u8>, number: u8| [&[number << 3 | 2, u8::try_from(inner.len()).unwrap()], &*inner].concat();
    numbers.into_iter().rev().fold(value.as_bytes().to_vec(), of_length)
}

/// Calls every method without its key, and sees that it is named.
pub(crate) async fn missing_keys(channel: &Channel) {
    let methods = keyed_methods();
    assert!(methods.len() > 8);
    for (path, key) in methods {
        let status = call(channel, &path, framed(&[])).await;
        let problem = Problem::from(&status);
        assert_eq!((status.code(), problem.reason.as_ref()), (Code::InvalidArgument, "INVALID_FIELD"), "{path}");
        // Of `product.product_id` the whole product may be what is missing.
        let named = problem.violations.iter().any(|fault| key.starts_with(fault.field.as_str()));
        assert!(named, "{path}: {:?} do not name {key}", problem.violations);
    }
}

/// Sends every method what is no message, and sees that it is refused.
pub(crate) async fn garbage(channel: &Channel) {
    let methods = keyed_methods().into_iter().map(|(path, _)| path);
    let lists = ["/ordermesh.orders.v1.OrderService/ListOrders", "/ordermesh.orders.v1.OrderService/CreateOrder"];
    for path in methods.chain(lists.map(str::to_owned)) {
        let nested = (0..200)
            .fold(Vec::new(), |inner, _| [&[0x0a, u8::try_from(inner.len().min(127)).unwrap()][..], &inner].concat());
        let garbage = [vec![0xff; 300], b"\x0a\x02\xff\xfe".to_vec(), b"\x0a\x04\x0a\x02\xff\xfe".to_vec(), nested];
        for message in garbage {
            let status = call(channel, &path, framed(&message)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{path} {status:?}");
        }
        let status = call(channel, &path, framed(&vec![0; 2 << 20])).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{path} {status:?}");
    }
    let nothing = call(channel, "/ordermesh.orders.v1.OrderService/Nothing", framed(&[])).await;
    assert_eq!(nothing.code(), Code::Unimplemented);
}

/// Sends an order with several faults, and sees that all of them are named.
pub(crate) async fn faulty_order(channel: &Channel) {
    let line = |product_id: &str, currency_code: &str| OrderLine {
        product_id: product_id.to_owned(),
        quantity: 1,
        unit_price: Some(Money { currency_code: currency_code.to_owned(), minor_units: 1 }),
    };
    let order = Order {
        order_id: "not an id".to_owned(),
        customer_id: "x".repeat(65),
        lines: vec![line("jumpers", "EUR"), line("jumpers", "money"), line("", "EUR")],
        ..Default::default()
    };
    let request = CreateOrderRequest { order: Some(order), ..Default::default() };
    let status = OrderServiceClient::new(channel.clone()).create_order(timed(request)).await.unwrap_err();
    let problem = Problem::from(&status);
    let fields: Vec<&str> = problem.violations.iter().map(|fault| fault.field.as_str()).collect();
    for field in ["order.order_id", "order.customer_id", "order.lines[1].unit_price.currency_code"] {
        assert!(fields.contains(&field), "{fields:?} without {field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_refuses_a_missing_key_with_its_path() {
    let mesh = Mesh::start().await;
    missing_keys(&mesh.channel()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_survives_garbage() {
    let mesh = Mesh::start().await;
    garbage(&mesh.channel()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_an_order_is_named_at_once() {
    let mesh = Mesh::start().await;
    faulty_order(&mesh.channel()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_keeps_to_a_lower_limit_of_ids() {
    let mut config: Config = Mesh::config();
    config.limits.id_chars_max = 36;
    let mesh = Mesh::with(config, service_host::Clock::system()).await;
    // Authors and books have ids of other kinds, and those of dead letters are not chosen by clients.
    let others = ["/ordermesh.catalog.", "/ordermesh.mesh."];
    let methods: Vec<_> =
        keyed_methods().into_iter().filter(|(path, _)| !others.iter().any(|o| path.starts_with(o))).collect();
    assert!(methods.len() > 8);
    for (path, key) in methods {
        for (length, is_taken) in [(36, true), (37, false)] {
            let message = framed(&keyed(&path, &key, &"x".repeat(length)));
            let problem = Problem::from(&call(&mesh.channel(), &path, message).await);
            let fault = problem.violations.iter().find(|fault| fault.field == key);
            let said = fault.map(|fault| fault.description.as_str());
            assert_eq!(said, (!is_taken).then_some("must have at most 36 characters"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_serving_for_every_service() {
    let mesh = Mesh::start().await;
    let mut health = HealthClient::new(mesh.channel());
    for service in ["", "ordermesh.orders.v1.OrderService", "ordermesh.shipping.v1.ShippingService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition_is_enough() {
    let mut config: Config = Mesh::config();
    config.mesh.partitions = 1;
    let mesh = Mesh::with(config, service_host::Clock::system()).await;
    let shop = Arc::new(crate::shop::Shop::new(mesh.channel()));
    shop.stock("jumpers", 1).await;
    let judged = shop.judged(crate::shop::order("c-1", &[("jumpers", 1)])).await;
    assert_ne!(judged.state(), proto::orders::v1::OrderState::Rejected);
}
