//! What is concluded from verdicts.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use crate::domain::aggregate::{Announcement, Awaited, Conclusion, Happening, Validation};
use crate::domain::{Check, Fulfilment, Outcome, Reason, Verdict};
use Announcement::{Failed, Passed, ReasonsAdded};
use Fulfilment::{FromStock, MadeToOrder};

const REQUIRED: [Check; 3] = [Check::Details, Check::Fraud, Check::Inventory];

fn missing(validation: &Validation) -> Vec<String> {
    validation.missing(&REQUIRED).iter().map(ToString::to_string).collect()
}

fn created(lines: usize) -> Happening {
    let product_ids = (0..lines).map(|line| format!("p{line}")).collect();
    Happening::Created(Awaited { product_ids, created_ms: 1_000 }, Verdict::pass(Check::Details))
}

fn fraud_passes() -> Happening {
    Happening::Judged(Verdict::pass(Check::Fraud))
}

fn fails(check: Check, code: &str) -> Happening {
    Happening::Judged(Verdict::fail(check, code, String::new()))
}

fn line_passes(line: u32, fulfilment: Fulfilment) -> Happening {
    let outcome = Outcome::Pass { fulfilment: Some(fulfilment) };
    Happening::Judged(Verdict { check: Check::Inventory, line, product_id: format!("p{line}"), outcome })
}

fn line_fails(line: u32) -> Happening {
    let outcome = Outcome::Fail { code: "OUT_OF_STOCK".to_owned(), message: String::new() };
    Happening::Judged(Verdict { check: Check::Inventory, line, product_id: format!("p{line}"), outcome })
}

fn reason(check: Check, product_id: &str, code: &str) -> Reason {
    Reason { check: Some(check), product_id: product_id.to_owned(), code: code.to_owned(), message: String::new() }
}

/// Given nothing, when these happen, then these are announced and this is concluded.
fn check(when: &[Happening], then: &[Announcement], conclusion: Option<Conclusion>) -> Validation {
    let mut validation = Validation::default();
    let mut announced = Vec::new();
    for happening in when {
        let before = validation.clone();
        let step = validation.observe(happening.clone(), &REQUIRED);
        assert_eq!(step.is_changed, validation != before, "{happening:?} of {when:?}");
        announced.extend(step.announce);
    }
    assert_eq!(announced, then, "{when:?}");
    assert_eq!(validation.conclusion, conclusion, "{when:?}");
    validation
}

#[test]
fn all_required_verdicts_pass_an_order_with_the_fulfilment_of_its_lines() {
    let passed = Passed { fulfilments: vec![MadeToOrder, FromStock] };
    let when = [created(2), line_passes(1, FromStock), fraud_passes(), line_passes(0, MadeToOrder)];
    check(&when, std::slice::from_ref(&passed), Some(Conclusion::Passed));
    let early = [line_passes(0, MadeToOrder), fraud_passes(), line_passes(1, FromStock), created(2)];
    check(&early, &[passed], Some(Conclusion::Passed));
}

#[test]
fn a_repeated_verdict_changes_nothing() {
    let when = [created(2), fraud_passes(), line_passes(0, FromStock), line_passes(0, FromStock), line_fails(0)];
    let validation = check(&when, &[], None);
    assert_eq!(missing(&validation), ["INVENTORY line 1 (p1)"]);
}

#[test]
fn one_fail_is_enough_and_later_fails_are_added() {
    let failed = Failed { reasons: vec![reason(Check::Fraud, "", "F")] };
    let added = ReasonsAdded { reasons: vec![reason(Check::Inventory, "p1", "OUT_OF_STOCK")] };
    let when =
        [created(2), fails(Check::Fraud, "F"), line_passes(0, FromStock), line_fails(1), line_fails(1), fraud_passes()];
    check(&when, &[failed, added], Some(Conclusion::Failed));
}

#[test]
fn every_reason_that_is_known_comes_with_the_fail() {
    let Happening::Created(order, _) = created(1) else { panic!("created") };
    let details = Verdict::fail(Check::Details, "D", String::new());
    let reasons = vec![
        reason(Check::Details, "", "D"),
        reason(Check::Fraud, "", "F"),
        reason(Check::Inventory, "p0", "OUT_OF_STOCK"),
    ];
    let when = [line_fails(0), fails(Check::Fraud, "F"), Happening::Created(order, details)];
    check(&when, &[Failed { reasons }], Some(Conclusion::Failed));
}

#[test]
fn what_is_missing_when_time_runs_out_is_named() {
    let when = [created(2), line_passes(0, FromStock), Happening::TimedOut, Happening::TimedOut, fraud_passes()];
    let message = "no verdict in time from FRAUD, INVENTORY line 1 (p1)".to_owned();
    let code = "VALIDATION_TIMED_OUT".to_owned();
    let reasons = vec![Reason { check: None, product_id: String::new(), code, message }];
    let validation = check(&when, &[Failed { reasons }], Some(Conclusion::Failed));
    assert!(validation.timed_out);
}

