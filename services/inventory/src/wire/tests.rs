//! What is written can be read again, and what must not be read is not.

use super::*;

#[test]
fn rows_come_back() {
    for fulfilment in [Fulfilment::FromStock, Fulfilment::MadeToOrder] {
        let stock_of = Stock { fulfilment, stock: i64::MAX, reserved: 7, version: 3 };
        assert_eq!(stock(&stock_row(&stock_of).into()).unwrap(), stock_of);
    }
    assert_eq!(name(&name_row("Jümper").into()).unwrap(), "Jümper");
    let lines = [
        Line::Held(5),
        Line::Unreserved,
        Line::Refused(Fault::OutOfStock),
        Line::Refused(Fault::ProductNotFound),
        Line::Closed,
    ];
    for line_of in lines {
        let row = line_row(&line_of, 99).into();
        assert_eq!(line(&row).unwrap(), line_of);
        assert_eq!(closed_ms(&row).unwrap(), (line_of == Line::Closed).then_some(99));
    }
}

#[test]
fn the_rows_that_every_line_writes_are_small() {
    let stock_of = Stock { fulfilment: Fulfilment::FromStock, stock: 1_000_000, reserved: 50_000, version: 900 };
    assert!(stock_row(&stock_of).len() <= 16);
    assert!(line_row(&Line::Held(3), 1_790_000_000_000).len() <= 4);
    assert!(line_row(&Line::Closed, 1_790_000_000_000).len() <= 10);
}

#[test]
fn rows_that_say_nothing_known_are_refused() {
    assert!(matches!(stock(&Bytes::new()), Err(InputError::UnknownValue { field: "StockRow.fulfilment", value: 0 })));
    assert!(matches!(line(&Bytes::new()), Err(InputError::UnknownValue { field: "LineRow.state", value: 0 })));
    assert!(matches!(stock(&Bytes::from_static(b"\xff")), Err(InputError::Undecodable { message: "StockRow", .. })));
}

#[test]
fn an_etag_that_is_no_version_is_no_version_of_any_product() {
    assert_eq!(version(""), None);
    assert_eq!(version("12"), Some(12));
    for nonsense in ["x", "-1", "1.5", "0", "01", "+1", " 1", "1 ", "18446744073709551616"] {
        assert_eq!(version(nonsense), Some(0), "{nonsense:?}");
    }
}

#[test]
fn a_failed_line_says_why() {
    let request =
        Request { product_id: "jumper".into(), order_id: "o-1".into(), line: 2, action: Action::Reserve, quantity: 3 };
    let failed = |fault| {
        let verdict = verdict(&request, Verdict::Fail(fault), 1_500);
        checks::Verdict::decode(verdict.as_slice()).unwrap()
    };
    let verdict = failed(Fault::OutOfStock);
    assert_eq!(verdict.outcome(), checks::Outcome::Fail);
    assert_eq!((verdict.line, verdict.code.as_str()), (2, "OUT_OF_STOCK"));
    assert_eq!(verdict.message, "fewer than 3 pieces of jumper are available");
    assert_eq!(verdict.time, Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }));
    assert_eq!(failed(Fault::ProductNotFound).code, "PRODUCT_NOT_FOUND");
    assert_eq!(failed(Fault::LineClosed).code, "LINE_CLOSED");
}
