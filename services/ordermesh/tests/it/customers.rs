//! Customers and their credit: acceptance cases 11 to 14, and the greetings.

use std::time::Duration;

use proto::customers::v1::{
    Customer, CustomerOrder, ListCustomerOrdersRequest, ListGreetingsRequest, SendGreetingRequest,
    SetCreditLimitRequest, UpdateCustomerRequest,
};
use proto::orders::v1::{Order, OrderState, WaitFor};
use proto::payments::v1::payment_service_client::PaymentServiceClient;
use proto::payments::v1::{Payment, RecordPaymentRequest};
use proto::validation::v1::{Check, FraudAlert, ListFraudAlertsRequest, Outcome};
use service_host::Clock;
use testkit::Mesh;

use crate::shop::{Shop, euros, eventually, named, order, outcomes, priced, timed};

async fn shop() -> (Mesh, Shop) {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 1_000).await;
    (mesh, shop)
}

/// An order of one jumper for so many cents, judged.
async fn spend(shop: &Shop, customer_id: &str, cents: i64) -> Order {
    shop.judged(priced(customer_id, &[("jumpers", 1, cents)])).await
}

async fn set_limit(shop: &Shop, customer_id: &str, cents: i64) {
    let (customer_id, credit_limit) = (customer_id.to_owned(), Some(euros(cents)));
    let request = SetCreditLimitRequest { customer_id, credit_limit, ..Default::default() };
    shop.customers.clone().set_credit_limit(timed(request)).await.unwrap();
}

async fn pay(mesh: &Mesh, order_id: &str, cents: i64) {
    let payment = Payment { order_id: order_id.to_owned(), amount: Some(euros(cents)), ..Default::default() };
    let request = RecordPaymentRequest { payment: Some(payment), request_id: format!("pay-{order_id}") };
    PaymentServiceClient::new(mesh.channel()).record_payment(timed(request)).await.unwrap();
}

/// Whether the order was rejected for want of credit, with this reason.
fn refused_for(order: &Order, code: &str) -> bool {
    let is_reason = |reason: &proto::validation::v1::Reason| reason.check() == Check::Credit && reason.code == code;
    order.state() == OrderState::Rejected && order.reasons.iter().any(is_reason)
}

