//! What orders hold of the credit.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::domain::Money;
use crate::domain::credit::{Credit, Decision, End, Fault, Reservation, Verdict, close, judge};
use End::{Paid, Unpaid};
use Fault::{CurrencyDiffers, CustomerNotFound, LimitExceeded, OrderEnded};
use Reservation::{Closed, Held, Refused, Unreserved};

fn eur(minor_units: i64) -> Money {
    money("EUR", minor_units)
}

fn money(currency: &str, minor_units: i64) -> Money {
    Money { currency: currency.to_owned(), minor_units }
}

/// A customer with a limit in euros, of which so much is held.
fn limited(limit: i64, reserved: i64) -> Option<Credit> {
    let reserved = if reserved == 0 { Vec::new() } else { vec![eur(reserved)] };
    Some(Credit { limit: Some(eur(limit)), reserved, version: 1 })
}

fn unlimited(reserved: &[Money]) -> Option<Credit> {
    Some(Credit { limit: None, reserved: reserved.to_vec(), version: 1 })
}

const PASS: Option<Verdict> = Some(Verdict::Pass);

const fn fail(fault: Fault) -> Option<Verdict> {
    Some(Verdict::Fail(fault))
}

type State = (Option<Credit>, Option<Reservation>);

/// Given a customer and what is known of the order, when this is decided, then they are so and the answer is this.
#[track_caller]
fn check(
    given: &State,
    decision: Decision,
    (credit, reservation, verdict): (Option<Credit>, Option<Reservation>, Option<Verdict>),
) {
    let after = (decision.credit.or(given.0.clone()), decision.reservation.or(given.1.clone()));
    assert_eq!(after, (credit, reservation), "{given:?}");
    assert_eq!(decision.verdict, verdict, "{given:?}");
}

#[track_caller]
fn check_judge(given: State, total: Option<Money>, then: (Option<Credit>, Option<Reservation>, Option<Verdict>)) {
    let decision = judge(given.0.as_ref(), given.1.as_ref(), total.as_ref());
    check(&given, decision, then);
}

#[track_caller]
fn check_close(given: State, end: End, (credit, reservation): State) {
    let decision = close(given.0.as_ref(), given.1.as_ref(), end);
    check(&given, decision, (credit, reservation, None));
}

#[test]
fn an_order_of_exactly_what_is_left_passes_and_one_of_a_cent_more_does_not() {
    check_judge((limited(1_000, 800), None), Some(eur(200)), (limited(1_000, 1_000), Some(Held(eur(200))), PASS));
    let refused = Some(Refused(LimitExceeded));
    check_judge(
        (limited(1_000, 800), None),
        Some(eur(201)),
        (limited(1_000, 800), refused.clone(), fail(LimitExceeded)),
    );
    check_judge((limited(1_000, 1_000), None), Some(eur(1)), (limited(1_000, 1_000), refused, fail(LimitExceeded)));
    check_judge(
        (limited(i64::MAX, 0), None),
        Some(eur(i64::MAX)),
        (limited(i64::MAX, i64::MAX), Some(Held(eur(i64::MAX))), PASS),
    );
}

#[test]
fn with_a_limit_of_0_only_what_costs_nothing_passes() {
    check_judge(
        (limited(0, 0), None),
        Some(eur(1)),
        (limited(0, 0), Some(Refused(LimitExceeded)), fail(LimitExceeded)),
    );
    check_judge((limited(0, 0), None), Some(eur(0)), (limited(0, 0), Some(Unreserved), PASS));
}

#[test]
fn an_unknown_customer_is_a_verdict_that_stays() {
    check_judge((None, None), Some(eur(1)), (None, Some(Refused(CustomerNotFound)), fail(CustomerNotFound)));
    let since = (unlimited(&[]), Some(Refused(CustomerNotFound)));
    check_judge(since.clone(), Some(eur(1)), (since.0, since.1, fail(CustomerNotFound)));
}

#[test]
fn a_customer_without_a_limit_has_none_to_exceed_and_is_counted_all_the_same() {
    check_judge((unlimited(&[]), None), Some(eur(9_000)), (unlimited(&[eur(9_000)]), Some(Held(eur(9_000))), PASS));
    let two = [eur(9_000), money("USD", 5)];
    check_judge(
        (unlimited(&two[..1]), None),
        Some(two[1].clone()),
        (unlimited(&two), Some(Held(two[1].clone())), PASS),
    );
    let full = unlimited(&[eur(i64::MAX)]);
    check_judge((full.clone(), None), Some(eur(1)), (full, Some(Refused(LimitExceeded)), fail(LimitExceeded)));
}

