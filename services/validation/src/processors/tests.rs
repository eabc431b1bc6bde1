//! A task as a whole: what it stores, emits and sets timers for.

use prost::Message;
use prost_types::Timestamp;
use proto::common::v1::Money;
use proto::inventory::v1::Fulfilment;
use proto::orders::v1::order_event::Event as OrderEvent;
use proto::orders::v1::{self as orders};
use proto::validation::v1::validation_event::Event;
use proto::validation::v1::{self as api, Check, Outcome};
use testkit::{Driver, Emitted};

use crate::{Config, definition, stores, topics};

const ORDER: &str = "o-1";
const START_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn driver() -> Driver {
    let mut driver = Driver::new(definition(&Config::default()));
    driver.advance_to(START_MS);
    driver
}

fn time(driver: &Driver) -> Option<Timestamp> {
    Some(Timestamp { seconds: driver.now_ms() / 1_000, nanos: 0 })
}

fn order_event(driver: &mut Driver, event: OrderEvent) {
    let event =
        orders::OrderEvent { order_id: ORDER.into(), time: time(driver), event: Some(event), ..Default::default() };
    driver.record(topics::ORDERS, ORDER.as_bytes(), event.encode_to_vec());
}

fn create(driver: &mut Driver, quantities: &[i64]) {
    order_event(driver, created(time(driver), quantities));
}

fn created(create_time: Option<Timestamp>, quantities: &[i64]) -> OrderEvent {
    let line = |(number, quantity): (usize, &i64)| orders::OrderLine {
        product_id: format!("p{number}"),
        quantity: *quantity,
        unit_price: Some(Money { currency_code: "EUR".into(), minor_units: 100 }),
    };
    let lines = quantities.iter().enumerate().map(line).collect();
    let order = orders::Order { lines, create_time, ..Default::default() };
    OrderEvent::Created(orders::OrderCreated { order: Some(order) })
}

fn place(driver: &mut Driver, order_id: &str, customer_id: &str, minor_units: i64) {
    let time = time(driver);
    place_at(driver, time, order_id, customer_id, minor_units);
}

fn place_at(driver: &mut Driver, time: Option<Timestamp>, order_id: &str, customer_id: &str, minor_units: i64) {
    let total = Some(Money { currency_code: "EUR".into(), minor_units });
    let placed = orders::OrderPlaced {
        order_id: order_id.into(),
        customer_id: customer_id.into(),
        time,
        total,
        ..Default::default()
    };
    driver.record(topics::ORDERS_BY_CUSTOMER, customer_id.as_bytes(), placed.encode_to_vec());
}

/// What the check FRAUD has emitted; passed on to the aggregation, as the mesh does.
fn fraud_verdicts(driver: &mut Driver) -> Vec<(String, Outcome)> {
    let records = driver.emitted();
    let mut verdicts = Vec::new();
    for record in records {
        assert_eq!(record.topic, topics::ORDER_VERDICTS);
        let verdict = api::Verdict::decode(record.value.clone()).unwrap();
        assert_eq!((verdict.check(), verdict.order_id.as_bytes()), (Check::Fraud, &record.key[..]));
        verdicts.push((verdict.order_id.clone(), verdict.outcome()));
        driver.record(topics::ORDER_VERDICTS, &record.key, record.value);
    }
    verdicts
}

fn judge_line(driver: &mut Driver, line: u32, outcome: Outcome) {
    let verdict = api::Verdict {
        order_id: ORDER.into(),
        check: Check::Inventory.into(),
        line,
        product_id: format!("p{line}"),
        outcome: outcome.into(),
        code: if outcome == Outcome::Fail { "OUT_OF_STOCK".into() } else { String::new() },
        message: String::new(),
        fulfilment: if outcome == Outcome::Pass { Fulfilment::FromStock.into() } else { 0 },
        time: time(driver),
    };
    driver.record(topics::INVENTORY_VERDICTS, ORDER.as_bytes(), verdict.encode_to_vec());
}

fn judge_credit(driver: &mut Driver, outcome: Outcome) {
    let verdict = api::Verdict {
        order_id: ORDER.into(),
        check: Check::Credit.into(),
        outcome: outcome.into(),
        code: if outcome == Outcome::Fail { "CREDIT_LIMIT_EXCEEDED".into() } else { String::new() },
        time: time(driver),
        ..Default::default()
    };
    driver.record(topics::CREDIT_VERDICTS, ORDER.as_bytes(), verdict.encode_to_vec());
}

