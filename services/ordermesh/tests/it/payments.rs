//! Payments through the public API: what is paid, what is still to pay, in whatever order order and payment come.

use proto::common::v1::Money;
use proto::orders::v1::OrderState;
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::payments::v1::{
    GetPaymentRequest, GetPaymentResponse, Payment, PaymentState, RecordPaymentRequest, RecordPaymentResponse,
    SettlementState,
};
use testkit::Mesh;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::shop::{Shop, eventually, named, order, reason, timed};

pub(crate) fn euros(minor_units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units }
}

pub(crate) async fn pay(
    channel: Channel,
    order_id: &str,
    payment_id: &str,
    amount: Money,
    request_id: &str,
) -> Result<RecordPaymentResponse, Status> {
    let (payment_id, order_id) = (payment_id.to_owned(), order_id.to_owned());
    let payment = Payment { payment_id, order_id, amount: Some(amount), ..Default::default() };
    let request = RecordPaymentRequest { payment: Some(payment), request_id: request_id.to_owned() };
    PaymentServiceClient::new(channel).record_payment(timed(request)).await.map(tonic::Response::into_inner)
}

async fn payment(mesh: &Mesh, order_id: &str) -> Result<GetPaymentResponse, Status> {
    let request = GetPaymentRequest { order_id: order_id.to_owned(), consistency: None };
    mesh.payments().get_payment(timed(request)).await.map(tonic::Response::into_inner)
}

async fn settled(mesh: &Mesh, order_id: &str, state: SettlementState) -> GetPaymentResponse {
    eventually(&format!("{order_id} {state:?}"), async || {
        payment(mesh, order_id).await.ok().filter(|found| found.state() == state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_in_parts_and_overpaid_and_nothing_counts_twice() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    let order_id = shop.create(order("c-1", &[("jumpers", 1)])).await.unwrap().order_id;
    let unpaid = settled(&mesh, &order_id, SettlementState::Unpaid).await;
    assert_eq!(
        (unpaid.due, unpaid.balance, unpaid.customer_id.as_str()),
        (Some(euros(1999)), Some(euros(1999)), "c-1")
    );

    let first = pay(mesh.channel(), &order_id, "p-1", euros(999), "r-1").await.unwrap();
    assert_eq!(
        (first.state(), first.paid, first.balance),
        (SettlementState::Underpaid, Some(euros(999)), Some(euros(1000)))
    );
    for request_id in ["r-1", "r-2", ""] {
        let again = pay(mesh.channel(), &order_id, "p-1", euros(999), request_id).await.unwrap();
        assert_eq!(again.payment, first.payment);
    }
    let reused = pay(mesh.channel(), &order_id, "p-1", euros(998), "r-1").await.unwrap_err();
    assert_eq!((reused.code(), reason(&reused)), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
    let taken = pay(mesh.channel(), &order_id, "p-1", euros(998), "").await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken)), (Code::AlreadyExists, "PAYMENT_EXISTS".to_owned()));
    let dollars = Money { currency_code: "USD".to_owned(), minor_units: 1000 };
    let wrong = pay(mesh.channel(), &order_id, "p-2", dollars, "").await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong)), (Code::FailedPrecondition, "CURRENCY_MISMATCH".to_owned()));

    assert_eq!(pay(mesh.channel(), &order_id, "p-2", euros(1000), "").await.unwrap().state(), SettlementState::Paid);
    // Without an id the mesh makes one.
    let over = pay(mesh.channel(), &order_id, "", euros(1), "r-3").await.unwrap();
    assert_eq!((over.state(), over.balance), (SettlementState::Overpaid, Some(euros(-1))));
    let all = payment(&mesh, &order_id).await.unwrap();
    assert_eq!((all.payments.len(), all.paid), (3, Some(euros(2000))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_waits_for_its_order_through_a_restart() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    assert_eq!(payment(&mesh, "early").await.unwrap_err().code(), Code::NotFound);
    let early = pay(mesh.channel(), "early", "p-1", euros(1999), "").await.unwrap();
    assert_eq!((early.payment.unwrap().state(), early.balance), (PaymentState::Pending, None));
    drop(shop);
    let mesh = mesh.restart().await;
    let shop = Shop::new(mesh.channel());
    assert_eq!(payment(&mesh, "early").await.unwrap().paid, Some(euros(1999)));
    shop.create(named("early", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    let paid = settled(&mesh, "early", SettlementState::Paid).await;
    assert_eq!((paid.payments[0].state(), paid.balance), (PaymentState::Booked, Some(euros(0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_order_costs_nothing() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    let rejected = shop.judged(order("c-1", &[("nothing", 1)])).await;
    assert_eq!(rejected.state(), OrderState::Rejected);
    pay(mesh.channel(), &rejected.order_id, "p-1", euros(1999), "").await.unwrap();
    let over = settled(&mesh, &rejected.order_id, SettlementState::Overpaid).await;
    assert_eq!((over.due, over.balance), (Some(euros(0)), Some(euros(-1999))));
}
