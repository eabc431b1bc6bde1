//! The whole definition without a log: what is emitted and what is stored.

use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::manufacturing::v1 as manufacturing;
use proto::orders::v1 as orders;
use proto::orders::v1::order_event;
use proto::shipping::v1 as pb;
use testkit::Driver;

use crate::stores::{SHIPMENTS, WAITING};
use crate::{Config, topics, wire};

struct Harbour {
    driver: Driver,
}

impl Harbour {
    fn new() -> Self {
        Self { driver: Driver::new(crate::definition(&Config::default())) }
    }

    fn order_event(&mut self, order_id: &str, event: order_event::Event) {
        let event = orders::OrderEvent { order_id: order_id.into(), event: Some(event), ..Default::default() };
        self.driver.record("orders", order_id.as_bytes(), event.encode_to_vec());
    }

    fn validated(&mut self, order_id: &str, lines: &[(&str, i64, Fulfilment)]) {
        let line = |(product_id, quantity, _): &(&str, i64, Fulfilment)| orders::OrderLine {
            product_id: (*product_id).into(),
            quantity: *quantity,
            unit_price: None,
        };
        let order = orders::Order { lines: lines.iter().map(line).collect(), ..Default::default() };
        let fulfilments = lines.iter().map(|(_, _, fulfilment)| i32::from(*fulfilment)).collect();
        let validated = orders::OrderValidated { order: Some(order), fulfilments };
        self.order_event(order_id, order_event::Event::Validated(validated));
    }

    /// A validated order of a desk and a lamp, made to order, and of socks from stock.
    fn furniture(&mut self, order_id: &str) {
        let socks = ("socks", 7, Fulfilment::FromStock);
        self.validated(order_id, &[("desk", 1, Fulfilment::MadeToOrder), socks, ("lamp", 1, Fulfilment::MadeToOrder)]);
    }

    fn made(&mut self, order_id: &str, product_id: &str, manufactured: i64) {
        let item =
            manufacturing::ItemManufactured { product_id: product_id.into(), manufactured, ..Default::default() };
        let event = manufacturing::ManufacturingEvent {
            order_id: order_id.into(),
            time: None,
            event: Some(manufacturing::manufacturing_event::Event::ItemManufactured(item)),
        };
        self.driver.record("manufactured", order_id.as_bytes(), event.encode_to_vec());
    }

    fn cancellation_requested(&mut self, order_id: &str) {
        let event = order_event::Event::CancellationRequested(orders::OrderCancellationRequested {});
        self.order_event(order_id, event);
    }

    fn cancelled(&mut self, order_id: &str) {
        self.order_event(order_id, order_event::Event::Cancelled(orders::OrderCancelled {}));
    }

    /// What was told since the last call, in short.
    fn told(&mut self) -> Vec<String> {
        let emitted = self.driver.emitted();
        let short = emitted.into_iter().map(|record| {
            assert_eq!(record.topic, topics::SHIPMENTS);
            let event = pb::ShipmentEvent::decode(record.value).unwrap();
            assert_eq!(event.order_id.as_bytes(), record.key);
            match event.event.unwrap() {
                pb::shipment_event::Event::Shipped(_) => format!("{} shipped", event.order_id),
                pb::shipment_event::Event::Cancelled(_) => format!("{} cancelled", event.order_id),
            }
        });
        short.collect()
    }

    /// The shipment as a client sees it, in short: state, progress, what is missing.
    fn seen(&self, order_id: &str) -> Option<(pb::ShipmentState, String, String)> {
        let shipment = wire::shipment(&self.driver.get(SHIPMENTS, order_id.as_bytes())?).unwrap();
        let shipment = wire::shipment_to_proto(order_id, shipment)?;
        Some((shipment.state(), shipment.progress.clone(), shipment.missing.join(",")))
    }

    fn waiting(&self) -> usize {
        self.driver.view().scan(WAITING, b"", None, 100).unwrap().len()
    }
}

fn seen(state: pb::ShipmentState, progress: &str, missing: &str) -> Option<(pb::ShipmentState, String, String)> {
    Some((state, progress.into(), missing.into()))
}

use pb::ShipmentState::{Cancelled, Shipped, Waiting};

#[test]
fn a_shipment_shows_what_is_missing_until_it_ships() {
    let mut harbour = Harbour::new();
    harbour.furniture("o-1");
    assert_eq!(harbour.seen("o-1"), seen(Waiting, "0/2 manufactured", "desk,lamp"));
    harbour.made("o-1", "desk", 1);
    assert_eq!(harbour.seen("o-1"), seen(Waiting, "1/2 manufactured", "lamp"));
    assert_eq!((harbour.told(), harbour.waiting()), (vec![], 1));
    harbour.made("o-1", "lamp", 1);
    assert_eq!(harbour.seen("o-1"), seen(Shipped, "2/2 manufactured", ""));
    assert_eq!((harbour.told(), harbour.waiting()), (vec!["o-1 shipped".to_owned()], 0));
}

