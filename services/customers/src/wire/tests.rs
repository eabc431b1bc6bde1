//! What is written can be read again, and what must not be read is not.

use super::orders::{Known, known, known_row};
use super::*;
use crate::domain::credit::{End, Fault, Reservation};
use crate::domain::progress::{Progress, Reason, State};

fn eur(minor_units: i64) -> Money {
    Money { currency: "EUR".to_owned(), minor_units }
}

fn usd(minor_units: i64) -> Money {
    Money { currency: "USD".to_owned(), minor_units }
}

#[test]
fn rows_of_customers_come_back() {
    for level in [Level::Bronze, Level::Silver, Level::Gold, Level::Platinum] {
        let profile_of =
            Profile { first_name: "Ädä".to_owned(), address: "a\nb".to_owned(), level, ..Profile::default() };
        assert_eq!(profile(&profile_row(&profile_of).into()).unwrap(), profile_of);
    }
    for limit in [None, Some(eur(0)), Some(eur(i64::MAX))] {
        let credit_of = Credit { limit, reserved: vec![eur(1), usd(2)], version: u64::MAX };
        assert_eq!(credit(&credit_row(&credit_of).into()).unwrap(), credit_of);
    }
    assert!(matches!(credit(&Bytes::from_static(b"\xff")), Err(InputError::Undecodable { message: "CreditRow", .. })));
}

#[test]
fn rows_of_orders_come_back() {
    let reservations = [
        None,
        Some(Reservation::Held(eur(5))),
        Some(Reservation::Unreserved),
        Some(Reservation::Refused(Fault::CustomerNotFound)),
        Some(Reservation::Refused(Fault::LimitExceeded)),
        Some(Reservation::Refused(Fault::CurrencyDiffers)),
        Some(Reservation::Closed(End::Paid)),
        Some(Reservation::Closed(End::Unpaid)),
    ];
    let reason = Reason { check: 4, product_id: String::new(), code: "A".to_owned(), message: "because".to_owned() };
    let rejected = Progress { version: 2, state: State::Rejected, reasons: vec![reason], updated_ms: 7 };
    for reservation in reservations {
        for progress in [None, Some(rejected.clone())] {
            let known_of = Known { progress, reservation: reservation.clone() };
            assert_eq!(known(&known_row(&known_of).into()).unwrap(), known_of);
        }
    }
    let later = pb::ProgressRow { reservation: 99, ..Default::default() };
    assert!(matches!(known(&later.encode_to_vec().into()), Err(InputError::UnknownValue { value: 99, .. })));
    let later = pb::ProgressRow { version: 1, state: 99, ..Default::default() };
    assert!(matches!(known(&later.encode_to_vec().into()), Err(InputError::UnknownValue { value: 99, .. })));
}

#[test]
fn the_rows_that_every_order_writes_are_small() {
    let credit_of = Credit { limit: Some(eur(500_000)), reserved: vec![eur(123_456)], version: 9 };
    assert!(credit_row(&credit_of).len() <= 32);
    let progress = Progress { version: 4, state: State::Shipped, reasons: Vec::new(), updated_ms: 1_790_000_000_000 };
    let known_of = Known { progress: Some(progress), reservation: Some(Reservation::Held(eur(123_456))) };
    assert!(known_row(&known_of).len() <= 32);
}

#[test]
fn clients_see_what_is_reserved_in_the_currency_of_the_limit() {
    let shown = |limit: Option<Money>, reserved: Vec<Money>| {
        let customer = Customer { profile: Profile::default(), credit: Credit { limit, reserved, version: 1 } };
        let shown = customer_to_proto("c-1", customer);
        let others: Vec<_> = shown.credit_reserved_others.into_iter().map(money).collect();
        (shown.credit_reserved.map(money), shown.credit_available.map(money), others)
    };
    assert_eq!(shown(Some(usd(10)), vec![eur(3), usd(4)]), (Some(usd(4)), Some(usd(6)), vec![eur(3)]));
    assert_eq!(shown(Some(usd(10)), vec![eur(3)]), (Some(usd(0)), Some(usd(10)), vec![eur(3)]));
    assert_eq!(shown(Some(usd(0)), vec![]), (Some(usd(0)), Some(usd(0)), vec![]));
    assert_eq!(shown(None, vec![eur(3), usd(4)]), (Some(eur(3)), None, vec![usd(4)]));
    assert_eq!(shown(None, vec![]), (None, None, vec![]));
}

#[test]
fn an_etag_that_is_no_version_is_no_version_of_any_customer() {
    assert_eq!(version(""), None);
    assert_eq!(version("12"), Some(12));
    for nonsense in ["x", "-1", "01", "+1", "18446744073709551616"] {
        assert_eq!(version(nonsense), Some(0));
    }
}