#[test]
fn an_order_in_another_currency_than_the_limit_is_refused() {
    let refused = Some(Refused(CurrencyDiffers));
    check_judge((limited(1_000, 0), None), Some(money("USD", 1)), (limited(1_000, 0), refused, fail(CurrencyDiffers)));
}

#[test]
fn an_order_without_an_amount_or_below_zero_holds_nothing() {
    check_judge((limited(1_000, 400), None), None, (limited(1_000, 400), Some(Unreserved), PASS));
    for minor_units in [0, -1, i64::MIN] {
        check_judge((limited(1_000, 400), None), Some(eur(minor_units)), (limited(1_000, 400), Some(Unreserved), PASS));
    }
}

#[test]
fn a_repeated_order_is_answered_alike_and_holds_nothing_more() {
    let held = (limited(1_000, 800), Some(Held(eur(800))));
    check_judge(held.clone(), Some(eur(800)), (held.0, held.1, PASS));
    let refused = (limited(4_000, 0), Some(Refused(LimitExceeded)));
    check_judge(refused.clone(), Some(eur(800)), (refused.0, refused.1, fail(LimitExceeded)));
    check_judge((limited(0, 0), Some(Unreserved)), Some(eur(0)), (limited(0, 0), Some(Unreserved), PASS));
}

#[test]
fn credit_is_given_back_once_whether_the_order_is_paid_or_over() {
    for end in [Paid, Unpaid] {
        check_close((limited(1_000, 1_000), Some(Held(eur(800)))), end, (limited(1_000, 200), Some(Closed(end))));
        check_close((limited(1_000, 200), Some(Closed(Paid))), end, (limited(1_000, 200), Some(Closed(Paid))));
        check_close((limited(1_000, 200), Some(Closed(Unpaid))), end, (limited(1_000, 200), Some(Closed(Unpaid))));
        for holds_nothing in [Unreserved, Refused(LimitExceeded)] {
            let given = (limited(1_000, 200), Some(holds_nothing));
            check_close(given.clone(), end, given);
        }
    }
}

#[test]
fn an_order_that_is_over_before_it_is_judged_is_refused_and_a_paid_one_holds_nothing() {
    check_close((limited(1_000, 0), None), Unpaid, (limited(1_000, 0), Some(Closed(Unpaid))));
    check_judge(
        (limited(1_000, 0), Some(Closed(Unpaid))),
        Some(eur(1)),
        (limited(1_000, 0), Some(Closed(Unpaid)), fail(OrderEnded)),
    );
    check_judge((limited(0, 0), Some(Closed(Paid))), Some(eur(1)), (limited(0, 0), Some(Closed(Paid)), PASS));
    check_judge((None, Some(Closed(Paid))), Some(eur(1)), (None, Some(Closed(Paid)), fail(CustomerNotFound)));
}

#[test]
fn a_limit_below_what_is_held_leaves_less_than_nothing() {
    let credit = limited(500, 800).unwrap();
    assert_eq!(credit.available(), Some(eur(-300)));
    check_judge(
        (Some(credit.clone()), None),
        Some(eur(1)),
        (Some(credit), Some(Refused(LimitExceeded)), fail(LimitExceeded)),
    );
    check_close((limited(500, 800), Some(Held(eur(800)))), Paid, (limited(500, 0), Some(Closed(Paid))));
}

#[test]
fn a_change_of_the_limits_currency_strands_nothing() {
    let credit = |reserved: Vec<Money>| Some(Credit { limit: Some(money("USD", 10)), reserved, version: 2 });
    check_close((credit(vec![eur(800)]), Some(Held(eur(800)))), Paid, (credit(Vec::new()), Some(Closed(Paid))));
    assert_eq!(credit(vec![eur(800)]).unwrap().available(), Some(money("USD", 10)));
}

