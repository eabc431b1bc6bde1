//! The whole definition without a log: what is emitted, what is stored, what a client is answered.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::manufacturing::v1 as pb;
use proto::manufacturing::v1::manufacturing_event::Event;
use proto::orders::v1 as orders;
use proto::orders::v1::order_event;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Reply};
use testkit::Driver;

use super::reports::REPORT_MANUFACTURED;
use crate::domain::{Known, State, WorkOrder};
use crate::stores::{IDLE, OPEN, WORK_ORDERS, WORKSHOP, order_of_open_key};
use crate::{Config, topics, wire};

const DAY_MS: i64 = 24 * 3600 * 1000;

struct Factory {
    driver: Driver,
}

impl Factory {
    fn new(items_per_second: u32) -> Self {
        let config = Config { items_per_second, ..Config::default() };
        Self { driver: Driver::new(crate::definition(&config)) }
    }

    fn order_event(&mut self, order_id: &str, event: order_event::Event) {
        self.order_event_of(self.driver.now_ms(), order_id, event);
    }

    fn order_event_of(&mut self, time_ms: i64, order_id: &str, event: order_event::Event) {
        let event = orders::OrderEvent { order_id: order_id.into(), event: Some(event), ..Default::default() };
        self.driver.record_of(time_ms, "orders", Some(order_id.as_bytes()), event.encode_to_vec(), &[]);
    }

    fn validated(&mut self, order_id: &str, lines: &[(&str, i64, Fulfilment)]) {
        self.order_event(order_id, Self::validation(lines));
    }

    fn validation(lines: &[(&str, i64, Fulfilment)]) -> order_event::Event {
        let line = |(product_id, quantity, _): &(&str, i64, Fulfilment)| orders::OrderLine {
            product_id: (*product_id).into(),
            quantity: *quantity,
            unit_price: None,
        };
        let order = orders::Order { lines: lines.iter().map(line).collect(), ..Default::default() };
        let fulfilments = lines.iter().map(|(_, _, fulfilment)| i32::from(*fulfilment)).collect();
        order_event::Event::Validated(orders::OrderValidated { order: Some(order), fulfilments })
    }

    /// A validated order of products that are all made to order.
    fn ordered(&mut self, order_id: &str, lines: &[(&str, i64)]) {
        let lines: Vec<_> =
            lines.iter().map(|(product, quantity)| (*product, *quantity, Fulfilment::MadeToOrder)).collect();
        self.validated(order_id, &lines);
    }

    fn cancelled(&mut self, order_id: &str) {
        self.order_event(order_id, order_event::Event::Cancelled(orders::OrderCancelled {}));
    }

    fn rejected(&mut self, order_id: &str) {
        self.order_event(order_id, order_event::Event::Rejected(orders::OrderRejected { reasons: Vec::new() }));
    }

    fn report(
        &mut self,
        order_id: &str,
        (product_id, quantity): (&str, i64),
        request_id: Option<&str>,
    ) -> Result<pb::ReportManufacturedResponse, Problem> {
        let request = pb::ReportManufacturedRequest {
            order_id: order_id.into(),
            product_id: product_id.into(),
            quantity,
            request_id: String::new(),
        };
        let key = order_id.as_bytes();
        let answer = self.driver.command(REPORT_MANUFACTURED, key, request_id, request.encode_to_vec(), "");
        reply::decode(answer.unwrap())
    }

    /// What was told since the last call, in short.
    fn told(&mut self) -> Vec<String> {
        let emitted = self.driver.emitted();
        let short = emitted.into_iter().map(|record| {
            assert_eq!(record.topic, topics::MANUFACTURED);
            let event = pb::ManufacturingEvent::decode(record.value).unwrap();
            assert_eq!(event.order_id.as_bytes(), record.key);
            match event.event.unwrap() {
                Event::Opened(opened) => format!("{} opened {}", event.order_id, opened.items.len()),
                Event::ItemManufactured(item) => {
                    let pb::ItemManufactured { product_id, quantity, manufactured, needed } = item;
                    format!("{} {product_id} +{quantity} {manufactured}/{needed}", event.order_id)
                }
                Event::Completed(_) => format!("{} completed", event.order_id),
                Event::Cancelled(_) => format!("{} cancelled", event.order_id),
            }
        });
        short.collect()
    }