fn alerts(driver: &Driver) -> Vec<(String, i64, u64)> {
    let rows = driver.view().scan(stores::FRAUD_ALERTS, b"", None, 100).unwrap();
    let alert = |(key, row): &(bytes::Bytes, bytes::Bytes)| {
        let (customer_id, start_ms) = stores::alert_of_key(key).unwrap();
        (customer_id, start_ms, api::FraudAlertRow::decode(row.clone()).unwrap().count)
    };
    rows.iter().map(alert).collect()
}

fn events(emitted: &[Emitted]) -> Vec<Event> {
    let event = |record: &Emitted| {
        assert_eq!((record.topic.as_str(), &record.key[..]), (topics::ORDER_VALIDATIONS, ORDER.as_bytes()));
        api::ValidationEvent::decode(record.value.clone()).unwrap().event.unwrap()
    };
    emitted.iter().map(event).collect()
}

fn codes(event: &Event) -> Vec<&str> {
    match event {
        Event::Passed(_) => Vec::new(),
        Event::Failed(api::ValidationFailed { reasons })
        | Event::ReasonsAdded(api::ValidationReasonsAdded { reasons }) => {
            reasons.iter().map(|reason| reason.code.as_str()).collect()
        }
    }
}

fn row(driver: &Driver) -> api::ValidationRow {
    api::ValidationRow::decode(driver.get(stores::VALIDATIONS, ORDER.as_bytes()).unwrap()).unwrap()
}

#[test]
fn an_order_passes_when_every_check_has_and_its_timer_goes() {
    let mut driver = driver();
    create(&mut driver, &[1, 2]);
    assert_eq!(driver.next_timer_ms(), Some(START_MS + 5 * MINUTE_MS));
    judge_line(&mut driver, 1, Outcome::Pass);
    judge_line(&mut driver, 1, Outcome::Pass);
    place(&mut driver, ORDER, "c-1", 300);
    assert_eq!(fraud_verdicts(&mut driver), [(ORDER.to_owned(), Outcome::Pass)]);
    assert_eq!(driver.emitted(), [], "one line is missing, whatever the number of verdicts");
    judge_line(&mut driver, 0, Outcome::Pass);
    assert_eq!(driver.emitted(), [], "the customer's credit is missing");
    judge_credit(&mut driver, Outcome::Pass);
    let fulfilments = vec![Fulfilment::FromStock.into(); 2];
    assert_eq!(events(&driver.emitted()), [Event::Passed(api::ValidationPassed { fulfilments })]);
    assert_eq!(row(&driver).conclusion(), api::Conclusion::Passed);
    driver.advance_to(START_MS + 6 * MINUTE_MS);
    assert_eq!(driver.emitted(), [], "time runs out for open orders only");
}

#[test]
fn verdicts_may_come_before_the_order() {
    let mut driver = driver();
    judge_line(&mut driver, 0, Outcome::Pass);
    place(&mut driver, ORDER, "c-1", 100);
    judge_credit(&mut driver, Outcome::Pass);
    fraud_verdicts(&mut driver);
    assert_eq!(driver.emitted(), []);
    create(&mut driver, &[1]);
    assert!(matches!(events(&driver.emitted())[..], [Event::Passed(_)]));
    driver.advance_to(START_MS + HOUR_MS);
    assert_eq!(driver.emitted(), [], "no timer was left");
}

#[test]
fn details_are_judged_on_the_creation_and_later_reasons_are_added() {
    let mut driver = driver();
    create(&mut driver, &[-1]);
    let emitted = events(&driver.emitted());
    assert!(matches!(&emitted[..], [failed @ Event::Failed(_)] if codes(failed) == ["QUANTITY_NOT_POSITIVE"]));
    judge_line(&mut driver, 0, Outcome::Fail);
    judge_line(&mut driver, 0, Outcome::Fail);
    let emitted = events(&driver.emitted());
    assert!(matches!(&emitted[..], [added @ Event::ReasonsAdded(_)] if codes(added) == ["OUT_OF_STOCK"]));
}

#[test]
fn time_runs_out_five_minutes_after_the_creation() {
    let mut driver = driver();
    create(&mut driver, &[1]);
    driver.advance_to(START_MS + 5 * MINUTE_MS - 1);
    assert_eq!(driver.emitted(), []);
    driver.advance_to(START_MS + 5 * MINUTE_MS);
    let emitted = events(&driver.emitted());
    let [Event::Failed(failed)] = &emitted[..] else { panic!("failed") };
    assert_eq!(failed.reasons[0].code, "VALIDATION_TIMED_OUT");
    assert_eq!(failed.reasons[0].message, "no verdict in time from FRAUD, INVENTORY line 0 (p0), CREDIT");
    assert_eq!(failed.reasons[0].check(), Check::Unspecified);
    judge_line(&mut driver, 0, Outcome::Pass);
    assert_eq!(driver.emitted(), [], "a late pass changes nothing");
    assert!(row(&driver).timed_out);
}

