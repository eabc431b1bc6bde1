//! The methods over real tasks on a log in memory.

use std::time::{Duration, Instant};

use prost::Message;
use proto::common::v1::Money;
use proto::orders::v1 as orders;
use service_host::Problem;
use testkit::Running;

use super::*;
use crate::{Config, definition, topics};

async fn start() -> (Running, Validations) {
    let config = Config::default();
    let running = Running::start(definition(&config), 2).await;
    let service = Validations::new(Owner::new(running.tasks(), "here"), &config);
    (running, service)
}

async fn get(service: &Validations, order_id: &str) -> Result<api::Validation, Problem> {
    let request = api::GetValidationRequest { order_id: order_id.into(), consistency: None };
    let answer = service.get_validation(Request::new(request)).await.map_err(|status| Problem::from(&status))?;
    Ok(answer.into_inner().validation.unwrap())
}

/// Asks until the answer is this far: records are processed some time after they were appended.
async fn get_until(service: &Validations, order_id: &str, is_there: fn(&api::Validation) -> bool) -> api::Validation {
    let asked = Instant::now();
    loop {
        if let Ok(validation) = get(service, order_id).await
            && is_there(&validation)
        {
            return validation;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "{order_id} is not validated in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_order_shows_what_was_judged_and_what_is_missing() {
    let (running, service) = start().await;
    let lines = vec![orders::OrderLine {
        product_id: "jumper".into(),
        quantity: 1,
        unit_price: Some(Money { currency_code: "EUR".into(), minor_units: 200_000 }),
    }];
    let total = lines[0].unit_price.clone();
    let order = Some(orders::Order { order_id: "o-1".into(), customer_id: "c-1".into(), lines, ..Default::default() });
    let event = Some(orders::order_event::Event::Created(orders::OrderCreated { order }));
    let created = orders::OrderEvent { order_id: "o-1".into(), event, ..Default::default() };
    running.record(topics::ORDERS, b"o-1", created.encode_to_vec()).await;
    let placed = orders::OrderPlaced { order_id: "o-1".into(), customer_id: "c-1".into(), total, ..Default::default() };
    running.record(topics::ORDERS_BY_CUSTOMER, b"c-1", placed.encode_to_vec()).await;

    // FRAUD goes through a topic of our own to the order's task.
    let validation = get_until(&service, "o-1", |validation| validation.verdicts.len() == 2).await;
    let verdicts: Vec<_> = validation.verdicts.iter().map(|verdict| (verdict.check(), verdict.outcome())).collect();
    assert_eq!(verdicts, [(api::Check::Details, api::Outcome::Pass), (api::Check::Fraud, api::Outcome::Fail)]);
    assert_eq!(validation.verdicts[1].code, "FRAUD_LIMIT_REACHED");
    let missing: Vec<_> = validation.missing.iter().map(|m| (m.check(), m.line, m.product_id.as_str())).collect();
    assert_eq!(missing, [(api::Check::Inventory, 0, "jumper"), (api::Check::Credit, 0, "")]);
    assert_eq!(validation.outcome(), api::Outcome::Fail);
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_order_is_not_found_and_a_bad_id_is_refused() {
    let (running, service) = start().await;
    assert_eq!(get(&service, "o-1").await.unwrap_err().reason, "VALIDATION_NOT_FOUND");
    let bad = get(&service, "").await.unwrap_err();
    assert_eq!((&bad.reason[..], &bad.violations[0].field[..]), ("INVALID_FIELD", "order_id"));
    running.stop().await;
}
