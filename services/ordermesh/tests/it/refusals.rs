//! The table of errors, row by row, as OrderService answers them through the gateway.

use std::time::Duration;

use proto::orders::v1::{
    CancelOrderRequest, GetOrderRequest, ListOrdersRequest, Order, OrderState, WaitFor, WatchOrderRequest,
};
use service_host::token::{self, ResumeToken};
use service_host::{Code, Problem};
use testkit::Mesh;
use tonic::Status;

use crate::shop::{Shop, named, order, timed};

fn refused<T>(answer: Result<T, Status>) -> Problem {
    let Err(status) = answer else { panic!("it must be refused") };
    Problem::from(&status)
}

/// Code, reason, and these facts.
fn said<'a>(problem: &'a Problem, facts: &[&str]) -> (Code, &'a str, Vec<&'a str>) {
    let facts = facts.iter().map(|fact| problem.metadata.get(*fact).map_or("absent", String::as_str)).collect();
    (problem.code, &problem.reason, facts)
}

async fn cancel(shop: &Shop, order_id: &str, etag: &str, request_id: &str) -> Result<Order, Status> {
    let request = CancelOrderRequest { order_id: order_id.into(), etag: etag.into(), request_id: request_id.into() };
    Ok(shop.orders.clone().cancel_order(timed(request)).await?.into_inner().order.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_code_its_reason_and_its_facts() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.made_to_order("atlas").await;
    let wanted = named("o-1", order("c-1", &[("atlas", 1)]));
    shop.create_as(wanted.clone(), "r-1").await.unwrap();

    let malformed =
        refused(shop.create(Order { customer_id: "c 1".into(), lines: Vec::new(), ..wanted.clone() }).await);
    assert_eq!(said(&malformed, &[]), (Code::InvalidArgument, "INVALID_FIELD", vec![]));
    let fields: Vec<_> = malformed.violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["order.customer_id", "order.lines"], "all at once");
    let reused = refused(shop.create_as(named("o-1", order("c-2", &[("atlas", 1)])), "r-1").await);
    assert_eq!(said(&reused, &["request_id"]), (Code::InvalidArgument, "REQUEST_ID_REUSED", vec!["r-1"]));
    let taken = refused(shop.create(named("o-1", order("c-2", &[("atlas", 1)]))).await);
    assert_eq!(said(&taken, &["order_id"]), (Code::AlreadyExists, "ORDER_EXISTS", vec!["o-1"]));

    let unknown = [refused(shop.wait("o-2", WaitFor::Unspecified).await), refused(shop.cancel("o-2").await)];
    for problem in &unknown {
        assert_eq!(said(problem, &["order_id"]), (Code::NotFound, "ORDER_NOT_FOUND", vec!["o-2"]));
    }
    let mut hurried = tonic::Request::new(GetOrderRequest {
        order_id: "o-2".into(),
        wait_for: WaitFor::Created.into(),
        ..Default::default()
    });
    hurried.set_timeout(Duration::from_millis(200));
    let late = refused(shop.orders.clone().get_order(hurried).await);
    assert_eq!(said(&late, &["stage"]), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", vec!["UNKNOWN"]));
    let negative = ListOrdersRequest { page_size: -1, ..Default::default() };
    let negative = refused(shop.orders.clone().list_orders(timed(negative)).await);
    assert_eq!(said(&negative, &[]), (Code::InvalidArgument, "INVALID_FIELD", vec![]));

    // The order waits for its piece, so that its version stays.
    let waiting = crate::shop::eventually("a work order", async || {
        let order = shop.wait("o-1", WaitFor::Unspecified).await.ok()?;
        (order.state() == OrderState::InManufacturing).then_some(order)
    })
    .await;
    let conflict = refused(cancel(&shop, "o-1", "1", "r-2").await);
    let facts = vec![waiting.etag.as_str(), "1"];
    assert_eq!(said(&conflict, &["current", "wanted"]), (Code::Aborted, "VERSION_CONFLICT", facts));
    let garbage = refused(cancel(&shop, "o-1", "no etag of ours", "r-3").await);
    assert_eq!(said(&garbage, &["wanted"]), (Code::Aborted, "VERSION_CONFLICT", vec!["no etag of ours"]));
    let cancelled = cancel(&shop, "o-1", &waiting.etag, "r-4").await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    assert_eq!(cancel(&shop, "o-1", &waiting.etag, "r-4").await.unwrap(), cancelled, "the first answer again");
    let over = refused(cancel(&shop, "o-1", "", "r-5").await);
    let facts = vec!["CANCELLED", "CancelOrder"];
    assert_eq!(said(&over, &["state", "command"]), (Code::FailedPrecondition, "ILLEGAL_TRANSITION", facts));

    let watch = WatchOrderRequest { order_id: "o-1".into(), ..Default::default() };
    let mut stream = shop.orders.clone().watch_order(timed(watch.clone())).await.unwrap().into_inner();
    let resume_token = stream.message().await.unwrap().unwrap().resume_token;
    let fingerprint = token::fingerprint(&watch);
    let token = (0..4).find_map(|partition| ResumeToken::decode(&resume_token, partition, fingerprint).ok().flatten());
    let token = token.unwrap();
    let other_life = ResumeToken { life: token.life ^ 1, ..token.clone() };
    let not_in_the_log = ResumeToken { offset: token.offset + 1_000, ..token };
    for expired in [other_life, not_in_the_log] {
        let request = WatchOrderRequest { resume_token: expired.encode(), ..watch.clone() };
        let expired = refused(shop.orders.clone().watch_order(timed(request)).await);
        assert_eq!(said(&expired, &["earliest"]), (Code::OutOfRange, "TOKEN_EXPIRED", vec!["0"]));
    }
}