    fn work_order(&self, order_id: &str) -> Option<WorkOrder> {
        match wire::known(&self.driver.get(WORK_ORDERS, order_id.as_bytes())?).unwrap() {
            Known::Opened(work_order) => Some(work_order),
            Known::Early(_) | Known::Idle(_) => None,
        }
    }

    fn open(&self) -> Vec<String> {
        let rows = self.driver.view().scan(OPEN, b"", None, 100).unwrap();
        rows.iter().map(|(key, _)| String::from_utf8(order_of_open_key(key).to_vec()).unwrap()).collect()
    }
}

#[test]
fn an_order_is_made_report_by_report() {
    let mut factory = Factory::new(0);
    factory.validated("o-1", &[("sock", 9, Fulfilment::FromStock), ("desk", 2, Fulfilment::MadeToOrder)]);
    assert_eq!(factory.told(), ["o-1 opened 1"]);
    assert_eq!(factory.open(), ["o-1"]);
    let response = factory.report("o-1", ("desk", 1), None).unwrap();
    assert_eq!(response.work_order.unwrap().items[0].manufactured, 1);
    factory.report("o-1", ("desk", 1), None).unwrap();
    assert_eq!(factory.told(), ["o-1 desk +1 1/2", "o-1 desk +1 2/2", "o-1 completed"]);
    assert_eq!(factory.open(), [""; 0]);
    assert_eq!(factory.work_order("o-1").unwrap().state, State::Completed);
}

#[test]
fn a_report_counts_once_for_each_request_id() {
    let mut factory = Factory::new(0);
    factory.ordered("o-1", &[("desk", 3)]);
    let first = factory.report("o-1", ("desk", 1), Some("r-1")).unwrap();
    assert_eq!(factory.report("o-1", ("desk", 1), Some("r-1")).unwrap(), first);
    assert_eq!(factory.work_order("o-1").unwrap().items[0].manufactured, 1);
    assert_eq!(factory.told(), ["o-1 opened 1", "o-1 desk +1 1/3"]);
}

#[test]
fn refusals_name_their_reason_and_change_nothing() {
    let mut factory = Factory::new(0);
    factory.ordered("o-1", &[("desk", 3)]);
    factory.told();
    let refused = factory.report("o-1", ("desk", 5), None).unwrap_err();
    assert_eq!(refused.reason, "TOO_MANY");
    assert_eq!((refused.metadata["needed"].as_str(), refused.metadata["manufactured"].as_str()), ("3", "0"));
    assert_eq!(factory.report("o-1", ("lamp", 1), None).unwrap_err().reason, "NOT_ON_WORK_ORDER");
    factory.cancelled("o-1");
    assert_eq!(factory.report("o-1", ("desk", 1), None).unwrap_err().reason, "ILLEGAL_TRANSITION");
    assert_eq!(factory.told(), ["o-1 cancelled"]);
    assert_eq!(factory.open(), [""; 0]);
}

#[test]
fn an_order_with_nothing_to_make_leaves_one_small_row_for_a_day() {
    let mut factory = Factory::new(5);
    factory.driver.advance_to(1_800_000_000_000);
    factory.validated("o-1", &[("sock", 9, Fulfilment::FromStock)]);
    assert_eq!(factory.told(), [""; 0]);
    assert_eq!(factory.driver.get(WORK_ORDERS, b"o-1"), None);
    assert_eq!(factory.driver.view().scan(WORKSHOP, b"", None, 1).unwrap(), []);
    assert!(factory.driver.get(IDLE, b"o-1").unwrap().len() <= 9);
    factory.driver.advance_to(1_800_000_000_000 + DAY_MS - 1);
    assert_eq!(factory.report("o-1", ("sock", 1), None).unwrap_err().reason, "NOT_ON_WORK_ORDER");
    factory.driver.advance_to(1_800_000_000_000 + DAY_MS + DAY_MS / 4 + 1);
    assert_eq!(factory.driver.get(IDLE, b"o-1"), None);
}

