//! The scan against the real decoder.

use prost::Message;
use proto::orders::v1::{CreateOrderRequest, Order};

use super::*;

const ORDER_ID: [u32; 2] = [1, 1];

fn create(order_id: &str) -> Vec<u8> {
    let order = Order { order_id: order_id.to_owned(), customer_id: "c-1".to_owned(), ..Default::default() };
    CreateOrderRequest { order: Some(order), request_id: "r".to_owned(), wait_for: 2 }.encode_to_vec()
}

#[test]
fn finds_a_nested_field() {
    assert_eq!(find(&create("o-1"), &ORDER_ID), Ok(Some(b"o-1".as_slice())));
    assert_eq!(find(&create(""), &ORDER_ID), Ok(None));
    assert_eq!(find(&[], &ORDER_ID), Ok(None));
}

#[test]
fn the_last_occurrence_wins_as_in_a_decoder() {
    let mut message = create("o-1");
    message.extend(create("o-2"));
    message.extend(create(""));
    let decoded = CreateOrderRequest::decode(message.as_slice()).unwrap();
    assert_eq!(decoded.order.unwrap().order_id, "o-2");
    assert_eq!(find(&message, &ORDER_ID), Ok(Some(b"o-2".as_slice())));
}

#[test]
fn a_field_that_is_set_to_nothing_is_found_empty() {
    let mut message = create("o-1");
    push_bytes(&mut message, 1, &[0x0a, 0]);
    assert_eq!(find(&message, &ORDER_ID), Ok(Some(b"".as_slice())));
}

#[test]
fn a_key_of_the_wrong_type_is_malformed() {
    let mut message = Vec::new();
    push_varint(&mut message, 1, 7);
    assert_eq!(find(&message, &ORDER_ID), Err(Malformed));
}

#[test]
fn what_was_pushed_is_what_a_decoder_reads() {
    let mut message = create("o-1");
    push_varint(&mut message, 15, 3);
    push_bytes(&mut message, 14, b"another");
    let decoded = CreateOrderRequest::decode(message.as_slice()).unwrap();
    assert_eq!((decoded.wait_for, decoded.request_id.as_str()), (3, "another"));
}

#[test]
fn no_bytes_make_it_panic_and_whatever_a_decoder_takes_it_reads_alike() {
    // Every prefix and every single-byte change of a real message, in the manner of a fuzzer but complete.
    let message = create("order-17");
    for cut in 0..message.len() {
        let _ = find(&message[..cut], &ORDER_ID);
        for byte in 0..=255_u8 {
            let mut changed = message.clone();
            changed[cut] = byte;
            let found = find(&changed, &ORDER_ID);
            if let Ok(decoded) = CreateOrderRequest::decode(changed.as_slice()) {
                let order_id = decoded.order.unwrap_or_default().order_id;
                // A decoder skips groups, which no proto3 client sends; the scan refuses them.
                if let Ok(found) = found {
                    assert_eq!(found.unwrap_or_default(), order_id.as_bytes(), "byte {cut} is {byte:#x}");
                }
            }
        }
    }
}

#[test]
fn overlong_lengths_and_varints_are_malformed() {
    for message in [
        [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01].as_slice(),
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x0a, 5, b'a'],
        &[0x00, 0x00],
        &[0x0b],
        &[0x80],
        &[0x09, 1, 2, 3],
    ] {
        assert_eq!(find(message, &ORDER_ID), Err(Malformed), "{message:?}");
    }
}

#[test]
fn a_message_is_left_without_a_field_wherever_it_stands() {
    let mut message = Vec::new();
    push_bytes(&mut message, 11, b"all");
    push_varint(&mut message, 2, 300);
    let mut left = Vec::new();
    push_varint(&mut left, 2, 300);
    push_bytes(&mut message, 11, b"again");
    assert_eq!(without(&message, 11), Ok(left.clone()));
    assert_eq!(without(&left, 11), Ok(left));
    assert_eq!(without(&message, 2).unwrap().len(), message.len() - 3);
    assert_eq!(without(b"\xff", 11), Err(Malformed));
}