#[test]
fn time_in_which_the_mesh_was_away_does_not_count() {
    let mut driver = driver();
    create(&mut driver, &[1]);
    let back_ms = START_MS + 6 * MINUTE_MS;
    driver.be_away_until(back_ms);
    assert_eq!(driver.emitted(), [], "who would have answered was away as well");
    assert_eq!(driver.next_timer_ms(), Some(back_ms + 5 * MINUTE_MS));
    judge_line(&mut driver, 0, Outcome::Pass);
    driver.advance_to(back_ms + 5 * MINUTE_MS);
    let emitted = events(&driver.emitted());
    assert!(matches!(&emitted[..], [failed @ Event::Failed(_)] if codes(failed) == ["VALIDATION_TIMED_OUT"]));
}

#[test]
fn an_order_that_is_read_long_after_its_creation_has_its_time_from_then_on() {
    let time = Some(Timestamp { seconds: START_MS / 1_000, nanos: 0 });
    let event = Some(created(time, &[1]));
    let event = orders::OrderEvent { order_id: ORDER.into(), time, event, ..Default::default() };
    // It has waited; or the clock that has stamped it is an hour ahead of ours.
    for away_ms in [6 * MINUTE_MS, -HOUR_MS] {
        let mut driver = driver();
        driver.advance_to(START_MS + away_ms);
        driver.record_of(START_MS, topics::ORDERS, Some(ORDER.as_bytes()), event.encode_to_vec(), &[]);
        assert_eq!(driver.next_timer_ms(), Some(START_MS + away_ms + 5 * MINUTE_MS));
    }
}

#[test]
fn a_cancelled_order_is_judged_no_more() {
    let mut driver = driver();
    create(&mut driver, &[1]);
    order_event(&mut driver, OrderEvent::Cancelled(orders::OrderCancelled {}));
    assert_eq!(driver.next_timer_ms(), None);
    judge_line(&mut driver, 0, Outcome::Fail);
    order_event(&mut driver, OrderEvent::Shipped(orders::OrderShipped {}));
    assert_eq!(driver.emitted(), []);
    assert_eq!(row(&driver).conclusion(), api::Conclusion::Cancelled);
}

#[test]
fn a_customer_who_reaches_the_limit_within_the_hour_fails_and_passes_later() {
    let mut driver = driver();
    let amounts = [("a", 1_500), ("b", 7_500), ("c", 100_000), ("d", 100_000)];
    for (order_id, amount) in amounts {
        place(&mut driver, order_id, "c-1", amount);
        driver.advance_to(driver.now_ms() + 1_000);
    }
    place(&mut driver, "other", "c-2", 199_999);
    let outcomes: Vec<_> = fraud_verdicts(&mut driver).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass, Outcome::Pass, Outcome::Fail, Outcome::Pass]);
    driver.advance_to(driver.now_ms() + HOUR_MS + 1_000);
    place(&mut driver, "later", "c-1", 199_999);
    assert_eq!(fraud_verdicts(&mut driver), [("later".to_owned(), Outcome::Pass)]);
}

#[test]
fn sessions_are_forgotten_with_one_timer_for_all_orders_of_a_customer() {
    let mut driver = driver();
    let sessions = |driver: &Driver| {
        let row = driver.get(stores::FRAUD_SESSIONS, b"c-1");
        row.map(|row| api::FraudSessionsRow::decode(row).unwrap().sessions.len())
    };
    place(&mut driver, "a", "c-1", 1);
    assert_eq!(driver.next_timer_ms(), Some(START_MS + 2 * HOUR_MS));
    driver.advance_to(START_MS + HOUR_MS);
    place(&mut driver, "b", "c-1", 1);
    assert_eq!(driver.next_timer_ms(), Some(START_MS + 2 * HOUR_MS), "it waits for the first session that may go");
    driver.advance_to(START_MS + 2 * HOUR_MS);
    assert_eq!((sessions(&driver), driver.next_timer_ms()), (Some(1), Some(START_MS + 3 * HOUR_MS)));
    driver.advance_to(START_MS + 3 * HOUR_MS);
    assert_eq!((sessions(&driver), driver.next_timer_ms()), (None, None));
}

#[test]
fn an_order_without_credit_fails_with_the_reason_of_that_check() {
    let mut driver = driver();
    create(&mut driver, &[1]);
    judge_credit(&mut driver, Outcome::Fail);
    let emitted = events(&driver.emitted());
    let [Event::Failed(failed)] = &emitted[..] else { panic!("failed") };
    assert_eq!((failed.reasons[0].check(), failed.reasons[0].code.as_str()), (Check::Credit, "CREDIT_LIMIT_EXCEEDED"));
}