#[test]
fn reports_of_orders_without_a_work_order_are_refused_with_the_reason() {
    let mut factory = Factory::new(0);
    factory.validated("o-1", &[("sock", 9, Fulfilment::FromStock)]);
    factory.cancelled("o-1");
    factory.rejected("o-2");
    factory.cancelled("o-3");
    let mut refused = |order_id: &str| {
        let problem = factory.report(order_id, ("desk", 1), None).unwrap_err();
        (problem.reason.to_string(), problem.metadata.get("state").cloned().unwrap_or_default())
    };
    assert_eq!(refused("o-1"), ("NOT_ON_WORK_ORDER".into(), String::new()));
    assert_eq!(refused("o-2"), ("ILLEGAL_TRANSITION".into(), "REJECTED".into()));
    assert_eq!(refused("o-3"), ("ILLEGAL_TRANSITION".into(), "CANCELLED".into()));
    assert_eq!(factory.driver.view().scan(WORK_ORDERS, b"", None, 10).unwrap(), []);
}

#[test]
fn early_reports_of_an_order_without_a_work_order_are_dropped_when_it_comes() {
    let mut factory = Factory::new(0);
    for order_id in ["o-1", "o-2", "o-3"] {
        assert!(factory.report(order_id, ("desk", 1), None).unwrap().remembered);
    }
    factory.validated("o-1", &[("sock", 9, Fulfilment::FromStock)]);
    factory.rejected("o-2");
    factory.cancelled("o-3");
    assert_eq!(factory.driver.view().scan(WORK_ORDERS, b"", None, 10).unwrap(), []);
    factory.driver.advance_to(2 * DAY_MS);
    assert_eq!(factory.driver.view().scan(IDLE, b"", None, 10).unwrap(), []);
    assert_eq!(factory.told(), [""; 0]);
}

#[test]
fn a_replayed_order_opens_nothing_twice() {
    let mut factory = Factory::new(0);
    factory.ordered("o-1", &[("desk", 1)]);
    factory.ordered("o-1", &[("desk", 1)]);
    factory.report("o-1", ("desk", 1), None).unwrap();
    factory.ordered("o-1", &[("desk", 1)]);
    factory.cancelled("o-1");
    assert_eq!(factory.told(), ["o-1 opened 1", "o-1 desk +1 1/1", "o-1 completed"]);
}

#[test]
fn reports_wait_for_their_order() {
    let mut factory = Factory::new(0);
    assert!(factory.report("o-1", ("desk", 1), None).unwrap().remembered);
    assert!(factory.report("o-1", ("lamp", 1), None).unwrap().remembered);
    factory.driver.advance_to(DAY_MS - 1);
    factory.ordered("o-1", &[("desk", 1), ("lamp", 1)]);
    assert_eq!(factory.told(), ["o-1 opened 2", "o-1 desk +1 1/1", "o-1 lamp +1 1/1", "o-1 completed"]);
    assert_eq!(factory.open(), [""; 0]);
    assert_eq!(factory.driver.next_timer_ms(), None, "nothing is left to forget");
}

#[test]
fn reports_whose_order_never_comes_are_forgotten() {
    let mut factory = Factory::new(0);
    factory.report("o-1", ("desk", 1), None).unwrap();
    factory.driver.advance_to(DAY_MS / 2);
    factory.report("o-1", ("desk", 1), None).unwrap();
    factory.driver.advance_to(DAY_MS);
    assert_eq!(factory.driver.get(WORK_ORDERS, b"o-1"), None);
    factory.ordered("o-1", &[("desk", 2)]);
    assert_eq!(factory.told(), ["o-1 opened 1"]);
}

