//! Orders and the verdicts on them: acceptance cases 1 to 3, 5 to 7, 9 and 10.

use std::time::Duration;

use futures::StreamExt;
use proto::orders::v1::{GetOrderRequest, Order, OrderState, WaitFor};
use proto::validation::v1::{Check, Outcome};
use service_host::Problem;
use testkit::Mesh;
use tonic::{Code, Request};

use crate::shop::{Shop, eventually, named, order, outcomes, priced, reason, states};

async fn shop() -> (Mesh, Shop) {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    (mesh, shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_validated_and_otherwise_what_was_sent() {
    let (_mesh, shop) = shop().await;
    shop.stock("underpants", 75).await;
    shop.stock("jumpers", 10).await;
    let sent = named("o-1", order("c-1", &[("jumpers", 1)]));
    shop.create(sent.clone()).await.unwrap();
    let found = shop.wait("o-1", WaitFor::Validated).await.unwrap();
    assert!(matches!(found.state(), OrderState::Validated | OrderState::Ready | OrderState::Shipped), "{found:?}");
    assert_eq!((&found.order_id, &found.customer_id, &found.lines), (&sent.order_id, &sent.customer_id, &sent.lines));
    assert_eq!(found.total.unwrap().minor_units, 19_99);
    assert!(found.reasons.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_enough_for_ten_and_the_eleventh_is_rejected() {
    let (_mesh, shop) = shop().await;
    // Made to order as well, so that nothing ships and what is reserved stays visible.
    shop.made_to_order("card").await;
    shop.stock("jumpers", 10).await;
    for n in 0..10 {
        let judged = shop.judged(order(&format!("c-{n}"), &[("jumpers", 1), ("card", 1)])).await;
        assert!(matches!(judged.state(), OrderState::Validated | OrderState::InManufacturing), "{judged:?}");
    }
    assert_eq!(shop.pieces("jumpers").await, (10, 10, 0));
    let eleventh = shop.judged(order("c-11", &[("jumpers", 1)])).await;
    assert_eq!(eleventh.state(), OrderState::Rejected);
    let reasons: Vec<_> = eleventh.reasons.iter().map(|r| (r.check(), r.product_id.as_str())).collect();
    assert_eq!(reasons, [(Check::Inventory, "jumpers")]);
    assert_eq!(shop.pieces("jumpers").await, (10, 10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_order_is_not_found_or_waited_for_until_the_deadline() {
    let (_mesh, shop) = shop().await;
    let status = shop.wait("nowhere", WaitFor::Unspecified).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));

    let wait = async |order_id: &str, wait_for: WaitFor| {
        let message =
            GetOrderRequest { order_id: order_id.to_owned(), wait_for: wait_for.into(), ..Default::default() };
        let mut request = Request::new(message);
        // Long enough for the answer to arrive before the client gives up, on a busy machine too.
        request.set_timeout(Duration::from_secs(2));
        let status = shop.orders.clone().get_order(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        Problem::from(&status).metadata["stage"].clone()
    };
    assert_eq!(wait("nowhere", WaitFor::Validated).await, "UNKNOWN");
    shop.made_to_order("card").await;
    let order = shop.judged(order("c-1", &[("card", 1)])).await;
    eventually("work order", async || shop.shipment(&order.order_id).await.ok()).await;
    assert_eq!(wait(&order.order_id, WaitFor::Shipped).await, "IN_MANUFACTURING");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_runs_out_for_the_order_that_comes_last() {
    let (_mesh, shop) = shop().await;
    shop.made_to_order("card").await;
    shop.stock("underpants", 75).await;
    shop.stock("jumpers", 1).await;
    let mut outcome = Vec::new();
    for (customer, product, quantity) in [("c-1", "underpants", 3), ("c-2", "jumpers", 1), ("c-3", "jumpers", 1)] {
        let judged = shop.judged(order(customer, &[(product, quantity), ("card", 1)])).await;
        outcome.push(judged.state() != OrderState::Rejected);
    }
    assert_eq!(outcome, [true, true, false]);
    assert_eq!(shop.pieces("underpants").await, (75, 3, 72));
    assert_eq!(shop.pieces("jumpers").await, (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_quantity_is_accepted_then_rejected_and_touches_nothing() {
    let (_mesh, shop) = shop().await;
    shop.stock("jumpers", 10).await;
    let created = shop.create(order("c-1", &[("jumpers", -1)])).await.unwrap();
    assert_eq!(created.state(), OrderState::Created);
    let judged = shop.wait(&created.order_id, WaitFor::Validated).await.unwrap();
    assert_eq!(judged.state(), OrderState::Rejected);
    assert!(judged.reasons.iter().any(|reason| reason.check() == Check::Details), "{judged:?}");
    eventually("every verdict", async || shop.verdicts(&judged.order_id).await.missing.is_empty().then_some(())).await;
    assert_eq!(shop.pieces("jumpers").await, (10, 0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reserved_for_a_rejected_order_is_free_again_once() {
    let (_mesh, shop) = shop().await;
    shop.stock("jumpers", 100).await;
    shop.stock("underpants", 100).await;
    for n in 0..20 {
        // Above the limit of a fraud session: FRAUD fails, INVENTORY may have reserved by then or not yet.
        let lines = [("jumpers", 2, 150_000), ("underpants", 1, 1)];
        let judged = shop.judged(priced(&format!("c-{n}"), &lines)).await;
        assert_eq!(judged.state(), OrderState::Rejected);
        let verdicts = eventually("every verdict", async || {
            let verdicts = shop.verdicts(&judged.order_id).await;
            verdicts.missing.is_empty().then_some(verdicts)
        })
        .await;
        assert_eq!(outcomes(&verdicts, Check::Fraud), [Outcome::Fail]);
        assert_eq!(outcomes(&verdicts, Check::Inventory).len(), 2);
    }
    for product in ["jumpers", "underpants"] {
        eventually(product, async || (shop.pieces(product).await == (100, 0, 100)).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_who_waits_for_an_order_gets_the_same_state() {
    let (_mesh, shop) = shop().await;
    shop.made_to_order("card").await;
    for (order_id, waiters) in [("o-2", 2), ("o-50", 50)] {
        let waiting: Vec<_> = (0..waiters)
            .map(|_| {
                let shop = shop.clone();
                tokio::spawn(async move { shop.wait(order_id, WaitFor::Validated).await.unwrap() })
            })
            .collect();
        shop.create(named(order_id, order("c-1", &[("card", 1)]))).await.unwrap();
        let mut answers = Vec::new();
        for waiter in waiting {
            answers.push(waiter.await.unwrap());
        }
        // Who came late may have seen it go on to the workshop; nobody sees it before it was validated.
        let done = [OrderState::Validated, OrderState::InManufacturing];
        assert!(answers.iter().all(|answer| done.contains(&answer.state())), "{answers:?}");
        let at_once: Vec<&Order> = answers.iter().filter(|a| a.state() == OrderState::Validated).collect();
        assert!(at_once.windows(2).all(|pair| pair[0] == pair[1]), "{at_once:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_as_the_first_time() {
    let (_mesh, shop) = shop().await;
    shop.stock("jumpers", 10).await;
    let wanted = order("c-1", &[("jumpers", 1)]);
    let first = shop.create_as(wanted.clone(), "r-1").await.unwrap();
    for _ in 0..5 {
        let again = shop.create_as(wanted.clone(), "r-1").await.unwrap();
        assert_eq!(again.order_id, first.order_id);
    }
    assert_eq!(shop.all_orders().await.len(), 1);

    let status = shop.create_as(order("c-1", &[("jumpers", 2)]), "r-1").await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));

    let same = shop.create(named(&first.order_id, wanted)).await.unwrap();
    assert_eq!(same.order_id, first.order_id);
    let status = shop.create(named(&first.order_id, order("c-1", &[("jumpers", 2)]))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::AlreadyExists, "ORDER_EXISTS".to_owned()));
    assert_eq!(shop.all_orders().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_repeats_at_once_are_one_order() {
    let (_mesh, shop) = shop().await;
    shop.stock("jumpers", 10).await;
    let wanted = order("c-1", &[("jumpers", 1)]);
    shop.see_to_customer("c-1").await.unwrap();
    let repeats = (0..1_000).map(|_| shop.create_for_stranger(wanted.clone(), "r-1"));
    let answers = futures::future::try_join_all(repeats).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "each gets the first answer");
    shop.wait(&answers[0].order_id, WaitFor::Shipped).await.unwrap();
    assert_eq!((shop.all_orders().await.len(), shop.pieces("jumpers").await), (1, (9, 0, 9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_orders_at_once_for_a_hundred_pieces_get_a_hundred() {
    let (_mesh, shop) = shop().await;
    // Made to order as well, so that nothing ships and what is reserved stays visible.
    shop.made_to_order("card").await;
    shop.stock("jumpers", 100).await;
    for n in 0..50 {
        shop.see_to_customer(&format!("c-{n}")).await.unwrap();
    }
    let orders = (0..1_000).map(|n| shop.judged(order(&format!("c-{}", n % 50), &[("jumpers", 1), ("card", 1)])));
    let judged = futures::stream::iter(orders).buffer_unordered(200).collect::<Vec<_>>().await;
    let (rejected, passed): (Vec<_>, Vec<_>) =
        judged.into_iter().partition(|order| order.state() == OrderState::Rejected);
    assert_eq!((passed.len(), rejected.len()), (100, 900));
    assert!(rejected.iter().all(|order| order.reasons.iter().any(|reason| reason.code == "OUT_OF_STOCK")));
    assert_eq!(shop.pieces("jumpers").await, (100, 100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_remembers_requests() {
    let (mesh, shop) = shop().await;
    shop.stock("jumpers", 10).await;
    let wanted = order("c-1", &[("jumpers", 1)]);
    let first = shop.create_as(wanted.clone(), "r-1").await.unwrap();
    let shipped = shop.wait(&first.order_id, WaitFor::Shipped).await.unwrap();
    assert_eq!(shipped.state(), OrderState::Shipped);
    drop(shop);

    let mesh = mesh.restart().await;
    let shop = Shop::new(mesh.channel());
    assert_eq!(shop.wait(&first.order_id, WaitFor::Unspecified).await.unwrap(), shipped);
    assert_eq!(shop.create_as(wanted, "r-1").await.unwrap().order_id, first.order_id);
    assert_eq!(states(&shop.all_orders().await)[&OrderState::Shipped], 1);
    eventually("stock", async || (shop.pieces("jumpers").await == (9, 0, 9)).then_some(())).await;
    drop(shop);
    assert!(mesh.stop().await.tasks_finished);
}
