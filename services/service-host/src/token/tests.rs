//! Tokens come back as they were made, and in no other way.

use proto::orders::v1::ListOrdersRequest;

use super::*;

fn consistency() -> ConsistencyToken {
    ConsistencyToken { role: "orders".into(), partition: 3, incarnation: u128::MAX - 7, offset: 1 << 40 }
}

fn page() -> PageToken {
    PageToken { partition: 199, cursor: b"order\xff\x00".to_vec(), fingerprint: 42 }
}

#[test]
fn tokens_come_back() {
    assert_eq!(ConsistencyToken::decode("f", &consistency().encode()).unwrap(), consistency());
    assert_eq!(PageToken::decode(&page().encode(), 42).unwrap(), Some(page()));
    assert_eq!(PageToken::decode("", 42).unwrap(), None);
}

#[test]
fn every_damaged_character_is_noticed() {
    for token in [consistency().encode(), page().encode()] {
        for at in 0..token.len() {
            let mut damaged = token.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(ConsistencyToken::decode("f", &damaged).is_err(), "{at}");
            assert!(PageToken::decode(&damaged, 42).is_err(), "{at}");
            assert!(PageToken::decode(&token[..at], 42).is_ok_and(|token| token.is_none()) == (at == 0), "{at}");
        }
    }
}

#[test]
fn foreign_text_is_a_fault_of_the_field() {
    let long = "A".repeat(100_000);
    for text in ["x", "!!!", "äöü", "AAAAAAAAAAAAAAAAAAAAAAAA", "e30=", long.as_str()] {
        let problem = ConsistencyToken::decode("consistency.at_least", text).unwrap_err();
        assert_eq!(
            (problem.reason.as_ref(), problem.violations[0].field.as_str()),
            ("INVALID_FIELD", "consistency.at_least")
        );
        assert_eq!(PageToken::decode(text, 0).unwrap_err().violations[0].field, "page_token");
    }
}

#[test]
fn one_kind_is_not_taken_for_the_other() {
    assert!(PageToken::decode(&consistency().encode(), 42).is_err());
    assert!(ConsistencyToken::decode("f", &page().encode()).is_err());
}

#[test]
fn page_token_is_bound_to_the_filter_but_not_to_the_paging() {
    let request = ListOrdersRequest { state: 2, customer_id: "c-1".into(), page_size: 5, ..Default::default() };
    let paged = ListOrdersRequest { page_size: 9, page_token: "t".into(), require_complete: true, ..request.clone() };
    let other = ListOrdersRequest { customer_id: "c-2".into(), ..request.clone() };
    assert_eq!(fingerprint(&request), fingerprint(&paged));
    assert_ne!(fingerprint(&request), fingerprint(&other));
    let token = PageToken { fingerprint: fingerprint(&request), ..page() }.encode();
    let problem = PageToken::decode(&token, fingerprint(&other)).unwrap_err();
    assert_eq!(problem.violations[0].description, "belongs to a request with other fields");
}

#[test]
fn fingerprint_of_garbage_is_refused() {
    assert!(fingerprint_bytes(b"\xff\xff\xff\xff").is_err());
    assert!(fingerprint_bytes(b"\x0a\x7fabc").is_err());
}