#[test]
fn early_reports_of_too_many_products_are_refused() {
    let mut factory = Factory::new(0);
    for product in 0..100 {
        factory.report("o-1", (&format!("p-{product}"), 1), None).unwrap();
    }
    let refused = factory.report("o-1", ("one-more", 1), None).unwrap_err();
    assert_eq!((refused.reason.as_ref(), refused.metadata["limit"].as_str()), ("TOO_MANY_EARLY_REPORTS", "100"));
}

#[test]
fn the_workshop_makes_open_work_orders_in_order_of_opening() {
    let mut factory = Factory::new(2);
    factory.driver.advance_to(10_000);
    factory.ordered("o-9", &[("desk", 2)]);
    factory.driver.advance_to(10_001);
    factory.ordered("o-1", &[("lamp", 1)]);
    factory.told();
    factory.driver.advance_to(11_000);
    assert_eq!(factory.told(), ["o-9 desk +1 1/2", "o-9 desk +1 2/2", "o-9 completed"]);
    factory.driver.advance_to(12_000);
    assert_eq!(factory.told(), ["o-1 lamp +1 1/1", "o-1 completed"]);
    assert_eq!(factory.driver.next_timer_ms(), None, "an idle workshop has no timer");
    assert_eq!(factory.driver.view().scan(WORKSHOP, b"", None, 1).unwrap(), []);
}

#[test]
fn what_was_opened_while_the_workshop_was_off_is_made_when_a_restart_switches_it_on() {
    let mut factory = Factory::new(0);
    factory.ordered("o-1", &[("desk", 2)]);
    factory.driver.advance_to(DAY_MS);
    assert_eq!(factory.told(), ["o-1 opened 1"], "it is off");
    let on = |factory: Factory, items_per_second| {
        let config = Config { items_per_second, ..Config::default() };
        Factory { driver: factory.driver.restart_as(crate::definition(&config)) }
    };
    let mut factory = on(factory, 1);
    factory.driver.advance_to(DAY_MS + 60_000 + 1_000);
    assert_eq!(factory.told(), ["o-1 desk +1 1/2", "o-1 desk +1 2/2", "o-1 completed"]);

    // Off and on again while something is open: nothing is made up for.
    factory.ordered("o-2", &[("desk", 1_000_000)]);
    let mut factory = on(factory, 0);
    factory.driver.advance_to(3 * DAY_MS);
    factory.told();
    let mut factory = on(factory, 1);
    factory.driver.advance_to(3 * DAY_MS + 60_000 + 1_000);
    let made = factory.work_order("o-2").unwrap().items[0].manufactured;
    assert!((1..=62).contains(&made), "{made}");
}

#[test]
fn the_workshop_starts_again_for_the_next_order() {
    let mut factory = Factory::new(1_000);
    for round in 1..4 {
        factory.ordered(&format!("o-{round}"), &[("desk", 50)]);
        factory.driver.advance_to(round * 1_000);
        assert_eq!(factory.work_order(&format!("o-{round}")).unwrap().state, State::Completed);
    }
}

#[test]
fn a_work_order_that_cannot_be_read_does_not_stop_the_workshop() {
    let plant = |ctx: &mut Context<'_>, command: &Command| {
        ctx.put(WORK_ORDERS, &command.key, command.payload.clone());
        Ok(Reply(Bytes::new()))
    };
    let config = Config { items_per_second: 10, ..Config::default() };
    let mut factory = Factory { driver: Driver::new(crate::definition(&config).command("plant", plant)) };
    for order_id in ["o-1", "o-2"] {
        factory.ordered(order_id, &[("desk", 1)]);
    }
    factory.driver.command("plant", b"o-1", None, &b"\xff\xff"[..], "").unwrap();
    factory.told();
    factory.driver.advance_to(1_000);
    assert_eq!(factory.told(), ["o-2 desk +1 1/1", "o-2 completed"]);
    assert_eq!(
        factory.driver.get(WORK_ORDERS, b"o-1").unwrap().as_ref(),
        b"\xff\xff",
        "it stays for whoever can read it"
    );
}

