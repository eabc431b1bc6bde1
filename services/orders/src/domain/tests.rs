//! The rules as tables, and the laws that hold for every order of arrival.

use proptest::prelude::*;

use super::create::{Creation, create};
use super::life::{Cancellation, Decision, Fact, cancel, settle};
use super::*;
use Decision::{Changed, Misplaced, Unchanged};
use State::{Cancelled, Created, InManufacturing, Ready, Rejected, Shipped, Validated};

const STATES: [State; 7] = [Created, Validated, InManufacturing, Ready, Shipped, Rejected, Cancelled];

fn money(currency: &str, minor_units: i64) -> Money {
    Money { currency: currency.to_owned(), minor_units }
}

fn line(product_id: &str, quantity: i64, unit_price: Money) -> Line {
    Line { product_id: product_id.to_owned(), quantity, unit_price }
}

fn content(lines: Vec<Line>) -> Content {
    Content { customer_id: "c-1".to_owned(), lines }
}

fn one_jumper() -> Content {
    content(vec![line("jumper", 1, money("EUR", 1999))])
}

fn order(state: State) -> Order {
    Order {
        content: one_jumper(),
        state,
        reasons: Vec::new(),
        created_ms: 1_000,
        updated_ms: 2_000,
        version: 3,
        cancellation_requested: false,
        history: Vec::new(),
    }
}

fn reason(code: &str) -> Reason {
    Reason { check: Some(Check::Inventory), product_id: String::new(), code: code.to_owned(), message: String::new() }
}

fn passed() -> Fact {
    Fact::ValidationPassed { fulfilments: vec![Fulfilment::FromStock] }
}

fn failed(codes: &[&str]) -> Fact {
    Fact::ValidationFailed { reasons: codes.iter().map(|code| reason(code)).collect() }
}

/// Given a state, when a fact arrives, then this state and decision; everything else must stay as it was.
fn check(given: State, when: Fact, then_state: State, then: &Decision) {
    let before = order(given);
    let mut after = before.clone();
    let context = format!("{given:?} with {when:?}");
    let decision = settle(&mut after, when, 5_000);
    assert_eq!(decision, *then, "{context}");
    assert_eq!(after.state, then_state, "{context}");
    assert_eq!(after.content, before.content, "{context}");
    if matches!(decision, Changed(_)) {
        assert_eq!((after.version, after.updated_ms), (4, 5_000), "{context}");
    } else {
        assert_eq!(after, before, "{context}");
    }
}

fn change(event: Event, stock: Option<StockAction>) -> Decision {
    Changed(Change { event, stock })
}

#[test]
fn a_created_order_is_validated_or_rejected() {
    let fulfilments = vec![Fulfilment::FromStock];
    check(Created, passed(), Validated, &change(Event::Validated { fulfilments }, None));
    let reasons = vec![reason("A"), reason("B")];
    check(Created, failed(&["A", "B"]), Rejected, &change(Event::Rejected { reasons }, Some(StockAction::Release)));
}

#[test]
fn a_validated_order_is_made_and_shipped_and_may_skip_steps() {
    let shipped = change(Event::Shipped, Some(StockAction::Ship));
    check(Validated, Fact::WorkOrderOpened, InManufacturing, &change(Event::InManufacturing, None));
    check(Validated, Fact::WorkOrderCompleted, Ready, &change(Event::Ready, None));
    check(InManufacturing, Fact::WorkOrderCompleted, Ready, &change(Event::Ready, None));
    for given in [Validated, InManufacturing, Ready] {
        check(given, Fact::Shipped, Shipped, &shipped);
    }
}

#[test]
fn shipping_cancels_what_it_has_not_shipped() {
    for given in [Validated, InManufacturing, Ready] {
        let then = change(Event::Cancelled, Some(StockAction::Release));
        check(given, Fact::ShipmentCancelled, Cancelled, &then);
    }
}

#[test]
fn late_and_repeated_facts_change_nothing() {
    let late = [
        (Validated, passed()),
        (InManufacturing, passed()),
        (Ready, Fact::WorkOrderOpened),
        (Ready, Fact::WorkOrderCompleted),
        (InManufacturing, Fact::WorkOrderOpened),
        (Shipped, Fact::WorkOrderOpened),
        (Shipped, Fact::WorkOrderCompleted),
        (Shipped, Fact::Shipped),
        (Shipped, passed()),
        (Cancelled, passed()),
        (Cancelled, failed(&["A"])),
        (Cancelled, Fact::WorkOrderOpened),
        (Cancelled, Fact::WorkOrderCompleted),
        (Cancelled, Fact::ShipmentCancelled),
        (Rejected, passed()),
        (Rejected, failed(&[])),
    ];
    for (given, when) in late {
        check(given, when, given, &Unchanged);
    }
}