#[test]
fn a_fail_after_the_timeout_is_added_and_a_timeout_after_the_end_is_nothing() {
    let mut validation = check(&[created(1)], &[], None);
    validation.observe(Happening::TimedOut, &REQUIRED);
    let step = validation.observe(line_fails(0), &REQUIRED);
    let reasons = vec![reason(Check::Inventory, "p0", "OUT_OF_STOCK")];
    assert_eq!(step.announce, Some(ReasonsAdded { reasons }));
    let when = [created(1), fraud_passes(), line_passes(0, FromStock), Happening::TimedOut];
    check(&when, &[Passed { fulfilments: vec![FromStock] }], Some(Conclusion::Passed));
}

#[test]
fn an_order_of_which_nothing_is_missing_any_more_passes_or_fails_by_its_verdicts_when_time_runs_out() {
    // FRAUD was required until a restart.
    let required = [Check::Details, Check::Inventory];
    for (verdict, wanted) in [
        (line_passes(0, FromStock), Passed { fulfilments: vec![FromStock] }),
        (line_fails(0), Failed { reasons: vec![reason(Check::Inventory, "p0", "OUT_OF_STOCK")] }),
    ] {
        let mut validation = Validation::default();
        validation.observe(created(1), &[Check::Details, Check::Fraud, Check::Inventory]);
        let was_announced = validation.observe(verdict, &[Check::Fraud]).announce;
        assert_eq!(was_announced, None);
        let step = validation.observe(Happening::TimedOut, &required);
        assert_eq!((step.is_changed, step.announce), (true, Some(wanted)));
        assert!(!validation.timed_out);
    }
}

#[test]
fn nothing_is_announced_of_a_cancelled_order() {
    let when =
        [created(1), Happening::Cancelled, fraud_passes(), line_fails(0), Happening::TimedOut, Happening::Cancelled];
    check(&when, &[], Some(Conclusion::Cancelled));
}

#[test]
fn a_cancellation_after_the_end_changes_nothing() {
    let when = [created(1), fraud_passes(), line_passes(0, FromStock), Happening::Cancelled];
    check(&when, &[Passed { fulfilments: vec![FromStock] }], Some(Conclusion::Passed));
}

#[test]
fn verdicts_on_lines_that_the_order_does_not_have_judge_nothing() {
    let passed = [Passed { fulfilments: vec![FromStock] }];
    let early = [line_fails(1), created(1), fraud_passes(), line_passes(0, FromStock)];
    check(&early, &passed, Some(Conclusion::Passed));
    let late = [created(1), line_fails(7), fraud_passes(), line_passes(0, FromStock)];
    check(&late, &passed, Some(Conclusion::Passed));
}

#[test]
fn checks_that_are_not_required_are_recorded_and_decide_nothing() {
    let credit = fails(Check::Credit, "C");
    let when = [created(1), credit, fraud_passes(), line_passes(0, FromStock)];
    let validation = check(&when, &[Passed { fulfilments: vec![FromStock] }], Some(Conclusion::Passed));
    assert_eq!(validation.verdicts.len(), 4);
}

#[test]
fn without_inventory_everything_is_from_stock() {
    let mut validation = Validation::default();
    let step = validation.observe(created(2), &[Check::Details]);
    assert_eq!(step.announce, Some(Passed { fulfilments: vec![FromStock; 2] }));
}

#[test]
fn before_the_order_is_known_inventory_is_missing_as_a_whole() {
    let validation = check(&[fraud_passes()], &[], None);
    assert_eq!(missing(&validation), ["DETAILS", "INVENTORY"]);
}

proptest! {
    #[test]
    fn verdicts_conclude_the_same_whatever_their_order_and_number(
        fraud_fails in any::<bool>(),
        fails_of_lines in prop::collection::vec(any::<bool>(), 1..5),
        shuffle in prop::collection::vec(any::<Index>(), 6),
        again in subsequence((0..6).collect::<Vec<usize>>(), 0..6),
    ) {
        let mut all = vec![created(fails_of_lines.len())];
        all.push(if fraud_fails { fails(Check::Fraud, "F") } else { fraud_passes() });
        for (line, is_fail) in (0..).zip(&fails_of_lines) {
            all.push(if *is_fail { line_fails(line) } else { line_passes(line, FromStock) });
        }
        for (place, index) in shuffle.iter().enumerate() {
            let places = all.len();
            all.swap(place % places, index.index(places));
        }
        let repeated: Vec<_> = again.into_iter().filter_map(|place| all.get(place).cloned()).collect();
        all.extend(repeated);

        let mut validation = Validation::default();
        let announced: Vec<_> = all.into_iter().filter_map(|h| validation.observe(h, &REQUIRED).announce).collect();
        let failures = usize::from(fraud_fails) + fails_of_lines.iter().filter(|is_fail| **is_fail).count();
        if failures == 0 {
            prop_assert_eq!(announced, vec![Passed { fulfilments: vec![FromStock; fails_of_lines.len()] }]);
        } else {
            prop_assert_eq!(validation.conclusion, Some(Conclusion::Failed));
            let fails_first = matches!(announced[0], Failed { .. });
            prop_assert!(fails_first);
            let reasons = announced.iter().map(|announcement| match announcement {
                Failed { reasons } | ReasonsAdded { reasons } => reasons.len(),
                Passed { .. } => 0,
            });
            prop_assert_eq!(reasons.sum::<usize>(), failures, "each reason is told once");
            let fails = announced.iter().filter(|announcement| matches!(announcement, Failed { .. })).count();
            prop_assert_eq!(fails, 1);
        }
        prop_assert_eq!(missing(&validation), Vec::<String>::new());
    }
}
