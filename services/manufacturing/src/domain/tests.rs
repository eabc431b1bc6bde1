//! Given, when, then; and the laws of work orders under any run of reports.

use proptest::prelude::*;

use super::*;

const EARLY_PRODUCTS_MAX: usize = 3;

fn item(product_id: &str, manufactured: i64, quantity: i64) -> Item {
    Item { product_id: product_id.into(), quantity, manufactured }
}

fn early(product_id: &str, quantity: i64) -> Early {
    Early { product_id: product_id.into(), quantity }
}

fn work_order(state: State, items: &[Item]) -> WorkOrder {
    WorkOrder { items: items.to_vec(), state, opened_ms: 1, changed_ms: 1, version: 1 }
}

fn made(item: Item, quantity: i64) -> Event {
    Event::Manufactured { item, quantity }
}

/// The change of a step that is one of a work order.
#[track_caller]
fn work_of(step: Option<Step>) -> Change {
    match step {
        Some(Step::Work(change)) => change,
        step => panic!("{step:?} is no work"),
    }
}

/// Given a work order, when a report of `desk` comes, then it stands so and this happened.
#[track_caller]
fn check_report(given: &WorkOrder, quantity: i64, then: Result<(State, &[Item], &[Event]), Refusal>) {
    let seen = report(Some(Known::Opened(given.clone())), ("desk", quantity), EARLY_PRODUCTS_MAX, 5);
    match (seen, then) {
        (Ok(Reported::Applied(change)), Ok((state, items, events))) => {
            assert_eq!((change.work_order.state, change.work_order.items.as_slice()), (state, items));
            assert_eq!(change.events, events);
            assert_eq!((change.work_order.version, change.work_order.changed_ms), (2, 5));
        }
        (Err(seen), Err(then)) => assert_eq!(seen, then),
        (seen, then) => panic!("{seen:?} instead of {then:?}"),
    }
}

#[test]
fn a_validated_order_opens_a_work_order_with_each_product_once() {
    let change = work_of(open(None, [("desk", 1), ("lamp", 2), ("desk", 3)], 7));
    let items = vec![item("desk", 0, 4), item("lamp", 0, 2)];
    assert_eq!(change.events, [Event::Opened(items.clone())]);
    assert_eq!(change.work_order, WorkOrder { opened_ms: 7, changed_ms: 7, ..work_order(State::Open, &items) });
}

#[test]
fn an_order_with_nothing_to_make_opens_none_and_needs_no_early_reports() {
    let idle = |surplus| Some(Step::Idle { idle: Idle::NothingToMake, surplus });
    assert_eq!(open(None, [], 7), idle(vec![]));
    assert_eq!(open(Some(Known::Early(vec![early("desk", 1)])), [], 7), idle(vec![early("desk", 1)]));
    assert_eq!(open(None, [("desk", 0), ("lamp", -3)], 7), idle(vec![]));
}

#[test]
fn an_order_that_ends_without_a_work_order_needs_no_early_reports() {
    for idle in [Idle::Rejected, Idle::Cancelled] {
        assert_eq!(end(None, idle, 7), Some(Step::Idle { idle, surplus: vec![] }));
        let surplus = vec![early("desk", 1)];
        assert_eq!(end(Some(Known::Early(surplus.clone())), idle, 7), Some(Step::Idle { idle, surplus }));
    }
}

#[test]
fn an_order_without_a_work_order_takes_no_report_and_stays_without() {
    let cases = [
        (Idle::NothingToMake, Refusal::NotOnWorkOrder),
        (Idle::Rejected, Refusal::Rejected),
        (Idle::Cancelled, Refusal::Cancelled),
    ];
    for (idle, refusal) in cases {
        assert_eq!(report(Some(Known::Idle(idle)), ("desk", 1), EARLY_PRODUCTS_MAX, 5), Err(refusal));
        assert_eq!(open(Some(Known::Idle(idle)), [("desk", 1)], 7), None);
        assert_eq!(end(Some(Known::Idle(idle)), Idle::Cancelled, 7), None);
    }
}

#[test]
fn an_order_that_comes_again_changes_nothing() {
    for state in [State::Open, State::Completed, State::Cancelled] {
        let known = Known::Opened(work_order(state, &[item("desk", 0, 1)]));
        assert_eq!(open(Some(known), [("desk", 1)], 7), None);
    }
}

#[test]
fn quantities_beyond_64_bits_are_capped() {
    let change = work_of(open(None, [("desk", i64::MAX), ("desk", i64::MAX)], 7));
    assert_eq!(change.work_order.items, [item("desk", 0, i64::MAX)]);
}