async fn credit_becomes(shop: &Shop, customer_id: &str, reserved: i64) {
    eventually("credit", async || (shop.credit(customer_id).await.1 == reserved).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_used_until_it_is_paid() {
    let (mesh, shop) = shop().await;
    shop.customer("c-1", Some(1_000_00)).await.unwrap();
    let first = spend(&shop, "c-1", 800_00).await;
    assert_eq!(shop.wait(&first.order_id, WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
    let second = spend(&shop, "c-1", 300_00).await;
    assert!(refused_for(&second, "CREDIT_LIMIT_EXCEEDED"), "{second:?}");
    let third = spend(&shop, "c-1", 200_00).await;
    assert_ne!(third.state(), OrderState::Rejected, "exactly what is left: {third:?}");
    assert_eq!(shop.credit("c-1").await, (Some(1_000_00), 1_000_00, Some(0)));
    pay(&mesh, &first.order_id, 800_00).await;
    credit_becomes(&shop, "c-1", 200_00).await;
    let fourth = spend(&shop, "c-1", 300_00).await;
    assert_ne!(fourth.state(), OrderState::Rejected, "{fourth:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_can_be_raised_and_0_is_one() {
    let (_mesh, shop) = shop().await;
    shop.customer("c-1", Some(1_000_00)).await.unwrap();
    assert!(refused_for(&spend(&shop, "c-1", 1_000_01).await, "CREDIT_LIMIT_EXCEEDED"));
    set_limit(&shop, "c-1", 4_000_00).await;
    let judged = spend(&shop, "c-1", 900_00).await;
    assert_ne!(judged.state(), OrderState::Rejected, "{judged:?}");
    shop.customer("c-2", Some(4_000_00)).await.unwrap();
    let judged = spend(&shop, "c-2", 1_500_00).await;
    assert_ne!(judged.state(), OrderState::Rejected, "{judged:?}");
    shop.customer("c-0", Some(0)).await.unwrap();
    assert!(refused_for(&spend(&shop, "c-0", 1).await, "CREDIT_LIMIT_EXCEEDED"));
    let free = spend(&shop, "c-0", 0).await;
    assert_ne!(free.state(), OrderState::Rejected, "{free:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_an_unknown_customer_is_rejected_and_says_who() {
    let (_mesh, shop) = shop().await;
    let created = shop.create_for_stranger(order("c-nobody", &[("jumpers", 1)]), "").await.unwrap();
    let judged = shop.wait(&created.order_id, WaitFor::Validated).await.unwrap();
    assert!(refused_for(&judged, "CUSTOMER_NOT_FOUND"), "{judged:?}");
    assert!(judged.reasons.iter().any(|reason| reason.message.contains("c-nobody")), "{judged:?}");
    let verdicts = eventually("every verdict", async || {
        let verdicts = shop.verdicts(&judged.order_id).await;
        verdicts.missing.is_empty().then_some(verdicts)
    })
    .await;
    assert_eq!(outcomes(&verdicts, Check::Credit), [Outcome::Fail]);
    eventually("stock", async || (shop.pieces("jumpers").await == (1_000, 0, 1_000)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_of_orders_that_end_unpaid_is_free_again_once() {
    let (_mesh, shop) = shop().await;
    shop.made_to_order("card").await;
    shop.customer("c-1", Some(100_000_00)).await.unwrap();
    // Cancelled while it waits for its card.
    shop.create(named("o-1", priced("c-1", &[("jumpers", 1, 10_00), ("card", 1, 5_00)]))).await.unwrap();
    shop.wait("o-1", WaitFor::Validated).await.unwrap();
    assert_eq!(shop.credit("c-1").await.1, 15_00);
    shop.cancel("o-1").await.unwrap();
    credit_becomes(&shop, "c-1", 0).await;
    // Rejected by other checks, before or after the credit was reserved.
    for n in 0..10 {
        let judged = shop.judged(named(&format!("r-{n}"), order("c-1", &[("jumpers", 2_000)]))).await;
        assert_eq!(judged.state(), OrderState::Rejected);
        let negative = shop.judged(named(&format!("n-{n}"), order("c-1", &[("jumpers", -1)]))).await;
        assert_eq!(negative.state(), OrderState::Rejected);
    }
    credit_becomes(&shop, "c-1", 0).await;
}

async fn rows(shop: &Shop, customer_id: &str) -> Vec<CustomerOrder> {
    let request =
        ListCustomerOrdersRequest { customer_id: customer_id.to_owned(), require_complete: true, ..Default::default() };
    shop.customers.clone().list_customer_orders(timed(request)).await.unwrap().into_inner().customer_orders
}

/// The rows of a customer, or of all, once these are their orders, states and first names.
async fn rows_become(shop: &Shop, customer_id: &str, wanted: &[(&str, OrderState, &str)]) {
    let mut wanted: Vec<_> =
        wanted.iter().map(|(id, state, name)| ((*id).to_owned(), *state, (*name).to_owned())).collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    eventually("rows", async || {
        let row = |row: CustomerOrder| {
            let (order, customer) = (row.order.unwrap(), row.customer.unwrap());
            assert_eq!(order.customer_id, customer.customer_id);
            (order.order_id.clone(), order.state(), customer.first_name)
        };
        let mut found: Vec<_> = rows(shop, customer_id).await.into_iter().map(row).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        (found == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_stand_beside_their_customer_whoever_came_first() {
    use OrderState::{Rejected, Shipped};
    let (_mesh, shop) = shop().await;
    // Judged before the customer exists, and therefore rejected for good.
    shop.create_for_stranger(named("o-1", order("c-1", &[("jumpers", 1)])), "").await.unwrap();
    rows_become(&shop, "c-1", &[("o-1", Rejected, "")]).await;
    shop.customer("c-1", None).await.unwrap();
    rows_become(&shop, "c-1", &[("o-1", Rejected, "C-1")]).await;
    shop.create(named("o-2", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    shop.create(named("o-3", order("c-2", &[("jumpers", 1)]))).await.unwrap();
    rows_become(&shop, "", &[("o-1", Rejected, "C-1"), ("o-2", Shipped, "C-1"), ("o-3", Shipped, "C-2")]).await;
    let row = rows(&shop, "c-2").await.remove(0).order.unwrap();
    assert_eq!(row, shop.wait("o-3", WaitFor::Shipped).await.unwrap(), "the row shows the order as it is");

    let customer = Customer { customer_id: "c-1".to_owned(), first_name: "Ada".to_owned(), ..Default::default() };
    let request = UpdateCustomerRequest { customer: Some(customer), ..Default::default() };
    shop.customers.clone().update_customer(timed(request)).await.unwrap();
    // At once: the view joins when it is read.
    let names: Vec<_> = rows(&shop, "c-1").await.into_iter().map(|row| row.customer.unwrap().first_name).collect();
    assert_eq!(names, ["Ada", "Ada"]);
}

async fn alerts(shop: &Shop, customer_id: &str) -> Vec<FraudAlert> {
    let request =
        ListFraudAlertsRequest { customer_id: customer_id.to_owned(), require_complete: true, ..Default::default() };
    shop.validation.clone().list_fraud_alerts(timed(request)).await.unwrap().into_inner().fraud_alerts
}

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_within_a_window_are_one_alert_that_grows() {
    let begin_ms = 1_750_000_020_000;
    let mesh = Mesh::with(Mesh::config(), Clock::manual(begin_ms)).await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 1_000).await;
    let buy = async |customer_id: &str| {
        let judged = spend(&shop, customer_id, 1_00).await;
        assert_ne!(judged.state(), OrderState::Rejected, "an alert fails nothing: {judged:?}");
    };
    for n in 0..3 {
        assert_eq!(alerts(&shop, "").await, [], "after {n} orders");
        buy("c-1").await;
        mesh.clock().advance(Duration::from_secs(9));
    }
    let begin = |alert: &FraudAlert| alert.window_start.as_ref().unwrap().seconds;
    let end = |alert: &FraudAlert| alert.window_end.as_ref().unwrap().seconds;
    let shown = async || -> Vec<_> {
        let alerts = alerts(&shop, "").await.into_iter();
        alerts.map(|alert| (alert.customer_id.clone(), end(&alert) - begin(&alert), alert.count)).collect()
    };
    assert_eq!(shown().await, [("c-1".to_owned(), 30, 3)]);
    buy("c-1").await;
    buy("c-2").await;
    assert_eq!(shown().await, [("c-1".to_owned(), 30, 4)]);
    assert_eq!(begin(&alerts(&shop, "c-1").await[0]), begin_ms / 1_000);
    mesh.clock().advance(Duration::from_secs(3));
    buy("c-1").await;
    assert_eq!(shown().await, [("c-1".to_owned(), 30, 4)], "a new window counts anew");
    assert_eq!(alerts(&shop, "c-2").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_reaches_one_customer_or_everyone() {
    let (_mesh, shop) = shop().await;
    for customer_id in ["c-1", "c-2"] {
        shop.customer(customer_id, None).await.unwrap();
    }
    let greet = async |customer_id: &str, request_id: &str| {
        let (customer_id, message) = (customer_id.to_owned(), "Good morning".to_owned());
        let request = SendGreetingRequest { customer_id, message, request_id: request_id.to_owned() };
        let sent = shop.customers.clone().send_greeting(timed(request)).await.unwrap().into_inner();
        sent.greeting.unwrap()
    };
    let to_everyone = greet("", "r-1").await;
    assert_eq!(greet("", "r-1").await, to_everyone, "the same request again");
    let to_one = greet("c-1", "r-2").await;
    let list = async |customer_id: &str| {
        let request = ListGreetingsRequest { customer_id: customer_id.to_owned(), ..Default::default() };
        shop.customers.clone().list_greetings(timed(request)).await.unwrap().into_inner().greetings
    };
    assert_eq!(list("c-2").await, std::slice::from_ref(&to_everyone));
    assert_eq!(list("c-1").await.len(), 2);
    assert!(list("c-1").await.contains(&to_one) && list("").await.len() == 2);
}
