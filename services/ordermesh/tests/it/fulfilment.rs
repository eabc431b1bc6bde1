//! Manufacturing and shipping: acceptance cases 16 to 19.

use proto::orders::v1::{OrderState, WaitFor};
use proto::shipping::v1::ShipmentState;
use testkit::Mesh;
use tonic::Code;

use crate::shop::{Shop, eventually, named, order, reason};

async fn workshop() -> (Mesh, Shop) {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.made_to_order("atlas").await;
    shop.made_to_order("globe").await;
    shop.stock("jumpers", 10).await;
    (mesh, shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ships_once_when_both_of_its_products_are_made() {
    let (_mesh, shop) = workshop().await;
    shop.create(named("o-1", order("c-1", &[("atlas", 1), ("globe", 1)]))).await.unwrap();
    let waiting = shop.shipment_at("o-1", ShipmentState::Waiting, "0/2").await;
    assert_eq!(waiting.missing, ["atlas", "globe"]);
    shop.report("o-1", "atlas", 1, "r-1").await.unwrap();
    let waiting = shop.shipment_at("o-1", ShipmentState::Waiting, "1/2").await;
    assert_eq!(waiting.missing, ["globe"]);
    assert_ne!(shop.wait("o-1", WaitFor::Unspecified).await.unwrap().state(), OrderState::Shipped);
    shop.report("o-1", "globe", 1, "r-2").await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Shipped, "2/2").await;
    assert_eq!(shop.wait("o-1", WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_are_made_before_the_order_count() {
    let (_mesh, shop) = workshop().await;
    for product in ["atlas", "globe"] {
        let answer = shop.report("o-1", product, 1, &format!("r-{product}")).await.unwrap();
        assert!(answer.remembered && answer.work_order.is_none(), "{answer:?}");
    }
    shop.create(named("o-1", order("c-1", &[("atlas", 1), ("globe", 1)]))).await.unwrap();
    assert_eq!(shop.wait("o-1", WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
    shop.shipment_at("o-1", ShipmentState::Shipped, "2/2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_pieces_ship_at_the_third_and_more_are_refused() {
    let (_mesh, shop) = workshop().await;
    shop.create(named("o-1", order("c-1", &[("atlas", 3)]))).await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Waiting, "0/3").await;
    let status = shop.report("o-1", "atlas", 5, "r-5").await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::FailedPrecondition, "TOO_MANY".to_owned()));
    let status = shop.report("o-1", "globe", 1, "r-6").await.unwrap_err();
    assert_eq!(reason(&status), "NOT_ON_WORK_ORDER");
    for (n, made) in [(1, 1), (2, 2), (2, 2), (2, 2)] {
        let answer = shop.report("o-1", "atlas", 1, &format!("r-{n}")).await.unwrap();
        assert_eq!(answer.work_order.unwrap().items[0].manufactured, made, "report {n}");
    }
    shop.shipment_at("o-1", ShipmentState::Waiting, "2/3").await;
    shop.report("o-1", "atlas", 1, "r-3").await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Shipped, "3/3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ships_twice() {
    let (_mesh, shop) = workshop().await;
    let wanted = named("o-1", order("c-1", &[("atlas", 1), ("jumpers", 2)]));
    shop.create_as(wanted.clone(), "r-order").await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Waiting, "0/1").await;
    shop.report("o-1", "atlas", 1, "r-1").await.unwrap();
    let shipped = shop.wait("o-1", WaitFor::Shipped).await.unwrap();
    assert_eq!(shipped.state(), OrderState::Shipped);
    let shipment = shop.shipment_at("o-1", ShipmentState::Shipped, "1/1").await;
    eventually("stock", async || (shop.pieces("jumpers").await == (8, 0, 8)).then_some(())).await;

    shop.report("o-1", "atlas", 1, "r-1").await.unwrap();
    shop.report("o-1", "atlas", 1, "r-2").await.unwrap_err();
    shop.create_as(wanted.clone(), "r-order").await.unwrap();
    shop.create(wanted).await.unwrap();
    let status = shop.cancel("o-1").await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::FailedPrecondition, "ILLEGAL_TRANSITION".to_owned()));

    // An order that came later has passed every topic behind whatever those might have sent.
    shop.create(named("o-2", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    shop.wait("o-2", WaitFor::Shipped).await.unwrap();
    eventually("stock", async || (shop.pieces("jumpers").await == (7, 0, 7)).then_some(())).await;
    assert_eq!(shop.shipment("o-1").await.unwrap(), shipment);
    assert_eq!(shop.wait("o-1", WaitFor::Unspecified).await.unwrap(), shipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_cancelled_while_it_waits_never_ships() {
    let (_mesh, shop) = workshop().await;
    shop.create(named("o-1", order("c-1", &[("atlas", 1), ("jumpers", 4)]))).await.unwrap();
    shop.shipment_at("o-1", ShipmentState::Waiting, "0/1").await;
    assert_eq!(shop.pieces("jumpers").await, (10, 4, 6));
    let cancelled = shop.cancel("o-1").await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    assert_eq!(reason(&shop.cancel("o-1").await.unwrap_err()), "ILLEGAL_TRANSITION");
    eventually("stock", async || (shop.pieces("jumpers").await == (10, 0, 10)).then_some(())).await;

    // Whether the report is refused depends on who heard of the cancellation first; it ships nothing in any case.
    let _ = shop.report("o-1", "atlas", 1, "r-1").await;
    shop.create(named("o-2", order("c-1", &[("jumpers", 1)]))).await.unwrap();
    shop.wait("o-2", WaitFor::Shipped).await.unwrap();
    eventually("stock", async || (shop.pieces("jumpers").await == (9, 0, 9)).then_some(())).await;
    assert_eq!(shop.shipment("o-1").await.unwrap().state(), ShipmentState::Cancelled);
    assert_eq!(shop.wait("o-1", WaitFor::Shipped).await.unwrap().state(), OrderState::Cancelled);
}
