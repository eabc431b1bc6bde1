//! Where calls go, by what stands in the message and in the header.

use std::collections::BTreeSet;

use prost::Message;
use proto::catalog::v1::GetCommandOutcomeRequest;
use proto::orders::v1::{CreateOrderRequest, GetOrderRequest, Order};

use super::*;
use crate::owners::{Current, NoOwner};
use crate::table::{Routing, Table};

#[derive(Debug)]
struct Partitions(u32);

impl Owners for Partitions {
    fn partitions(&self) -> u32 {
        self.0
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        key.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))) % self.0
    }

    fn owner(&self, _: &str, _: u32) -> Result<Current, NoOwner> {
        Err(NoOwner)
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::Sender::new(0).subscribe()
    }
}

fn routed(method: &str, header: Option<&str>, message: &[u8], partitions: u32) -> Result<Route, Problem> {
    let table = Table::new(proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = if method == "GetCommandOutcome" { "catalog.v1.CatalogService" } else { "orders.v1.OrderService" };
    let method = table.get(&format!("/ordermesh.{service}/{method}")).unwrap();
    let Routing::Key { path, alternative, generate } = &method.routing else { panic!("{method:?} has no key") };
    let path = key_path(path, alternative.as_ref(), message);
    let header = header.map(|key| (http::HeaderName::from_static(headers::KEY), HeaderValue::from_str(key).unwrap()));
    route(method, (path, *generate), &HeaderMap::from_iter(header), message, &Partitions(partitions))
}

fn get(order_id: &str) -> Vec<u8> {
    GetOrderRequest { order_id: order_id.to_owned(), ..Default::default() }.encode_to_vec()
}

fn create(order_id: &str, request_id: &str) -> Vec<u8> {
    let order = Order { order_id: order_id.to_owned(), ..Default::default() };
    CreateOrderRequest { order: Some(order), request_id: request_id.to_owned(), wait_for: 0 }.encode_to_vec()
}

fn of(key: &str) -> u32 {
    Partitions(7).partition_of(key.as_bytes())
}

#[test]
fn a_method_with_two_kinds_of_key_goes_where_the_one_that_is_there_says() {
    let outcome = |code: &str, book_id: &str| {
        let (code, book_id) = (code.to_owned(), book_id.to_owned());
        GetCommandOutcomeRequest { request_id: "r".to_owned(), code, book_id, consistency: None }.encode_to_vec()
    };
    let to = |key: &str| Ok(Route { partition: of(key), generated: None });
    assert_eq!(routed("GetCommandOutcome", None, &outcome("ada", ""), 7), to("ada"));
    assert_eq!(routed("GetCommandOutcome", None, &outcome("", "b-1"), 7), to("b-1"));
    // Its owner refuses both and neither.
    assert_eq!(routed("GetCommandOutcome", None, &outcome("ada", "b-1"), 7), to("ada"));
    assert_eq!(routed("GetCommandOutcome", None, &outcome("", ""), 7), to(""));
    let field = |problem: Problem| problem.violations[0].field.clone();
    let header = routed("GetCommandOutcome", Some("other"), &outcome("", "b-1"), 7);
    assert_eq!(field(header.unwrap_err()), headers::KEY);
    assert!(routed("GetCommandOutcome", None, b"\xff", 7).is_err());
}

#[test]
fn key_is_taken_from_message_or_header() {
    let expected = Ok(Route { partition: of("o-17"), generated: None });
    assert_eq!(routed("GetOrder", None, &get("o-17"), 7), expected);
    assert_eq!(routed("GetOrder", Some("o-17"), &get(""), 7), expected);
    assert_eq!(routed("GetOrder", Some("o-17"), &get("o-17"), 7), expected);
    assert_eq!(routed("GetOrder", Some(""), &get("o-17"), 7), expected);
    assert_eq!(routed("CreateOrder", None, &create("o-17", "r"), 7), expected);
}

#[test]
fn differing_keys_are_refused() {
    let problem = routed("GetOrder", Some("o-18"), &get("o-17"), 7).unwrap_err();
    assert_eq!((problem.reason.as_ref(), problem.violations[0].field.as_str()), ("INVALID_FIELD", headers::KEY));
}

#[test]
fn a_missing_key_goes_to_an_owner_who_names_all_faults() {
    assert_eq!(routed("GetOrder", None, &[], 7), Ok(Route { partition: of(""), generated: None }));
}

#[test]
fn unreadable_keys_are_refused_with_their_path() {
    let not_text = [0x0a, 2, 0xff, 0xfe];
    for message in [not_text.as_slice(), &[0x0a, 9], &[0xff, 0xff], &[0x08, 1]] {
        let problem = routed("GetOrder", None, message, 7).unwrap_err();
        assert_eq!(problem.reason, "INVALID_FIELD");
        assert_eq!(problem.violations[0].field, "order_id", "{message:?}");
    }
}

#[test]
fn generated_keys_are_new_and_spread() {
    let routes = (0..200).map(|_| routed("CreateOrder", None, &create("", ""), 7).unwrap()).collect::<Vec<_>>();
    let partitions: BTreeSet<u32> = routes.iter().map(|route| route.partition).collect();
    assert_eq!(partitions.len(), 7);
    let keys: BTreeSet<&str> = routes.iter().map(|route| route.generated.as_ref().unwrap().to_str().unwrap()).collect();
    assert_eq!(keys.len(), 200);
    for route in &routes {
        let key = route.generated.as_ref().unwrap();
        assert_eq!(of(key.to_str().unwrap()), route.partition);
        assert_eq!(Uuid::parse_str(key.to_str().unwrap()).unwrap().get_version_num(), 7);
    }
}

#[test]
fn a_repeated_request_reaches_the_task_of_the_first() {
    for partitions in [1, 4, 7, 200] {
        for request_id in ["6f1c", "another", "ü"] {
            let wanted = Partitions(partitions).partition_of(request_id.as_bytes());
            let first = routed("CreateOrder", None, &create("", request_id), partitions).unwrap();
            let again = routed("CreateOrder", None, &create("", request_id), partitions).unwrap();
            assert_eq!((first.partition, again.partition), (wanted, wanted));
            assert_ne!(first.generated, again.generated);
        }
    }
}

#[test]
fn a_key_in_the_header_alone_becomes_the_key_of_what_is_made() {
    let route = routed("CreateOrder", Some("o-17"), &create("", "r"), 7).unwrap();
    assert_eq!(route, Route { partition: of("o-17"), generated: Some(HeaderValue::from_static("o-17")) });
}
