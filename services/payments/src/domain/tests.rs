//! Given / when / then, and the law of money under every order of arrival.

use proptest::prelude::*;

use super::*;

const MAX: usize = 5;

fn eur(minor_units: i64) -> Money {
    Money { currency: "EUR".into(), minor_units }
}

fn usd(minor_units: i64) -> Money {
    Money { currency: "USD".into(), minor_units }
}

fn bill(total: Option<Money>) -> Bill {
    Bill { customer_id: "c-1".into(), total }
}

/// What happens to an order, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Created(Option<Money>),
    Ended,
    Pay(&'static str, Money),
}
use Step::{Created, Ended, Pay};

/// Everything that came of it: the account, the events in short, the refusals.
fn run(steps: &[Step]) -> (Account, Vec<String>, Vec<Refusal>) {
    let (mut account, mut told, mut refused) = (Account::default(), Vec::new(), Vec::new());
    for (now_ms, step) in steps.iter().enumerate() {
        let change = match step {
            Created(total) => created(account.clone(), bill(total.clone())),
            Ended => ended(account.clone()),
            Pay(id, amount) => match record(account.clone(), id, amount.clone(), MAX, now_ms.try_into().unwrap()) {
                Ok(Recorded::New(change)) => Some(change),
                Ok(Recorded::Known(known)) => {
                    assert_eq!(known, account, "a repeat changes nothing");
                    None
                }
                Err(refusal) => {
                    refused.push(refusal);
                    None
                }
            },
        };
        if let Some(change) = change {
            account = change.account;
            told.extend(change.events.iter().map(short));
        }
    }
    (account, told, refused)
}

fn short(event: &Event) -> String {
    match event {
        Event::Recorded(payment, paid) => {
            let paid = paid.as_ref().map_or_else(|| "pending".to_owned(), |paid| paid.minor_units.to_string());
            format!("recorded {} {paid}", payment.payment_id)
        }
        Event::Booked(payment, paid) => format!("booked {} {}", payment.payment_id, paid.minor_units),
        Event::Refused(payment) => format!("refused {}", payment.payment_id),
        Event::Settled { customer_id, due, paid } => {
            format!("settled {customer_id} {} {}", due.minor_units, paid.minor_units)
        }
    }
}

fn check(steps: &[Step], told_wanted: &[&str], settlement: Settlement, balance: Option<i64>) {
    let (account, told, refused) = run(steps);
    assert_eq!(told, told_wanted, "{steps:?}");
    assert_eq!(account.settlement(), settlement, "{steps:?}");
    assert_eq!(account.balance().map(|balance| balance.minor_units), balance, "{steps:?}");
    assert_eq!(refused, [], "{steps:?}");
}

fn check_refused(steps: &[Step], wanted: &Refusal) {
    let (before, ..) = run(&steps[..steps.len() - 1]);
    let (after, _, refused) = run(steps);
    assert_eq!(refused.last(), Some(wanted), "{steps:?}");
    assert_eq!(before, after, "a refused payment leaves no trace");
}

#[test]
fn an_order_is_unpaid_underpaid_paid_and_overpaid_in_turn() {
    check(&[Created(Some(eur(10)))], &[], Settlement::Unpaid, Some(10));
    check(&[Created(Some(eur(10))), Pay("p-1", eur(4))], &["recorded p-1 4"], Settlement::Underpaid, Some(6));
    check(
        &[Created(Some(eur(10))), Pay("p-1", eur(4)), Pay("p-2", eur(6))],
        &["recorded p-1 4", "recorded p-2 10", "settled c-1 10 10"],
        Settlement::Paid,
        Some(0),
    );
    check(
        &[Created(Some(eur(10))), Pay("p-1", eur(4)), Pay("p-2", eur(7)), Pay("p-3", eur(1))],
        &["recorded p-1 4", "recorded p-2 11", "settled c-1 10 11", "recorded p-3 12"],
        Settlement::Overpaid,
        Some(-2),
    );
}

#[test]
fn payments_wait_for_their_order() {
    check(&[Pay("p-1", eur(4))], &["recorded p-1 pending"], Settlement::Unknown, None);
    check(
        &[Pay("p-1", eur(4)), Pay("p-2", eur(6)), Created(Some(eur(10)))],
        &["recorded p-1 pending", "recorded p-2 pending", "booked p-1 4", "booked p-2 10", "settled c-1 10 10"],
        Settlement::Paid,
        Some(0),
    );
}

