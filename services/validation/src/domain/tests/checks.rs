//! DETAILS and FRAUD.

use proptest::prelude::*;

use crate::domain::fraud::{Limit, Placed, Session, Windows};
use crate::domain::{Check, Money, Outcome, Verdict, details, fraud};

const HOUR_MS: i64 = 3_600_000;
const WINDOWS: Windows = Windows { gap_ms: HOUR_MS, grace_ms: HOUR_MS };
const LIMIT: Limit = Limit { minor_units: 200_000, exponent: 2 };

fn money(currency: &str, minor_units: i64) -> Money {
    Money { currency: currency.to_owned(), minor_units }
}

fn line(product_id: &str, quantity: i64, currency: &str, price: i64) -> details::Line {
    details::Line { product_id: product_id.to_owned(), quantity, unit_price: money(currency, price) }
}

fn code_and_message(verdict: &Verdict) -> Option<(&str, &str)> {
    match &verdict.outcome {
        Outcome::Pass { .. } => None,
        Outcome::Fail { code, message } => Some((code, message)),
    }
}

#[test]
fn details_are_judged_by_the_order_alone() {
    let good = || line("jumper", 1, "EUR", 1999);
    let table = [
        (vec![good()], None),
        (vec![good(), line("sock", 3, "EUR", 0)], None),
        (
            vec![line("jumper", -1, "EUR", 1999)],
            Some(("QUANTITY_NOT_POSITIVE", "line 0: the quantity is -1", "jumper")),
        ),
        (vec![good(), line("sock", 0, "EUR", 1)], Some(("QUANTITY_NOT_POSITIVE", "line 1: the quantity is 0", "sock"))),
        (vec![line("jumper", 1, "EUR", -1)], Some(("PRICE_NEGATIVE", "line 0: the price is -1 minor units", "jumper"))),
        (vec![line(" ", 1, "EUR", 1)], Some(("PRODUCT_BLANK", "line 0: the product id is blank", " "))),
        (vec![good(), line("sock", 1, "USD", 1)], Some(("CURRENCIES_DIFFER", "line 1: USD differs from EUR", "sock"))),
        (
            vec![line("jumper", 0, "EUR", -5), line("sock", 1, "USD", 1)],
            Some((
                "QUANTITY_NOT_POSITIVE",
                "line 0: the quantity is 0; line 0: the price is -5 minor units; line 1: USD differs from EUR",
                "jumper",
            )),
        ),
    ];
    for (lines, then) in table {
        let verdict = details::judge(&lines);
        let found = code_and_message(&verdict).map(|(code, message)| (code, message, verdict.product_id.as_str()));
        assert_eq!(found, then, "{lines:?}");
        assert_eq!((verdict.check, verdict.line), (Check::Details, 0));
    }
}

/// Orders of one customer as (seconds, EUR cents), and whether each passes.
fn check_fraud(orders: &[(i64, i64, bool)]) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (seconds, cents, passes) in orders {
        let placed = Placed { time_ms: seconds * 1_000, total: Some(money("EUR", *cents)) };
        let verdict = fraud::judge(&mut sessions, placed, WINDOWS, LIMIT);
        assert_eq!(
            verdict.outcome == Outcome::Pass { fulfilment: None },
            *passes,
            "{cents} at {seconds} of {orders:?}"
        );
    }
    sessions
}

#[test]
fn a_session_that_reaches_the_limit_exactly_fails() {
    check_fraud(&[(0, 1_500, true), (1, 7_500, true), (2, 100_000, true), (3, 100_000, false)]);
    check_fraud(&[(0, 199_999, true)]);
    check_fraud(&[(0, 199_999, true), (1, 1, false)]);
    check_fraud(&[(0, 200_000, false)]);
}

#[test]
fn failed_orders_keep_counting() {
    check_fraud(&[(0, 200_000, false), (60, 1, false)]);
}

#[test]
fn an_hour_of_inactivity_still_joins_and_a_second_more_does_not() {
    check_fraud(&[(0, 199_999, true), (3_600, 1, false), (7_201, 199_999, true)]);
    check_fraud(&[(0, 199_999, true), (3_601, 199_999, true)]);
    // Each order prolongs the session.
    check_fraud(&[(0, 100_000, true), (3_000, 50_000, true), (6_000, 50_000, false)]);
}