#[test]
fn early_reports_are_applied_when_the_order_comes() {
    let known = Known::Early(vec![early("lamp", 1), early("desk", 2)]);
    let change = work_of(open(Some(known), [("desk", 2), ("lamp", 1)], 7));
    let events = [
        Event::Opened(vec![item("desk", 0, 2), item("lamp", 0, 1)]),
        made(item("lamp", 1, 1), 1),
        made(item("desk", 2, 2), 2),
        Event::Completed,
    ];
    assert_eq!(change.events, events);
    assert_eq!(change.work_order.state, State::Completed);
    assert_eq!(change.surplus, []);
}

#[test]
fn early_reports_beyond_the_need_are_cut_and_named() {
    let known = Known::Early(vec![early("sofa", 4), early("desk", 5)]);
    let change = work_of(open(Some(known), [("desk", 2), ("lamp", 1)], 7));
    assert_eq!(change.work_order.items, [item("desk", 2, 2), item("lamp", 0, 1)]);
    assert_eq!(change.work_order.state, State::Open);
    assert_eq!(change.surplus, [early("sofa", 4), early("desk", 3)]);
}

#[test]
fn a_report_adds_until_everything_is_made() {
    let given = work_order(State::Open, &[item("desk", 1, 3)]);
    let two = item("desk", 2, 3);
    check_report(&given, 1, Ok((State::Open, std::slice::from_ref(&two), &[made(two.clone(), 1)])));
    let three = item("desk", 3, 3);
    check_report(
        &given,
        2,
        Ok((State::Completed, std::slice::from_ref(&three), &[made(three.clone(), 2), Event::Completed])),
    );
    let with_lamp = work_order(State::Open, &[item("desk", 1, 3), item("lamp", 0, 1)]);
    check_report(&with_lamp, 2, Ok((State::Open, &[three.clone(), item("lamp", 0, 1)], &[made(three, 2)])));
}

#[test]
fn more_than_needed_is_refused_with_the_numbers() {
    let given = work_order(State::Open, &[item("desk", 1, 3)]);
    for quantity in [3, 5, i64::MAX] {
        check_report(&given, quantity, Err(Refusal::TooMany { needed: 3, manufactured: 1 }));
    }
    let completed = work_order(State::Completed, &[item("desk", 3, 3)]);
    check_report(&completed, 1, Err(Refusal::TooMany { needed: 3, manufactured: 3 }));
}

#[test]
fn a_product_that_is_not_on_the_work_order_is_refused() {
    for state in [State::Open, State::Completed, State::Cancelled] {
        check_report(&work_order(state, &[item("lamp", 0, 1)]), 1, Err(Refusal::NotOnWorkOrder));
    }
}

#[test]
fn a_cancelled_work_order_takes_no_report() {
    check_report(&work_order(State::Cancelled, &[item("desk", 0, 1)]), 1, Err(Refusal::Cancelled));
}

#[test]
fn reports_of_an_unknown_order_are_remembered_up_to_a_limit_of_products() {
    let remember = |known, product, quantity| report(known, (product, quantity), EARLY_PRODUCTS_MAX, 5);
    assert_eq!(remember(None, "desk", 2), Ok(Reported::Remembered(vec![early("desk", 2)])));
    let full = || Some(Known::Early(vec![early("a", 1), early("b", i64::MAX), early("c", 1)]));
    let summed = vec![early("a", 3), early("b", i64::MAX), early("c", 1)];
    assert_eq!(remember(full(), "a", 2), Ok(Reported::Remembered(summed)));
    let capped = vec![early("a", 1), early("b", i64::MAX), early("c", 1)];
    assert_eq!(remember(full(), "b", 2), Ok(Reported::Remembered(capped)));
    assert_eq!(remember(full(), "d", 2), Err(Refusal::TooManyEarly { limit: 3 }));
}

#[test]
fn the_workshop_makes_item_by_item() {
    let given = || work_order(State::Open, &[item("desk", 1, 3), item("lamp", 0, 2)]);
    let (change, used) = work(given(), 3, 5);
    assert_eq!((used, change.work_order.state), (3, State::Open));
    assert_eq!(change.events, [made(item("desk", 3, 3), 2), made(item("lamp", 1, 2), 1)]);
    let (change, used) = work(given(), 100, 5);
    assert_eq!((used, change.work_order.state), (4, State::Completed));
    assert_eq!(change.events.last(), Some(&Event::Completed));
    let (change, used) = work(given(), 0, 5);
    assert_eq!((used, change.work_order), (0, given()));
}

#[test]
fn the_workshop_leaves_final_work_orders_alone() {
    for state in [State::Completed, State::Cancelled] {
        let given = work_order(state, &[item("desk", 1, 3)]);
        let (change, used) = work(given.clone(), 5, 5);
        assert_eq!((used, change.work_order, change.events.len()), (0, given, 0));
    }
}

