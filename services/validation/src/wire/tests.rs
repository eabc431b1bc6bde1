//! What is written is read back as it was.

use super::*;
use crate::domain::aggregate::{Awaited, Validation};
use crate::wire::writes;

fn validation(conclusion: Option<Conclusion>, order: Option<Awaited>) -> Validation {
    let pass = |check, fulfilment| Verdict { outcome: Outcome::Pass { fulfilment }, ..Verdict::pass(check) };
    let verdicts = vec![
        pass(Check::Details, None),
        pass(Check::Inventory, Some(Fulfilment::FromStock)),
        pass(Check::Inventory, Some(Fulfilment::MadeToOrder)),
        Verdict { line: 7, product_id: "p".to_owned(), ..Verdict::fail(Check::Credit, "A", "b".to_owned()) },
        Verdict::fail(Check::Fraud, "", String::new()),
    ];
    Validation {
        order,
        verdicts,
        conclusion,
        timed_out: true,
        heard: vec![Heard { topic: "order-verdicts".into(), offset: 7 }],
    }
}

#[test]
fn a_validation_survives_its_row() {
    let orders = [
        None,
        Some(Awaited { product_ids: Vec::new(), created_ms: 0 }),
        Some(Awaited { product_ids: vec!["a".to_owned(), String::new()], created_ms: -1 }),
    ];
    for conclusion in [None, Some(Conclusion::Passed), Some(Conclusion::Failed), Some(Conclusion::Cancelled)] {
        for order in orders.clone() {
            let validation = validation(conclusion, order);
            assert_eq!(super::validation(writes::validation_row(validation.clone())).unwrap(), validation);
        }
    }
    assert!(super::validation(Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn the_history_of_a_customer_survives_its_row() {
    let total = |currency: &str, minor_units| Money { currency: currency.to_owned(), minor_units };
    let sessions = vec![
        Session { start_ms: -5, end_ms: 0, totals: vec![total("EUR", i64::MAX), total("JPY", 0)] },
        Session { start_ms: 1, end_ms: 1, totals: Vec::new() },
    ];
    let windows = vec![Window { start_ms: -30_000, count: 1 }, Window { start_ms: 0, count: u64::MAX }];
    let history = History { sessions, windows };
    assert_eq!(super::history(writes::history_row(history.clone())).unwrap(), history);
}

#[test]
fn clients_see_verdicts_in_the_order_of_checks_and_what_is_missing() {
    let order = Awaited { product_ids: vec!["jumper".to_owned(), "sock".to_owned()], created_ms: 0 };
    let mut validation = validation(None, Some(order));
    validation.verdicts.remove(4);
    let required = [Check::Details, Check::Fraud, Check::Inventory];
    let message = validation_message("o-1".to_owned(), &validation, &required);
    let checks: Vec<_> = message.verdicts.iter().map(api::CheckVerdict::check).collect();
    assert_eq!(checks, [api::Check::Details, api::Check::Inventory, api::Check::Inventory, api::Check::Credit]);
    let missing: Vec<_> = message.missing.iter().map(|m| (m.check(), m.line, m.product_id.as_str())).collect();
    assert_eq!(missing, [(api::Check::Fraud, 0, ""), (api::Check::Inventory, 1, "sock")]);
    assert_eq!(message.outcome(), api::Outcome::Unspecified);
    validation.conclusion = Some(Conclusion::Failed);
    assert_eq!(validation_message("o-1".to_owned(), &validation, &required).outcome(), api::Outcome::Fail);
}