#[test]
fn items_may_come_before_the_order() {
    let mut harbour = Harbour::new();
    harbour.made("o-1", "desk", 1);
    harbour.made("o-1", "lamp", 1);
    assert_eq!((harbour.seen("o-1"), harbour.waiting()), (None, 0));
    harbour.furniture("o-1");
    assert_eq!(harbour.seen("o-1"), seen(Shipped, "2/2 manufactured", ""));
    assert_eq!((harbour.told(), harbour.waiting()), (vec!["o-1 shipped".to_owned()], 0));
}

#[test]
fn an_order_from_stock_ships_at_once_and_costs_one_small_row() {
    let mut harbour = Harbour::new();
    harbour.validated("o-1", &[("socks", 7, Fulfilment::FromStock)]);
    assert_eq!(harbour.seen("o-1"), seen(Shipped, "0/0 manufactured", ""));
    assert_eq!((harbour.told(), harbour.waiting()), (vec!["o-1 shipped".to_owned()], 0));
    assert!(harbour.driver.get(SHIPMENTS, b"o-1").unwrap().len() < 32);
}

#[test]
fn after_shipping_nothing_happens_any_more() {
    let mut harbour = Harbour::new();
    harbour.furniture("o-1");
    harbour.made("o-1", "desk", 1);
    harbour.made("o-1", "lamp", 1);
    harbour.told();
    let row = harbour.driver.get(SHIPMENTS, b"o-1");
    harbour.made("o-1", "lamp", 1);
    harbour.made("o-1", "lamp", 2);
    harbour.furniture("o-1");
    harbour.cancellation_requested("o-1");
    harbour.cancelled("o-1");
    assert_eq!(harbour.told(), [""; 0]);
    assert_eq!(harbour.driver.get(SHIPMENTS, b"o-1"), row);
}

#[test]
fn a_cancellation_that_comes_first_is_answered_and_final() {
    let mut harbour = Harbour::new();
    harbour.furniture("o-1");
    harbour.cancellation_requested("o-1");
    harbour.cancelled("o-1");
    harbour.made("o-1", "desk", 1);
    harbour.made("o-1", "lamp", 1);
    harbour.furniture("o-1");
    assert_eq!(harbour.told(), ["o-1 cancelled"]);
    assert_eq!((harbour.seen("o-1"), harbour.waiting()), (seen(Cancelled, "0/2 manufactured", ""), 0));
}

#[test]
fn an_order_that_was_cancelled_before_it_was_validated_never_ships() {
    let mut harbour = Harbour::new();
    harbour.cancelled("o-1");
    harbour.validated("o-1", &[("socks", 7, Fulfilment::FromStock)]);
    assert_eq!(harbour.told(), [""; 0]);
    assert_eq!(harbour.seen("o-1"), seen(Cancelled, "0/0 manufactured", ""));
}

#[test]
fn poison_is_put_aside_and_unknown_events_are_skipped() {
    let mut harbour = Harbour::new();
    harbour.driver.record("orders", b"o-1", &b"\xff\xff"[..]);
    harbour.driver.record("manufactured", b"o-1", &b"\xff\xff"[..]);
    let order = orders::OrderEvent { order_id: "o-2".into(), ..Default::default() };
    harbour.driver.record("orders", b"o-1", order.encode_to_vec());
    let work = manufacturing::ManufacturingEvent { order_id: "o-2".into(), ..Default::default() };
    harbour.driver.record("manufactured", b"o-1", work.encode_to_vec());
    let lines = vec![orders::OrderLine::default()];
    let uneven =
        orders::OrderValidated { order: Some(orders::Order { lines, ..Default::default() }), fulfilments: Vec::new() };
    harbour.order_event("o-1", order_event::Event::Validated(uneven));
    let topics: Vec<_> = harbour.driver.emitted().into_iter().map(|record| record.topic).collect();
    assert_eq!(topics, ["shipping-dead-letters"; 5]);
    harbour.driver.record("orders", b"o-2", order.encode_to_vec());
    harbour.driver.record("manufactured", b"o-2", work.encode_to_vec());
    harbour.order_event("o-2", order_event::Event::Created(orders::OrderCreated { order: None }));
    assert_eq!((harbour.driver.emitted().len(), harbour.seen("o-2")), (0, None));
}