#[test]
fn credit_decides_nothing_where_it_is_not_required() {
    use crate::RequiredCheck::{Details, Fraud, Inventory};
    let config = Config { required_checks: vec![Details, Fraud, Inventory], ..Config::default() };
    let mut driver = Driver::new(definition(&config));
    create(&mut driver, &[1]);
    judge_credit(&mut driver, Outcome::Fail);
    judge_line(&mut driver, 0, Outcome::Pass);
    place(&mut driver, ORDER, "c-1", 100);
    fraud_verdicts(&mut driver);
    assert!(matches!(events(&driver.emitted())[..], [Event::Passed(_)]));
}

#[test]
fn a_third_order_within_the_window_raises_one_alert_that_is_kept_current_and_fails_nothing() {
    let mut driver = driver();
    let window = START_MS - START_MS.rem_euclid(30_000);
    driver.advance_to(window + 30_000);
    for order_id in ["a", "b", "c"] {
        place(&mut driver, order_id, "c-1", 1);
        place(&mut driver, order_id, "c-2", 1);
        driver.advance_to(driver.now_ms() + 9_999);
    }
    let begin = window + 30_000;
    assert_eq!(alerts(&driver), [("c-1".to_owned(), begin, 3), ("c-2".to_owned(), begin, 3)]);
    place(&mut driver, "d", "c-1", 1);
    driver.advance_to(begin + 30_000);
    place(&mut driver, "e", "c-1", 1);
    assert_eq!(alerts(&driver), [("c-1".to_owned(), begin, 4), ("c-2".to_owned(), begin, 3)]);
    assert!(fraud_verdicts(&mut driver).iter().all(|(_, outcome)| *outcome == Outcome::Pass));
}

#[test]
fn orders_that_are_read_long_after_others_are_judged_and_counted_as_in_time() {
    let mut driver = driver();
    let begin = START_MS - START_MS.rem_euclid(30_000);
    let at = |seconds: i64| Some(Timestamp { seconds: begin / 1_000 + seconds, nanos: 0 });
    driver.advance_to(begin + 5 * HOUR_MS);
    place(&mut driver, "of now", "c-9", 1);
    for (seconds, order_id) in [(1, "a"), (5, "b"), (9, "c")] {
        place_at(&mut driver, at(seconds), order_id, "c-1", 90_000);
    }
    assert_eq!(alerts(&driver), [("c-1".to_owned(), begin, 3)]);
    let verdicts = fraud_verdicts(&mut driver);
    let outcomes: Vec<Outcome> = verdicts.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass, Outcome::Pass, Outcome::Fail], "all three are one session");
}

#[test]
fn records_that_cannot_be_judged_go_to_the_dead_letters() {
    let mut driver = driver();
    let verdict = |change: fn(&mut api::Verdict)| {
        let mut verdict = api::Verdict { order_id: ORDER.into(), ..Default::default() };
        (verdict.check, verdict.outcome) = (Check::Inventory.into(), Outcome::Pass.into());
        verdict.fulfilment = Fulfilment::FromStock.into();
        change(&mut verdict);
        verdict.encode_to_vec()
    };
    let poison = [
        b"\x7fgarbage".to_vec(),
        verdict(|verdict| verdict.order_id = "o-2".into()),
        verdict(|verdict| verdict.check = 0),
        verdict(|verdict| verdict.check = 77),
        verdict(|verdict| verdict.outcome = 0),
        verdict(|verdict| verdict.fulfilment = 77),
        verdict(|verdict| verdict.fulfilment = 0),
    ];
    for record in poison {
        driver.record(topics::INVENTORY_VERDICTS, ORDER.as_bytes(), record.clone());
        let emitted = driver.emitted();
        let topics: Vec<_> = emitted.iter().map(|record| record.topic.as_str()).collect();
        assert_eq!(topics, ["validation-dead-letters"], "{record:?}");
    }
    order_event(&mut driver, OrderEvent::Created(orders::OrderCreated { order: None }));
    assert_eq!(driver.emitted().len(), 1, "a creation without an order");
    assert_eq!(driver.get(stores::VALIDATIONS, ORDER.as_bytes()), None);
}

#[test]
fn unknown_kinds_of_events_are_skipped() {
    let mut driver = driver();
    // Field 99, as a later release may add it.
    let later =
        [&orders::OrderEvent { order_id: ORDER.into(), ..Default::default() }.encode_to_vec()[..], b"\x9a\x06\x00"];
    driver.record(topics::ORDERS, ORDER.as_bytes(), later.concat());
    assert_eq!(driver.emitted(), []);
}