#[test]
fn facts_that_no_order_of_arrival_explains_change_nothing_and_are_told() {
    let two_lines = Fact::ValidationPassed { fulfilments: vec![Fulfilment::FromStock; 2] };
    let misplaced = [
        (Created, two_lines, "validation passed another number of lines than the order has"),
        (Created, Fact::WorkOrderOpened, "a work order for an order that was never validated"),
        (Created, Fact::WorkOrderCompleted, "a work order for an order that was never validated"),
        (Created, Fact::Shipped, "a shipment of an order that was never validated"),
        (Created, Fact::ShipmentCancelled, "a cancelled shipment of an order that was never validated"),
        (Rejected, Fact::Shipped, "a shipment of an order that must not ship"),
        (Cancelled, Fact::Shipped, "a shipment of an order that must not ship"),
        (Shipped, Fact::ShipmentCancelled, "a cancelled shipment of an order that was shipped"),
        (Validated, failed(&["A"]), "validation failed an order that it had passed"),
        (Shipped, failed(&["A"]), "validation failed an order that it had passed"),
    ];
    for (given, when, why) in misplaced {
        check(given, when, given, &Misplaced(why));
    }
}

#[test]
fn late_reasons_are_added_to_a_rejected_order_once() {
    let mut order = order(Created);
    settle(&mut order, failed(&["A"]), 5_000);
    let later = settle(&mut order, failed(&["A", "B"]), 6_000);
    assert_eq!(later, change(Event::ReasonsAdded { reasons: vec![reason("B")] }, None));
    assert_eq!(order.reasons, [reason("A"), reason("B")]);
    assert_eq!(settle(&mut order, failed(&["B"]), 7_000), Unchanged);
    assert_eq!((order.state, order.version, order.updated_ms), (Rejected, 5, 6_000));
}

#[test]
fn times_never_go_back() {
    let mut order = order(Created);
    settle(&mut order, passed(), 500);
    assert_eq!(order.updated_ms, 2_000);
}

#[test]
fn a_cancel_is_final_before_validation_and_a_wish_after_it() {
    let cancelled = Change { event: Event::Cancelled, stock: Some(StockAction::Release) };
    let requested = Change { event: Event::CancellationRequested, stock: None };
    let table = [
        (Created, Cancellation::Cancelled(cancelled), Cancelled, 4),
        (Validated, Cancellation::Requested(requested.clone()), Validated, 3),
        (InManufacturing, Cancellation::Requested(requested.clone()), InManufacturing, 3),
        (Ready, Cancellation::Requested(requested), Ready, 3),
        (Shipped, Cancellation::Illegal(Shipped), Shipped, 3),
        (Rejected, Cancellation::Illegal(Rejected), Rejected, 3),
        (Cancelled, Cancellation::Illegal(Cancelled), Cancelled, 3),
    ];
    for (given, then, then_state, version) in table {
        let mut order = order(given);
        assert_eq!(cancel(&mut order, None, 5_000), then, "{given:?}");
        assert_eq!((order.state, order.version), (then_state, version), "{given:?}");
    }
}

#[test]
fn a_second_wish_to_cancel_is_answered_by_the_first() {
    let mut order = order(Ready);
    assert!(matches!(cancel(&mut order, Some(3), 5_000), Cancellation::Requested(_)));
    assert_eq!(cancel(&mut order, Some(3), 5_000), Cancellation::Pending);
}

#[test]
fn a_cancel_of_another_version_is_refused_in_every_state() {
    for given in STATES {
        let mut order = order(given);
        assert_eq!(cancel(&mut order, Some(2), 5_000), Cancellation::VersionConflict { current: 3 });
        assert_eq!(order, self::order(given));
    }
}

#[test]
fn an_order_id_belongs_to_one_content_for_ever() {
    let Creation::Created(order, change) = create(None, one_jumper(), 7) else { panic!("the id is free") };
    assert_eq!(change, Change { event: Event::Created, stock: Some(StockAction::Reserve) });
    assert_eq!((order.state, order.version, order.created_ms, order.updated_ms), (Created, 1, 7, 7));
    let two = content(vec![line("jumper", 2, money("EUR", 1999))]);
    for state in STATES {
        let existing = self::order(state);
        assert_eq!(create(Some(&existing), one_jumper(), 9), Creation::Exists);
        assert_eq!(create(Some(&existing), two.clone(), 9), Creation::Taken);
    }
}