#[test]
fn a_cancelled_order_closes_its_open_work_order_only() {
    let items = [item("desk", 1, 3)];
    let cancel = |work_order, now_ms| end(Some(Known::Opened(work_order)), Idle::Cancelled, now_ms);
    let change = work_of(cancel(work_order(State::Open, &items), 5));
    assert_eq!(change.events, [Event::Cancelled]);
    let closed = WorkOrder { changed_ms: 5, version: 2, ..work_order(State::Cancelled, &items) };
    assert_eq!(change.work_order, closed);
    assert_eq!(cancel(closed, 6), None);
    assert_eq!(cancel(work_order(State::Completed, &items), 6), None);
}

proptest! {
    #[test]
    fn no_run_of_reports_and_work_breaks_the_laws(
        needs in prop::collection::vec((0usize..3, 1i64..6), 1..5),
        steps in prop::collection::vec((0usize..4, 1i64..6, any::<bool>()), 0..60),
        opens_at in 0usize..60,
    ) {
        let products = ["a", "b", "c", "d"];
        let needs: Vec<(&str, i64)> = needs.iter().map(|(product, quantity)| (products[*product], *quantity)).collect();
        let mut known: Option<Known> = None;
        let mut completed = 0;
        let mut total = std::collections::BTreeMap::<String, i64>::new();
        for (index, (product, quantity, by_workshop)) in steps.iter().enumerate() {
            let change = if index == opens_at {
                open(known.clone(), needs.iter().copied(), 1).map(|step| work_of(Some(step)))
            } else if let (true, Some(Known::Opened(work_order))) = (*by_workshop, &known) {
                Some(work(work_order.clone(), *quantity, 1).0)
            } else {
                match report(known.clone(), (products[*product], *quantity), 100, 1) {
                    Ok(Reported::Remembered(early)) => { known = Some(Known::Early(early)); None }
                    Ok(Reported::Applied(change)) => Some(change),
                    Err(_) => None,
                }
            };
            let Some(Change { work_order, events, .. }) = change else { continue };
            for event in events {
                match event {
                    Event::Completed => completed += 1,
                    Event::Manufactured { item, quantity } => {
                        let sum = total.entry(item.product_id.clone()).or_default();
                        *sum += quantity;
                        prop_assert_eq!(*sum, item.manufactured, "totals run");
                    }
                    Event::Opened(_) | Event::Cancelled => {}
                }
            }
            let full = work_order.items.iter().all(|item| item.open() == 0);
            prop_assert!(work_order.items.iter().all(|item| (0..=item.quantity).contains(&item.manufactured)));
            prop_assert_eq!(full, work_order.state == State::Completed);
            prop_assert_eq!(completed, i32::from(full), "completed is said once");
            known = Some(Known::Opened(work_order));
        }
    }

    /// What is made is the same whether its reports come before the order, behind it, or some on either side.
    #[test]
    fn any_order_of_arrival_gives_the_same_work_order(
        needs in prop::collection::vec((0_usize..3, 1_i64..6), 1..4),
        reports in prop::collection::vec((0_usize..3, 1_i64..3), 0..12),
        opens_at in 0_usize..13,
    ) {
        let products = ["a", "b", "c"];
        let needs: Vec<(&str, i64)> = needs.iter().map(|(product, quantity)| (products[*product], *quantity)).collect();
        // Nobody makes more than is needed: what is refused behind the order would be cut before it.
        let mut left = std::collections::BTreeMap::<&str, i64>::new();
        needs.iter().for_each(|(product, quantity)| *left.entry(product).or_default() += quantity);
        let reports: Vec<(&str, i64)> = reports
            .iter()
            .map(|(product, quantity)| (products[*product], *quantity))
            .filter(|(product, quantity)| {
                let left = left.entry(product).or_default();
                let needed = *quantity <= *left;
                *left -= if needed { *quantity } else { 0 };
                needed
            })
            .collect();
        let opened_at = |at: usize| {
            let mut known = None;
            for index in 0..=reports.len() {
                if index == at {
                    known = Some(Known::Opened(work_of(open(known, needs.iter().copied(), 1)).work_order));
                }
                let Some((product, quantity)) = reports.get(index) else { continue };
                known = match report(known, (product, *quantity), 100, 1).unwrap() {
                    Reported::Remembered(early) => Some(Known::Early(early)),
                    Reported::Applied(change) => Some(Known::Opened(change.work_order)),
                };
            }
            match known {
                Some(Known::Opened(work_order)) => Some((work_order.items, work_order.state)),
                _ => None,
            }
        };
        let first = opened_at(0);
        prop_assert!(first.is_some());
        prop_assert_eq!(opened_at(opens_at.min(reports.len())), first);
    }
}
