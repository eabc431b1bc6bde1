//! How soon a wait with a deadline is answered: acceptance case 3.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use proto::orders::v1::{GetOrderRequest, OrderState, WaitFor};
use service_host::Problem;
use testkit::Mesh;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::inputs::framed;
use crate::shop::{Shop, eventually, order};

/// Deadline of a wait.
const DEADLINE: Duration = Duration::from_millis(100);
/// When its answer must be there. It goes out a little before the deadline, so that the caller still listens.
const WAITED_FOR: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(200);
/// What "at once" means: far less than any wait.
const AT_ONCE: Duration = Duration::from_millis(50);
/// Others use the machine too: one try in time is enough.
const TRIES: usize = 5;

/// A client that leaves it to the mesh to end a call at its deadline, as tonic's does not.
struct Patient {
    client: Client<HttpConnector, Body>,
    uri: String,
}

impl Patient {
    fn of(mesh: &Mesh) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { client, uri: format!("http://{}/ordermesh.orders.v1.OrderService/GetOrder", mesh.address()) }
    }

    async fn get(&self, order_id: &str, wait_for: WaitFor) -> Status {
        let message =
            GetOrderRequest { order_id: order_id.to_owned(), wait_for: wait_for.into(), ..Default::default() };
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", format!("{}m", DEADLINE.as_millis()))
            .body(Body::new(Full::new(Bytes::from(framed(&message.encode_to_vec())))))
            .unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers)).unwrap()
    }

    /// How soon each try is answered, and how.
    async fn tries(&self, order_id: &str, wait_for: WaitFor) -> Vec<(Duration, Status)> {
        let mut answers = Vec::new();
        for _ in 0..TRIES {
            let begin = Instant::now();
            let status = self.get(order_id, wait_for).await;
            answers.push((begin.elapsed(), status));
        }
        answers
    }
}

/// All tries ended at their deadline, and one of them in time, with the stage.
#[track_caller]
fn ended_at(stage: &str, answers: &[(Duration, Status)]) {
    let mut in_time = 0;
    for (after, status) in answers {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        let said = &Problem::from(status).metadata["stage"];
        in_time += usize::from(WAITED_FOR.contains(after) && said == stage);
    }
    assert!(in_time > 0, "no answer in time that says {stage}: {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_answered_at_its_deadline_with_the_stage_that_was_reached() {
    let mesh = Mesh::start().await;
    let (shop, patient) = (Shop::new(mesh.channel()), Patient::of(&mesh));
    ended_at("UNKNOWN", &patient.tries("nowhere", WaitFor::Validated).await);

    shop.made_to_order("card").await;
    let order = shop.judged(order("c-1", &[("card", 1)])).await;
    eventually("work order", async || {
        let order = shop.wait(&order.order_id, WaitFor::Unspecified).await.unwrap();
        (order.state() == OrderState::InManufacturing).then_some(())
    })
    .await;
    ended_at("IN_MANUFACTURING", &patient.tries(&order.order_id, WaitFor::Shipped).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_order_is_not_found_at_once_when_nobody_waits_for_it() {
    let mesh = Mesh::start().await;
    let answers = Patient::of(&mesh).tries("nowhere", WaitFor::Unspecified).await;
    for (_, status) in &answers {
        assert_eq!((status.code(), Problem::from(status).reason.as_ref()), (Code::NotFound, "ORDER_NOT_FOUND"));
    }
    assert!(answers.iter().any(|(after, _)| *after <= AT_ONCE), "{answers:?}");
}