#[test]
fn a_total_is_the_sum_or_no_amount() {
    let eur = |q, p| line("p", q, money("EUR", p));
    let table = [
        (vec![eur(2, 1999), eur(1, 1)], Ok(money("EUR", 3999))),
        (vec![eur(-1, 1999)], Ok(money("EUR", -1999))),
        (vec![], Ok(money("", 0))),
        (vec![eur(1, 1), line("q", 1, money("USD", 1))], Err(NoTotal::MixedCurrencies)),
        (vec![eur(1, i64::MAX)], Ok(money("EUR", i64::MAX))),
        (vec![eur(2, i64::MAX)], Err(NoTotal::TooLarge)),
        (vec![eur(i64::MIN, i64::MIN); 100], Err(NoTotal::TooLarge)),
        // The sum would fit, but not whatever the order of adding up.
        (vec![eur(1, i64::MAX), eur(1, 1), eur(-1, 1)], Err(NoTotal::TooLarge)),
        (vec![eur(1, i64::MAX), line("q", 1, money("USD", 1))], Err(NoTotal::TooLarge)),
    ];
    for (lines, then) in table {
        assert_eq!(content(lines.clone()).total(), then, "{lines:?}");
    }
}

#[test]
fn milestones_are_reached_by_every_later_state() {
    for state in STATES {
        assert!(Milestone::Created.is_reached(state));
        assert_eq!(Milestone::Validated.is_reached(state), state != Created);
        assert_eq!(Milestone::Shipped.is_reached(state), state.is_final());
    }
}

/// What can happen to an order, from anyone, in any order.
#[derive(Debug, Clone)]
enum Step {
    Fact(Fact),
    Cancel,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Fact(passed())),
        "[A-C]{1}".prop_map(|code| Step::Fact(failed(&[code.as_str()]))),
        Just(Step::Fact(Fact::WorkOrderOpened)),
        Just(Step::Fact(Fact::WorkOrderCompleted)),
        Just(Step::Fact(Fact::Shipped)),
        Just(Step::Fact(Fact::ShipmentCancelled)),
        Just(Step::Cancel),
    ]
}

/// How far down the state machine a state stands; all final states share the last place.
fn depth(state: State) -> u8 {
    match state {
        Created => 0,
        Validated => 1,
        InManufacturing => 2,
        Ready => 3,
        Shipped | Rejected | Cancelled => 4,
    }
}

proptest! {
    #[test]
    fn whatever_arrives_in_whatever_order_the_laws_hold(steps in prop::collection::vec(any_step(), 0..40)) {
        let Creation::Created(mut order, first) = create(None, one_jumper(), 0) else { panic!("the id is free") };
        let mut stock = vec![first.stock.unwrap()];
        for (now_ms, step) in steps.into_iter().enumerate() {
            let before = order.clone();
            let now_ms = i64::try_from(now_ms).unwrap();
            let change = match step {
                Step::Fact(fact) => match settle(&mut order, fact, now_ms) {
                    Changed(change) => Some(change),
                    Unchanged | Misplaced(_) => None,
                },
                Step::Cancel => match cancel(&mut order, None, now_ms) {
                    Cancellation::Cancelled(change) | Cancellation::Requested(change) => Some(change),
                    _ => None,
                },
            };
            prop_assert!(depth(order.state) >= depth(before.state), "the state went back");
            if before.state.is_final() {
                prop_assert_eq!(order.state, before.state, "a final state was left");
            }
            let seen_change = Order { cancellation_requested: before.cancellation_requested, ..order.clone() } != before;
            prop_assert_eq!(order.version, before.version + u64::from(seen_change), "the etag tells each change");
            prop_assert_eq!(change.is_some(), order != before, "every change is told, and nothing else");
            stock.extend(change.and_then(|change| change.stock));
            let wanted: &[StockAction] = match order.state {
                Created | Validated | InManufacturing | Ready => &[StockAction::Reserve],
                Shipped => &[StockAction::Reserve, StockAction::Ship],
                Rejected | Cancelled => &[StockAction::Reserve, StockAction::Release],
            };
            prop_assert_eq!(stock.as_slice(), wanted, "stock follows the state");
        }
    }
}
