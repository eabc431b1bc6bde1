//! The history of an order: what every service said about it, where that is recorded, each after what it follows from.

use proto::customers::v1::{CreateCustomerRequest, Customer};
use proto::orders::v1::{CreateOrderRequest, GetOrderHistoryRequest, HistoryEntry, OrderState, WaitFor};
use proto::validation::v1::{Check, Outcome};
use testkit::Mesh;
use tonic::{Code, Status};

use crate::payments::pay;
use crate::shop::{Shop, euros, eventually, named, order, priced, reason, timed};

async fn history(shop: &Shop, order_id: &str) -> Result<Vec<HistoryEntry>, Status> {
    let request = GetOrderHistoryRequest { order_id: order_id.to_owned(), consistency: None };
    Ok(shop.orders.clone().get_order_history(timed(request)).await?.into_inner().entries)
}

fn told(entries: &[HistoryEntry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry.topic, entry.event)).collect()
}

fn at(told: &[String], what: &str) -> usize {
    told.iter().position(|told| told == what).unwrap_or_else(|| panic!("{what} is not among {told:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_heard_in_the_history_of_an_order() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    shop.made_to_order("atlas").await;
    // Others around it, whose records are not its own.
    for n in 0..20 {
        shop.judged(named(&format!("other-{n}"), order(&format!("c-{n}"), &[("jumpers", 0)]))).await;
    }
    shop.judged(named("o-1", order("c-1", &[("jumpers", 1), ("atlas", 2)]))).await;
    shop.report("o-1", "atlas", 1, "r-1").await.unwrap();
    shop.report("o-1", "atlas", 1, "r-2").await.unwrap();
    assert_eq!(shop.wait("o-1", WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);

    let entries = history(&shop, "o-1").await.unwrap();
    let all = told(&entries);
    let in_order = [
        "orders created",
        "order-validations passed",
        "orders validated",
        "manufactured opened",
        "orders in_manufacturing",
        "manufactured item_manufactured",
        "manufactured completed",
        "orders ready",
        "orders shipped",
    ];
    let places: Vec<usize> = in_order.iter().map(|what| at(&all, what)).collect();
    assert!(places.is_sorted(), "{all:?}");
    assert!(at(&all, "shipments shipped") < at(&all, "orders shipped"));
    assert_eq!(all.iter().filter(|told| *told == "manufactured item_manufactured").count(), 2);
    let verdicts: Vec<_> = entries.iter().filter(|entry| entry.event == "verdict").collect();
    let of = |check: Check| verdicts.iter().filter(|entry| entry.check() == check).count();
    assert_eq!((of(Check::Fraud), of(Check::Inventory)), (1, 2), "{verdicts:?}");
    assert!(verdicts.iter().all(|entry| entry.outcome() == Outcome::Pass));
    let decided = at(&all, "order-validations passed");
    assert!(entries[..decided].iter().skip(1).all(|entry| entry.event == "verdict"), "{all:?}");
    // What it says is where it says.
    let mut places: Vec<_> = entries.iter().map(|entry| (entry.topic.clone(), entry.offset)).collect();
    assert!(entries.iter().all(|entry| entry.partition == entries[0].partition && entry.time.is_some()));
    places.sort();
    places.dedup();
    assert_eq!(places.len(), entries.len(), "each record once");

    let mesh = mesh.restart().await;
    assert_eq!(history(&Shop::new(mesh.channel()), "o-1").await.unwrap(), entries, "it survives a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_names_the_trace_of_the_call_that_it_follows_from() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    shop.see_to_customer("c-1").await.unwrap();
    let order = named("o-1", order("c-1", &[("jumpers", 1)]));
    let mut request =
        timed(CreateOrderRequest { order: Some(order), wait_for: WaitFor::Shipped.into(), ..Default::default() });
    request.metadata_mut().insert("traceparent", TRACE.parse().unwrap());
    shop.orders.clone().create_order(request).await.unwrap();
    let entries = history(&shop, "o-1").await.unwrap();
    assert!(entries.len() >= 6, "{entries:?}");
    let (trace, _) = TRACE.split_at("00-4bf92f3577b34da6a3ce929d0e0e4736-".len());
    assert!(entries.iter().all(|entry| entry.traceparent.starts_with(trace)), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_in_the_history_with_its_reasons() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    let rejected = shop.judged(named("o-1", priced("c-1", &[("jumpers", 1, 300_000)]))).await;
    assert_eq!(rejected.state(), OrderState::Rejected);
    let entries = history(&shop, "o-1").await.unwrap();
    let all = told(&entries);
    assert!(at(&all, "orders created") < at(&all, "order-validations failed"));
    assert!(at(&all, "order-validations failed") < at(&all, "orders rejected"));
    assert!(entries[at(&all, "orders rejected")].reasons.iter().any(|reason| reason.check() == Check::Fraud));
    let unknown = history(&shop, "o-2").await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown)), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));
    let malformed = history(&shop, "o 2").await.unwrap_err();
    assert_eq!((malformed.code(), reason(&malformed)), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_and_mailed_is_in_the_history_also_what_came_before_the_order() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 10).await;
    let email = "ada@example.org".to_owned();
    let customer = Customer { customer_id: "c-1".to_owned(), email: email.clone(), ..Default::default() };
    let request = CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
    shop.customers.clone().create_customer(timed(request)).await.unwrap();
    pay(mesh.channel(), "o-1", "p-early", euros(999), "").await.unwrap();
    let judged = shop.judged(named("o-1", order("c-1", &[("jumpers", 1)]))).await;
    let cost = judged.total.unwrap();
    pay(mesh.channel(), "o-1", "p-late", euros(cost.minor_units - 999), "").await.unwrap();
    shop.wait("o-1", WaitFor::Shipped).await.unwrap();
    let entries = eventually("the e-mail is sent, and in the history", async || {
        let entries = history(&shop, "o-1").await.unwrap();
        told(&entries).contains(&"mails sent".to_owned()).then_some(entries)
    })
    .await;
    let all = told(&entries);
    let places = |what: [&str; 4]| what.map(|what| at(&all, what));
    assert!(
        places(["payments recorded", "orders created", "payments booked", "payments settled"]).is_sorted(),
        "{all:?}"
    );
    assert!(places(["orders created", "orders validated", "mails decided", "mails sent"]).is_sorted(), "{all:?}");
    assert!(at(&all, "payments settled") < at(&all, "mails decided"), "{all:?}");
    let recorded: Vec<_> = entries.iter().filter(|entry| entry.event == "recorded").collect();
    let paid: Vec<_> = recorded.iter().map(|entry| (entry.payment_id.as_str(), entry.amount.clone())).collect();
    let rest = euros(cost.minor_units - 999);
    assert_eq!(paid, [("p-early", Some(euros(999))), ("p-late", Some(rest))]);
    assert_eq!(entries[at(&all, "payments settled")].amount, Some(cost));
    assert_eq!(entries[at(&all, "mails sent")].recipient, email);
    assert!(entries.iter().all(|entry| entry.time.is_some()));

    drop(shop);
    let mesh = mesh.restart().await;
    assert_eq!(history(&Shop::new(mesh.channel()), "o-1").await.unwrap(), entries, "it survives a restart");
}
