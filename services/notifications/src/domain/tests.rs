//! Given / when / then, and every order of arrival.

use proptest::prelude::*;

use super::delivery::{Delivery, Outcome, Policy, State, Step, renew, report, step};
use super::*;

const FACTS: [Fact; 3] = [Fact::Placed, Fact::Validated, Fact::Paid];
const POLICY: Policy = Policy { tries_max: 4, pause_ms: 100, pause_max_ms: 250 };

/// Learns facts one by one, with the customer known from the `customer_at`-th on; how often it was to be enriched and mailed.
fn run(facts: &[Fact], customer_at: usize) -> (usize, usize) {
    let (mut join, mut enriched, mut mailed) = (Join::default(), 0, 0);
    for at in 0..=facts.len() {
        // The customer comes before the fact of its number, or at the end.
        let conclusion = join.conclude(at > customer_at || at == facts.len());
        enriched += usize::from(conclusion.enrich);
        mailed += usize::from(conclusion.notify);
        if let Some(fact) = facts.get(at) {
            join.learn(*fact);
            let conclusion = join.conclude(at >= customer_at);
            enriched += usize::from(conclusion.enrich);
            mailed += usize::from(conclusion.notify);
        }
    }
    (enriched, mailed)
}

/// Every order of some facts.
fn orders_of(facts: &[Fact]) -> Vec<Vec<Fact>> {
    if facts.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in facts.iter().enumerate() {
        let mut rest = facts.to_vec();
        rest.remove(index);
        all.extend(orders_of(&rest).into_iter().map(|rest| [vec![*first], rest].concat()));
    }
    all
}

#[test]
fn one_e_mail_in_every_order_of_arrival() {
    for facts in orders_of(&FACTS) {
        for customer_at in 0..=facts.len() {
            assert_eq!(run(&facts, customer_at), (1, 1), "{facts:?}, customer at {customer_at}");
        }
    }
}

#[test]
fn nothing_is_sent_while_something_is_missing() {
    for missing in FACTS {
        let facts: Vec<_> = FACTS.into_iter().filter(|fact| *fact != missing).collect();
        for facts in orders_of(&facts) {
            let enriched = usize::from(missing == Fact::Paid);
            assert_eq!(run(&facts, 0), (enriched, 0), "{facts:?}");
        }
    }
    let mut join = Join { placed: true, validated: true, paid: true, ..Join::default() };
    assert_eq!(join.conclude(false), Conclusion::default(), "the customer is missing");
}

#[test]
fn an_order_that_has_ended_is_not_mailed() {
    let mut join = Join { placed: true, validated: true, ended: true, ..Join::default() };
    join.learn(Fact::Paid);
    assert_eq!(join.conclude(true), Conclusion { enrich: true, notify: false });
    assert!(!join.is_open());
}

#[test]
fn a_known_fact_is_nothing_new() {
    let mut join = Join::default();
    for fact in [Fact::Placed, Fact::Validated, Fact::Paid, Fact::Ended] {
        assert_eq!((join.learn(fact), join.learn(fact)), (true, false));
    }
}

fn failed(is_final: bool) -> Outcome {
    Outcome::Failed { error: "no".into(), is_final }
}

#[test]
fn tries_are_repeated_with_growing_pauses_up_to_a_limit() {
    let mut delivery = Delivery::default();
    for (tries, pause_ms) in [(1, 100), (2, 200), (3, 250)] {
        delivery = report(&delivery, delivery.attempts(), failed(false), &POLICY, 1_000).unwrap();
        assert_eq!((delivery.state, delivery.tries, delivery.due_ms), (State::Pending, tries, 1_000 + pause_ms));
    }
    delivery = report(&delivery, 3, failed(false), &POLICY, 2_000).unwrap();
    assert_eq!((delivery.state, delivery.attempts(), delivery.last_error.as_str()), (State::Undeliverable, 4, "no"));
}

#[test]
fn what_is_sent_stays_so_and_what_is_refused_for_good_is_given_up_at_once() {
    let sent = report(&Delivery::default(), 0, Outcome::Sent, &POLICY, 1).unwrap();
    assert_eq!((sent.state, sent.attempts()), (State::Sent, 1));
    assert_eq!(report(&sent, 1, failed(true), &POLICY, 2), None);
    assert_eq!(renew(&sent), None);
    let refused = report(&Delivery::default(), 0, failed(true), &POLICY, 1).unwrap();
    assert_eq!((refused.state, refused.attempts()), (State::Undeliverable, 1));
}

#[test]
fn a_report_of_another_try_is_ignored() {
    let once = report(&Delivery::default(), 0, failed(false), &POLICY, 1).unwrap();
    assert_eq!(report(&once, 0, failed(false), &POLICY, 2), None);
    assert_eq!(report(&once, 2, Outcome::Sent, &POLICY, 2), None);
}

#[test]
fn a_replayed_e_mail_has_all_its_tries_again_and_numbers_them_on() {
    let given_up = report(&Delivery::default(), 0, failed(true), &POLICY, 1).unwrap();
    let renewed = renew(&given_up).unwrap();
    assert_eq!((renewed.state, renewed.tries, renewed.attempts(), renewed.due_ms), (State::Pending, 0, 1, 0));
    assert_eq!(report(&renewed, 0, Outcome::Sent, &POLICY, 78), None, "a late report of a try before the replay");
    assert_eq!(report(&renewed, 1, Outcome::Sent, &POLICY, 78).unwrap().state, State::Sent);
}

#[test]
fn each_step_is_told_and_a_try_that_is_repeated_is_none() {
    use State::{Pending, Sent, Undeliverable};
    let steps = [
        (None, Pending, Some(Step::Decided)),
        (Some(Pending), Pending, None),
        (Some(Pending), Sent, Some(Step::Sent)),
        (Some(Pending), Undeliverable, Some(Step::GivenUp)),
        (Some(Undeliverable), Pending, Some(Step::Renewed)),
    ];
    for (before, after, wanted) in steps {
        assert_eq!(step(before, after), wanted, "{before:?} to {after:?}");
    }
}

#[test]
fn pauses_do_not_overflow() {
    let policy = Policy { tries_max: u32::MAX, pause_ms: i64::MAX / 2, pause_max_ms: i64::MAX };
    let delivery = Delivery { tries: 1_000, ..Delivery::default() };
    assert_eq!(report(&delivery, 1_000, failed(false), &policy, i64::MAX).unwrap().due_ms, i64::MAX);
}

proptest! {
    /// Any facts, any number of times, with the customer at any moment.
    #[test]
    fn never_more_than_one_e_mail_and_one_enriched_order(
        facts in prop::collection::vec(
            prop::sample::select(vec![Fact::Placed, Fact::Validated, Fact::Paid, Fact::Ended]), 0..30),
        customer_at in 0..31_usize,
    ) {
        let (enriched, mailed) = run(&facts, customer_at);
        prop_assert!(enriched <= 1 && mailed <= 1);
        let has = |fact| facts.contains(&fact);
        let is_validated = has(Fact::Placed) && has(Fact::Validated);
        prop_assert_eq!(enriched == 1, is_validated);
        if is_validated && has(Fact::Paid) && !has(Fact::Ended) {
            prop_assert_eq!(mailed, 1);
        }
    }
}