#[test]
fn the_workshop_keeps_its_own_time_whatever_clock_has_stamped_an_order() {
    for ahead_ms in [3_600_000, -3_600_000, DAY_MS] {
        let mut factory = Factory::new(10);
        factory.driver.advance_to(10 * DAY_MS);
        let validated = Factory::validation(&[("atlas", 5, Fulfilment::MadeToOrder)]);
        factory.order_event_of(10 * DAY_MS + ahead_ms, "o-1", validated);
        factory.driver.advance_to(10 * DAY_MS + 100);
        assert_eq!(factory.work_order("o-1").unwrap().items[0].manufactured, 1, "{ahead_ms}");
        factory.driver.advance_to(10 * DAY_MS + 500);
        assert_eq!(factory.work_order("o-1").unwrap().state, State::Completed, "{ahead_ms}");
    }
}

#[test]
fn after_an_absence_the_workshop_goes_on_at_its_rate_and_makes_up_for_nothing() {
    let mut factory = Factory::new(10);
    factory.ordered("o-1", &[("atlas", 500)]);
    factory.driver.be_away_until(DAY_MS);
    factory.driver.advance_to(DAY_MS + 1_000);
    let made = factory.work_order("o-1").unwrap().items[0].manufactured;
    assert!((10..=11).contains(&made), "{made}");
}

#[test]
fn the_workshop_keeps_its_rate() {
    for rate in [1, 3, 7, 19, 21, 250, 999, 12_345] {
        let mut factory = Factory::new(rate);
        factory.ordered("o-1", &[("desk", i64::MAX)]);
        factory.driver.advance_to(60_000);
        let made = factory.work_order("o-1").unwrap().items[0].manufactured;
        let wanted = 60 * i64::from(rate);
        assert!((wanted - made).abs() <= 1 + i64::from(rate) / 20, "{made} instead of {wanted}");
    }
}

#[test]
fn many_small_work_orders_are_made_turn_by_turn() {
    let mut factory = Factory::new(1_000_000);
    for number in 0..600 {
        factory.ordered(&format!("o-{number}"), &[("desk", 1)]);
    }
    factory.driver.advance_to(1_000);
    assert_eq!(factory.told().iter().filter(|told| told.ends_with("completed")).count(), 600);
}

#[test]
fn without_a_workshop_nothing_is_made() {
    let mut factory = Factory::new(0);
    factory.ordered("o-1", &[("desk", 1)]);
    factory.driver.advance_to(DAY_MS / 2);
    assert_eq!(factory.told(), ["o-1 opened 1"]);
    factory.report("o-1", ("desk", 1), None).unwrap();
    factory.driver.advance_to(DAY_MS / 2 + 60_000);
    assert_eq!(factory.driver.next_timer_ms(), None, "it looks at nothing when nothing is open");
}

#[test]
fn poison_is_put_aside() {
    let mut factory = Factory::new(0);
    factory.driver.record("orders", b"o-1", &b"\xff\xff"[..]);
    let event = orders::OrderEvent { order_id: "o-2".into(), ..Default::default() };
    factory.driver.record("orders", b"o-1", event.encode_to_vec());
    let order = orders::Order { lines: vec![orders::OrderLine::default()], ..Default::default() };
    let uneven = orders::OrderValidated { order: Some(order), fulfilments: Vec::new() };
    factory.order_event("o-1", order_event::Event::Validated(uneven));
    let topics: Vec<_> = factory.driver.emitted().into_iter().map(|record| record.topic).collect();
    assert_eq!(topics, ["manufacturing-dead-letters"; 3]);
    // A kind of event that this version does not know is no fault.
    factory.driver.record("orders", b"o-2", event.encode_to_vec());
    assert_eq!(factory.driver.emitted(), []);
}
