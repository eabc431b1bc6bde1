//! Given, when, then; and the same shipment whatever the order of arrival.

use proptest::prelude::*;

use super::Fact::{CancellationRequested, Cancelled, Validated};
use super::*;

fn made(product_id: &str, total: i64) -> Fact<'_> {
    Fact::Made { product_id, total }
}

/// The facts, one after the other, each a millisecond later; the shipment and the events in order.
fn run(facts: &[Fact<'_>]) -> (Option<Shipment>, Vec<Event>) {
    let (mut shipment, mut events) = (None, Vec::new());
    for (now_ms, fact) in (1..).zip(facts) {
        if let Some(decision) = apply(shipment.clone(), fact, now_ms) {
            events.extend(decision.event);
            shipment = Some(decision.shipment);
        }
    }
    (shipment, events)
}

/// Given these facts, when all have come, then the shipment stands so, with this progress and these events.
#[track_caller]
fn check(facts: &[Fact<'_>], state: State, progress: (i128, i128), events: &[Event]) {
    let (shipment, seen) = run(facts);
    let shipment = shipment.unwrap();
    assert_eq!((shipment.state, shipment.pieces(), seen.as_slice()), (state, progress, events));
}

const SHIPPED: &[Event] = &[Event::Shipped];
const CANCELLED: &[Event] = &[Event::Cancelled];

fn two() -> Fact<'static> {
    Validated(vec![("desk", 1), ("lamp", 1)])
}

#[test]
fn an_order_with_nothing_to_make_ships_when_it_is_validated() {
    check(&[Validated(vec![])], State::Shipped, (0, 0), SHIPPED);
    check(&[Validated(vec![("desk", 0), ("lamp", -1)])], State::Shipped, (0, 0), SHIPPED);
}

#[test]
fn an_order_waits_until_everything_is_made() {
    check(&[two()], State::Waiting, (0, 2), &[]);
    check(&[two(), made("desk", 1)], State::Waiting, (1, 2), &[]);
    check(&[two(), made("desk", 1), made("lamp", 1)], State::Shipped, (2, 2), SHIPPED);
}

#[test]
fn items_may_come_before_their_order() {
    check(&[made("desk", 1), made("lamp", 1), two()], State::Shipped, (2, 2), SHIPPED);
    check(&[made("lamp", 1), two(), made("desk", 1)], State::Shipped, (2, 2), SHIPPED);
    check(&[made("lamp", 1)], State::Early, (0, 0), &[]);
}

#[test]
fn totals_count_once_however_often_they_come() {
    let three = || Validated(vec![("desk", 3)]);
    check(&[three(), made("desk", 1), made("desk", 1), made("desk", 1)], State::Waiting, (1, 3), &[]);
    check(&[three(), made("desk", 2), made("desk", 1), made("desk", 3)], State::Shipped, (3, 3), SHIPPED);
}

#[test]
fn the_same_product_in_two_lines_is_summed() {
    let lines = Validated(vec![("desk", 1), ("desk", 2)]);
    check(&[lines.clone(), made("desk", 2)], State::Waiting, (2, 3), &[]);
    check(&[lines, made("desk", 3)], State::Shipped, (3, 3), SHIPPED);
    let huge = Validated(vec![("desk", i64::MAX), ("desk", i64::MAX), ("lamp", i64::MAX)]);
    check(&[huge], State::Waiting, (0, 2 * i128::from(i64::MAX)), &[]);
}

#[test]
fn products_that_nobody_ordered_do_not_count() {
    check(&[two(), made("desk", 1), made("sofa", 9)], State::Waiting, (1, 2), &[]);
    check(&[made("sofa", 9), two(), made("desk", 1)], State::Waiting, (1, 2), &[]);
    let (shipment, _) = run(&[made("sofa", 9), two(), made("desk", 1)]);
    assert_eq!(shipment.unwrap().missing().collect::<Vec<_>>(), ["lamp"]);
}

#[test]
fn nothing_ships_twice() {
    let all =
        [two(), made("desk", 1), made("lamp", 1), made("lamp", 1), two(), CancellationRequested, Cancelled, two()];
    check(&all, State::Shipped, (2, 2), SHIPPED);
}

#[test]
fn a_cancelled_order_never_ships() {
    check(&[two(), CancellationRequested, made("desk", 1), made("lamp", 1)], State::Cancelled, (0, 2), CANCELLED);
    check(&[two(), CancellationRequested, Cancelled, CancellationRequested], State::Cancelled, (0, 2), CANCELLED);
    check(&[Cancelled, Validated(vec![])], State::Cancelled, (0, 0), &[]);
    check(&[made("desk", 1), Cancelled, two()], State::Cancelled, (0, 0), &[]);
    check(&[CancellationRequested, two()], State::Cancelled, (0, 0), CANCELLED);
    check(&[two(), Cancelled], State::Cancelled, (0, 2), CANCELLED);
}

#[test]
fn only_a_change_gives_a_new_version() {
    let (shipment, _) = run(&[two(), two(), made("desk", 1), made("desk", 1), made("sofa", 1)]);
    let shipment = shipment.unwrap();
    assert_eq!((shipment.version, shipment.created_ms, shipment.changed_ms), (2, 1, 3));
}

proptest! {
    #[test]
    fn every_order_of_arrival_ends_in_the_same_shipment(
        needs in prop::collection::vec((0usize..4, 1i64..4), 0..6),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        seed in any::<u64>(),
    ) {
        let products = ["a", "b", "c", "d"];
        let needs: Vec<(&str, i64)> = needs.iter().map(|(product, quantity)| (products[*product], *quantity)).collect();
        let mut facts = vec![Validated(needs.clone())];
        for product in products {
            let needed: i64 = needs.iter().filter(|(p, _)| *p == product).map(|(_, quantity)| quantity).sum();
            facts.extend((1..=needed).map(|total| made(product, total)));
        }
        let whole = facts.clone();
        facts.extend(repeats.iter().map(|index| index.get(&whole).clone()));
        // A shuffle that the seed decides.
        let mut state = seed;
        for last in (1..facts.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            facts.swap(last, (state >> 33) as usize % (last + 1));
        }
        let (shipment, events) = run(&facts);
        let shipment = shipment.unwrap();
        prop_assert_eq!(shipment.state, State::Shipped);
        prop_assert_eq!(events, vec![Event::Shipped]);
        let (made, needed) = shipment.pieces();
        prop_assert_eq!(made, needed);
    }

    #[test]
    fn a_cancel_anywhere_leaves_exactly_one_end(at in 0usize..5) {
        let mut facts = vec![two(), made("desk", 1), made("lamp", 1), made("lamp", 1)];
        facts.insert(at, CancellationRequested);
        let (shipment, events) = run(&facts);
        let end = shipment.unwrap().state;
        prop_assert_eq!(events.len(), 1);
        prop_assert_eq!(end == State::Shipped, events == [Event::Shipped]);
        prop_assert_eq!(end == State::Cancelled, at < 3);
    }
}