#[derive(Debug, Clone)]
enum Step {
    Create(Option<i64>),
    Limit(&'static str, i64),
    Judge(u8),
    Close(u8, End),
}

fn step() -> impl Strategy<Value = Step> {
    let limit = prop_oneof![1 => Just(0), 6 => 0_i64..3_000, 1 => Just(i64::MAX)];
    prop_oneof![
        1 => prop::option::of(limit.clone()).prop_map(Step::Create),
        2 => (prop_oneof![9 => Just("EUR"), 1 => Just("USD")], limit).prop_map(|(currency, limit)| Step::Limit(currency, limit)),
        9 => (0_u8..14).prop_map(Step::Judge),
        9 => (0_u8..14, prop_oneof![Just(Paid), Just(Unpaid)]).prop_map(|(order, end)| Step::Close(order, end)),
    ]
}

/// The same order always costs the same, as a real one does.
fn total(order: u8) -> Option<Money> {
    match order {
        0 => None,
        1 => Some(eur(0)),
        2 => Some(eur(-50)),
        3 => Some(money("USD", 70)),
        4 => Some(eur(i64::MAX)),
        order => Some(eur(i64::from(order) * 100)),
    }
}

/// What must come out, kept in the plainest way.
#[derive(Default)]
struct Ledger {
    credit: Option<Credit>,
    orders: BTreeMap<u8, Reservation>,
    verdicts: BTreeMap<u8, Verdict>,
    given_back: BTreeMap<u8, u32>,
}

impl Ledger {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Create(limit) => {
                let credit = Credit { limit: limit.map(eur), reserved: Vec::new(), version: 1 };
                self.credit.get_or_insert(credit);
            }
            Step::Limit(currency, limit) => {
                if let Some(credit) = &mut self.credit {
                    credit.limit = Some(money(currency, limit));
                }
            }
            Step::Judge(order) => self.judge(order),
            Step::Close(order, end) => self.close(order, end),
        }
    }

    fn judge(&mut self, order: u8) {
        let (before, total) = (self.orders.get(&order).cloned(), total(order));
        let available = self.credit.as_ref().and_then(Credit::available);
        let decision = judge(self.credit.as_ref(), before.as_ref(), total.as_ref());
        let verdict = decision.verdict.expect("every judgement is answered");
        let first = *self.verdicts.entry(order).or_insert(verdict);
        assert!(matches!(before, Some(Closed(_))) || first == verdict, "an open order is answered alike");
        if let (None, Verdict::Pass, Some(total), Some(available)) = (before, verdict, total, available) {
            assert!(
                total.currency == available.currency && total.minor_units <= available.minor_units,
                "beyond the limit"
            );
        }
        self.settle(order, decision);
    }

    fn close(&mut self, order: u8, end: End) {
        let before = self.orders.get(&order).cloned();
        let decision = close(self.credit.as_ref(), before.as_ref(), end);
        assert_eq!(decision.verdict, None);
        assert_eq!(decision.credit.is_some(), matches!(before, Some(Held(_))), "exactly what is held is given back");
        if decision.credit.is_some() {
            *self.given_back.entry(order).or_default() += 1;
        }
        self.settle(order, decision);
    }

    fn settle(&mut self, order: u8, decision: Decision) {
        if let Some(reservation) = decision.reservation {
            let before = self.orders.insert(order, reservation);
            assert!(matches!(before, None | Some(Held(_))), "nothing leaves {before:?}");
        }
        self.credit = decision.credit.or(self.credit.take());
    }

    fn laws(&self) {
        let Some(credit) = &self.credit else {
            return assert!(
                !self.orders.values().any(|order| matches!(order, Held(_))),
                "nobody holds what nobody has"
            );
        };
        assert!(self.given_back.values().all(|times| *times == 1), "once");
        assert!(credit.reserved.iter().all(|held| held.minor_units > 0), "{credit:?}");
        assert!(credit.reserved.is_sorted_by(|a, b| a.currency < b.currency), "{credit:?}");
        for currency in ["EUR", "USD"] {
            let held = self.orders.values().filter_map(|order| match order {
                Held(held) if held.currency == currency => Some(i128::from(held.minor_units)),
                _ => None,
            });
            assert_eq!(held.sum::<i128>(), i128::from(credit.reserved_in(currency)), "{currency}");
        }
        if let (Some(limit), Some(available)) = (&credit.limit, credit.available()) {
            assert_eq!(available.minor_units, limit.minor_units - credit.reserved_in(&limit.currency));
        }
    }
}

proptest! {
    #[test]
    fn the_laws_hold_under_any_interleaving_with_repeats(steps in prop::collection::vec(step(), 1..120)) {
        let mut ledger = Ledger::default();
        for step in &steps {
            ledger.take(step);
            ledger.laws();
        }
        // Whatever happened: when every order is over, nothing is held.
        for order in 0..14 {
            ledger.take(&Step::Close(order, Unpaid));
            ledger.laws();
        }
        if let Some(credit) = &ledger.credit {
            prop_assert_eq!(&credit.reserved, &Vec::new());
        }
    }
}