#[test]
fn a_waiting_payment_in_another_currency_is_refused_when_the_order_comes() {
    let steps = [Pay("p-1", usd(10)), Pay("p-2", eur(4)), Created(Some(eur(10)))];
    let told = ["recorded p-1 pending", "recorded p-2 pending", "refused p-1", "booked p-2 4"];
    check(&steps, &told, Settlement::Underpaid, Some(6));
    let (account, ..) = run(&steps);
    assert_eq!(account.payment("p-1").unwrap().state, PaymentState::Refused);
    assert_eq!(account.paid(), Some(eur(4)));
}

#[test]
fn what_waits_in_several_currencies_has_no_sum() {
    assert_eq!(run(&[Pay("p-1", eur(4)), Pay("p-2", eur(5))]).0.paid(), Some(eur(9)));
    assert_eq!(run(&[Pay("p-1", eur(4)), Pay("p-2", usd(5))]).0.paid(), None);
    assert_eq!(Account::default().paid(), None);
}

#[test]
fn the_same_payment_again_is_that_payment() {
    let told = ["recorded p-1 10", "settled c-1 10 10"];
    let steps = [Created(Some(eur(10))), Pay("p-1", eur(10)), Pay("p-1", eur(10)), Pay("p-1", eur(10))];
    check(&steps, &told, Settlement::Paid, Some(0));
    let steps = [Pay("p-1", eur(10)), Pay("p-1", eur(10)), Created(Some(eur(10))), Pay("p-1", eur(10))];
    check(&steps, &["recorded p-1 pending", "booked p-1 10", "settled c-1 10 10"], Settlement::Paid, Some(0));
}

#[test]
fn refusals_name_their_reason_and_change_nothing() {
    let wanted = Refusal::CurrencyMismatch { wanted: "EUR".into() };
    check_refused(&[Created(Some(eur(10))), Pay("p-1", usd(10))], &wanted);
    check_refused(&[Created(None), Pay("p-1", eur(10))], &Refusal::NoTotal);
    check_refused(&[Created(Some(eur(10))), Pay("p-1", eur(10)), Pay("p-1", eur(9))], &Refusal::Exists);
    check_refused(&[Pay("p-1", eur(10)), Pay("p-1", usd(10))], &Refusal::Exists);
    let ids = ["p-1", "p-2", "p-3", "p-4", "p-5", "p-6"];
    let many: Vec<_> = ids.iter().map(|id| Pay(id, eur(1))).collect();
    check_refused(&many, &Refusal::TooMany { limit: MAX });
    check_refused(&[Created(Some(eur(10))), Pay("p-1", eur(i64::MAX)), Pay("p-2", eur(1))], &Refusal::TooLarge);
    check_refused(&[Pay("p-1", eur(i64::MAX)), Pay("p-2", eur(1))], &Refusal::TooLarge);
}

#[test]
fn a_rejected_or_cancelled_order_costs_nothing_and_is_never_told_to_be_paid() {
    check(&[Created(Some(eur(10))), Ended], &[], Settlement::Unpaid, Some(0));
    check(
        &[Created(Some(eur(10))), Ended, Ended, Pay("p-1", eur(10))],
        &["recorded p-1 10"],
        Settlement::Overpaid,
        Some(-10),
    );
    let paid_before = [Created(Some(eur(10))), Pay("p-1", eur(10)), Ended, Pay("p-2", eur(1))];
    let told = ["recorded p-1 10", "settled c-1 10 10", "recorded p-2 11"];
    check(&paid_before, &told, Settlement::Overpaid, Some(-11));
    check(
        &[Pay("p-1", eur(10)), Ended, Created(Some(eur(10)))],
        &["recorded p-1 pending", "booked p-1 10"],
        Settlement::Overpaid,
        Some(-10),
    );
}

#[test]
fn an_order_that_costs_nothing_is_paid_when_it_is_created() {
    check(&[Created(Some(eur(0)))], &["settled c-1 0 0"], Settlement::Paid, Some(0));
    check(
        &[Created(Some(eur(0))), Pay("p-1", eur(1))],
        &["settled c-1 0 0", "recorded p-1 1"],
        Settlement::Overpaid,
        Some(-1),
    );
}