#[test]
fn a_late_order_merges_the_sessions_that_it_lies_between() {
    let sessions = check_fraud(&[(0, 100_000, true), (7_000, 99_999, true), (3_500, 1, false)]);
    assert_eq!(sessions, [Session { start_ms: 0, end_ms: 7_000_000, totals: vec![money("EUR", 200_000)] }]);
}

#[test]
fn a_late_order_that_joins_nothing_stands_alone_and_in_order() {
    let sessions = check_fraud(&[(20_000, 1, true), (0, 2, true), (10_000, 3, true)]);
    let starts: Vec<_> = sessions.iter().map(|session| session.start_ms).collect();
    assert_eq!(starts, [0, 10_000_000, 20_000_000]);
}

#[test]
fn currencies_are_added_up_on_their_own_and_amounts_below_zero_count_as_nothing() {
    let mut sessions = Vec::new();
    let mut judge = |currency: &str, minor_units, exponent| {
        let limit = Limit { minor_units: 2_000 * 10_i64.pow(exponent), exponent };
        let placed = Placed { time_ms: 0, total: Some(money(currency, minor_units)) };
        fraud::judge(&mut sessions, placed, WINDOWS, limit)
    };
    assert_eq!(code_and_message(&judge("EUR", 199_999, 2)), None);
    assert_eq!(code_and_message(&judge("USD", 199_999, 2)), None);
    assert_eq!(code_and_message(&judge("JPY", 1_999, 0)), None);
    assert_eq!(code_and_message(&judge("EUR", -100_000, 2)), None);
    let of_the_session = "the customer's orders of this session amount to";
    let wanted = format!("{of_the_session} 2000.04 EUR, the limit is 2000.00");
    assert_eq!(code_and_message(&judge("EUR", 5, 2)), Some(("FRAUD_LIMIT_REACHED", wanted.as_str())));
    let wanted = format!("{of_the_session} 2000 JPY, the limit is 2000");
    assert_eq!(code_and_message(&judge("JPY", 1, 0)), Some(("FRAUD_LIMIT_REACHED", wanted.as_str())));
}

#[test]
fn an_order_without_an_amount_prolongs_its_session_and_passes() {
    let mut sessions = check_fraud(&[(0, 200_000, false)]);
    let verdict = fraud::judge(&mut sessions, Placed { time_ms: 1_000, total: None }, WINDOWS, LIMIT);
    assert_eq!(verdict, Verdict::pass(Check::Fraud));
    assert_eq!(sessions[0].end_ms, 1_000);
}

#[test]
fn sums_at_the_end_of_their_range_do_not_wrap() {
    check_fraud(&[(0, i64::MAX, false), (1, i64::MAX, false)]);
}

#[test]
fn sessions_are_kept_for_the_gap_and_the_grace_behind_their_end() {
    let mut sessions = check_fraud(&[(0, 1, true), (10_000, 1, true)]);
    WINDOWS.prune(&mut sessions, 7_199_999);
    assert_eq!(sessions.len(), 2);
    WINDOWS.prune(&mut sessions, 7_200_000);
    assert_eq!(sessions.len(), 1);
    assert_eq!(WINDOWS.expiry_ms(&sessions[0]), 17_200_000);
}

proptest! {
    #[test]
    fn sessions_do_not_depend_on_the_order_of_arrival(
        mut orders in prop::collection::vec((0_i64..30_000, 0_i64..1_000), 1..30),
        seed in any::<u64>(),
    ) {
        let sessions = |orders: &[(i64, i64)]| {
            let mut sessions = Vec::new();
            for (seconds, cents) in orders {
                let placed = Placed { time_ms: seconds * 1_000, total: Some(money("EUR", *cents)) };
                fraud::judge(&mut sessions, placed, WINDOWS, LIMIT);
            }
            sessions
        };
        let as_given = sessions(&orders);
        prop_assert!(as_given.is_sorted_by(|a, b| a.end_ms + HOUR_MS < b.start_ms), "sessions are apart and in order");
        let middle = usize::try_from(seed % orders.len() as u64).unwrap();
        orders.rotate_left(middle);
        orders.reverse();
        prop_assert_eq!(sessions(&orders), as_given);
    }
}
