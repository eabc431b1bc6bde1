//! The definition without a log: what is stored, told and answered.

use proto::common::v1::Money;
use testkit::Driver;

use super::*;

fn paid(driver: &mut Driver, customer_id: &str, order_id: &str, minor_units: i64) {
    let amount = Money { currency_code: "EUR".to_owned(), minor_units };
    let (customer_id, order_id) = (customer_id.to_owned(), order_id.to_owned());
    let key = customer_id.clone();
    let paid = OrderPaid { order_id, customer_id, amount: Some(amount), ..OrderPaid::default() };
    driver.record("order-payments", key.as_bytes(), paid.encode_to_vec());
}

fn spend(driver: &mut Driver, customer_id: &str, points: u64, request_id: &str) -> Result<u64, Problem> {
    let request = RedeemPointsRequest { customer_id: customer_id.to_owned(), points, ..Default::default() };
    let answer =
        driver.command(REDEEM, customer_id.as_bytes(), Some(request_id), request.encode_to_vec(), String::new());
    reply::decode::<RedeemPointsResponse>(answer.unwrap()).map(|response| response.points)
}

/// What was told since the last call: change, points and order.
fn told(driver: &mut Driver) -> Vec<(i64, u64, String)> {
    let changed = |record: testkit::Emitted| {
        assert_eq!(record.topic.as_str(), POINTS);
        let changed = PointsChanged::decode(record.value).unwrap();
        assert_eq!(changed.customer_id.as_bytes(), record.key);
        (changed.change, changed.points, changed.order_id)
    };
    driver.emitted().into_iter().map(changed).collect()
}

#[test]
fn points_are_earned_by_paying_and_spent_once_for_each_request() {
    let mut driver = Driver::new(crate::definition());
    paid(&mut driver, "c-1", "o-1", 3_998);
    paid(&mut driver, "c-1", "o-2", 150);
    assert_eq!(told(&mut driver), [(39, 39, "o-1".to_owned()), (1, 40, "o-2".to_owned())]);
    assert_eq!(spend(&mut driver, "c-1", 30, "r-1").unwrap(), 10);
    assert_eq!(spend(&mut driver, "c-1", 30, "r-1").unwrap(), 10, "a repeat is answered, and takes nothing");
    assert_eq!(told(&mut driver), [(-30, 10, String::new())]);
    let refused = spend(&mut driver, "c-1", 11, "r-2").unwrap_err();
    assert_eq!((refused.reason.as_ref(), refused.metadata["points"].as_str()), ("NOT_ENOUGH_POINTS", "10"));
    assert_eq!(spend(&mut driver, "c-2", 1, "r-3").unwrap_err().code, Code::FailedPrecondition);
    assert_eq!(told(&mut driver), []);
}

#[test]
fn a_payment_that_makes_no_sense_is_a_dead_letter() {
    let mut driver = Driver::new(crate::definition());
    driver.record("order-payments", b"c-1", &b"\xff"[..]);
    driver.record(
        "order-payments",
        b"c-1",
        OrderPaid { customer_id: "c-2".into(), ..Default::default() }.encode_to_vec(),
    );
    driver.record(
        "order-payments",
        b"c-1",
        OrderPaid { customer_id: "c-1".into(), ..Default::default() }.encode_to_vec(),
    );
    let topics: Vec<String> = driver.emitted().into_iter().map(|record| record.topic.to_string()).collect();
    assert_eq!(topics, ["loyalty-dead-letters"; 3]);
}