#[test]
fn a_price_below_zero_is_never_told_to_be_paid() {
    check(&[Created(Some(eur(-5))), Pay("p-1", eur(1))], &["recorded p-1 1"], Settlement::Overpaid, Some(-6));
    check(
        &[Created(Some(eur(i64::MIN))), Pay("p-1", eur(9))],
        &["recorded p-1 9"],
        Settlement::Overpaid,
        Some(i64::MIN),
    );
    check(&[Created(None)], &[], Settlement::Unknown, None);
}

#[test]
fn an_order_is_created_once() {
    check(&[Created(Some(eur(10))), Created(Some(usd(99)))], &[], Settlement::Unpaid, Some(10));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = prop::sample::select(vec!["p-1", "p-2", "p-3", "p-4"]);
    // An id goes with one amount, as with one payment that is sent again; now and then with another.
    let amount = |id: &str, currency: &str, odd: bool| Money {
        currency: currency.to_owned(),
        minor_units: i64::from(id.as_bytes()[2] - b'0') * 3 + i64::from(odd),
    };
    let pay = (ids, prop::bool::weighted(0.2), prop::bool::weighted(0.1))
        .prop_map(move |(id, is_usd, odd)| Pay(id, amount(id, if is_usd { "USD" } else { "EUR" }, odd)));
    let created = (0..25_i64).prop_map(|total| Created(Some(eur(total))));
    prop::collection::vec(prop_oneof![8 => pay, 2 => created, 1 => Just(Ended)], 0..20)
}

proptest! {
    /// Every interleaving of orders, ends, payments and repeats keeps the law of money.
    #[test]
    fn paid_is_the_sum_of_distinct_payments_and_an_order_is_told_to_be_paid_at_most_once(steps in steps()) {
        let (mut account, mut settled) = (Account::default(), 0);
        let mut taken: Vec<(&str, Money)> = Vec::new();
        for step in &steps {
            let before = account.clone();
            let change = match step {
                Created(total) => created(account.clone(), bill(total.clone())),
                Ended => ended(account.clone()),
                Pay(id, amount) => match record(account.clone(), id, amount.clone(), 100, 0) {
                    Ok(Recorded::New(change)) => {
                        taken.push((id, amount.clone()));
                        Some(change)
                    }
                    Ok(Recorded::Known(_)) => { prop_assert!(taken.contains(&(*id, amount.clone()))); None }
                    Err(_) => None,
                },
            };
            let Some(change) = change else { continue };
            account = change.account;
            let told = change.events.iter().filter(|event| matches!(event, Event::Settled { .. })).count();
            settled += told;
            if told > 0 {
                prop_assert!(!before.ended && !before.settled);
                prop_assert!(account.paid().unwrap().minor_units >= account.due().unwrap().minor_units);
            }
            // Nothing that was taken is ever lost or changed, but for what became of it.
            let kept: Vec<_> = account.payments.iter().map(|p| (p.payment_id.as_str(), p.amount.clone())).collect();
            prop_assert_eq!(&kept, &taken);
        }
        prop_assert!(settled <= 1);
        prop_assert_eq!(account.settled, settled == 1);
        if let Some(Bill { total: Some(total), .. }) = &account.bill {
            let sum: i64 = taken.iter().filter(|(_, a)| a.currency == total.currency).map(|(_, a)| a.minor_units).sum();
            prop_assert_eq!(account.paid().unwrap().minor_units, sum);
            prop_assert!(account.ended || account.settled == (sum >= total.minor_units));
        }
    }

    /// The same payments and the same order give the same account, whichever comes first.
    #[test]
    fn the_order_of_arrival_does_not_matter(total in 1..30_i64, at in 0..5_usize) {
        let ids = ["p-1", "p-2", "p-3", "p-4"];
        let mut steps: Vec<_> = ids.iter().map(|id| Pay(id, eur(i64::from(id.as_bytes()[2] - b'0') * 3))).collect();
        steps.insert(at, Created(Some(eur(total))));
        let (account, told, refused) = run(&steps);
        prop_assert_eq!(refused, []);
        prop_assert_eq!(account.paid(), Some(eur(30)));
        prop_assert_eq!(account.balance(), Some(eur(total - 30)));
        prop_assert_eq!(told.iter().filter(|told| told.starts_with("settled")).count(), 1);
    }
}
