//! The whole definition without a log: what is emitted, what is stored, what a client is answered.

use proptest::prelude::*;
use prost::Message;
use proto::common::v1::Money;
use proto::customers::v1 as pb;
use proto::orders::v1::{self as orders, OrderState};
use proto::payments::v1::OrderPaid;
use proto::validation::v1::{Check, Outcome, Reason, Verdict};
use service_host::{Problem, reply};
use task_runtime::CallError;
use testkit::Driver;

use crate::stores::{CREDIT, CUSTOMERS, ORDERS, PROGRESS, order_key};
use crate::wire::requests::{CREATE, GREET, SET_CREDIT_LIMIT, UPDATE};
use crate::{Config, topics, wire};

struct Office {
    driver: Driver,
}

fn eur(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".into(), minor_units })
}

fn ada(limit: Option<Money>) -> pb::Customer {
    pb::Customer {
        customer_id: "c-1".into(),
        first_name: "Ada".into(),
        level: 3,
        credit_limit: limit,
        ..Default::default()
    }
}

fn pass() -> Vec<(Outcome, String)> {
    vec![(Outcome::Pass, String::new())]
}

fn fail(code: &str) -> Vec<(Outcome, String)> {
    vec![(Outcome::Fail, code.into())]
}

impl Office {
    fn new() -> Self {
        Self { driver: Driver::new(crate::definition(&Config::default())) }
    }

    fn with_limit(limit: i64) -> Self {
        let mut office = Self::new();
        office.create(ada(eur(limit)), None).unwrap();
        office.driver.emitted();
        office
    }

    fn create(&mut self, customer: pb::Customer, request_id: Option<&str>) -> Result<pb::Customer, Problem> {
        let key = customer.customer_id.clone();
        let request = pb::CreateCustomerRequest { customer: Some(customer), ..Default::default() };
        let answer = self.driver.command(CREATE, key.as_bytes(), request_id, request.encode_to_vec(), "");
        reply::decode::<pb::CreateCustomerResponse>(answer.unwrap()).map(|response| response.customer.unwrap())
    }

    fn update(&mut self, customer: pb::Customer, paths: &[&str]) -> Result<pb::Customer, Problem> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = pb::UpdateCustomerRequest { customer: Some(customer), update_mask, ..Default::default() };
        let answer = self.driver.command(UPDATE, b"c-1", None, request.encode_to_vec(), "");
        reply::decode::<pb::UpdateCustomerResponse>(answer.unwrap()).map(|response| response.customer.unwrap())
    }

    fn set_limit(&mut self, minor_units: i64, etag: &str) -> Result<pb::Customer, Problem> {
        let credit_limit = eur(minor_units);
        let request = pb::SetCreditLimitRequest {
            customer_id: "c-1".into(),
            credit_limit,
            etag: etag.into(),
            ..Default::default()
        };
        let answer = self.driver.command(SET_CREDIT_LIMIT, b"c-1", None, request.encode_to_vec(), "");
        reply::decode::<pb::SetCreditLimitResponse>(answer.unwrap()).map(|response| response.customer.unwrap())
    }

    fn greet(&mut self, customer_id: &str, generated: &'static str) -> Result<pb::Greeting, Problem> {
        let request =
            pb::SendGreetingRequest { customer_id: customer_id.into(), message: "Hello".into(), ..Default::default() };
        let key = if customer_id.is_empty() { generated } else { customer_id };
        let answer = self.driver.command(GREET, key.as_bytes(), None, request.encode_to_vec(), generated);
        reply::decode::<pb::SendGreetingResponse>(answer.unwrap()).map(|response| response.greeting.unwrap())
    }

    /// Places an order of the customer c-1 and returns the verdicts on it: outcome and code.
    fn place(&mut self, order_id: &str, cents: i64) -> Vec<(Outcome, String)> {
        let line = orders::OrderLine { product_id: "jumper".into(), quantity: 1, unit_price: eur(cents) };
        let placed = orders::OrderPlaced {
            order_id: order_id.into(),
            customer_id: "c-1".into(),
            time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            total: eur(cents),
            lines: vec![line],
        };
        self.driver.record(topics::ORDERS_BY_CUSTOMER, b"c-1", placed.encode_to_vec());
        self.verdicts(order_id)
    }

    fn change(&mut self, order_id: &str, version: u64, state: OrderState) {
        let reasons = if state == OrderState::Rejected { vec![Reason::default()] } else { Vec::new() };
        let changed = orders::CustomerOrderChanged {
            order_id: order_id.into(),
            customer_id: "c-1".into(),
            time: Some(prost_types::Timestamp { seconds: i64::try_from(version).unwrap(), nanos: 0 }),
            state: state.into(),
            reasons,
            version,
        };
        self.driver.record(topics::ORDER_CHANGES_BY_CUSTOMER, b"c-1", changed.encode_to_vec());
    }

    fn pay(&mut self, order_id: &str) {
        let paid = OrderPaid { order_id: order_id.into(), customer_id: "c-1".into(), ..Default::default() };
        self.driver.record(topics::ORDER_PAYMENTS, b"c-1", paid.encode_to_vec());
    }

    fn verdicts(&mut self, order_id: &str) -> Vec<(Outcome, String)> {
        let verdict = |record: testkit::Emitted| {
            assert_eq!((record.topic.as_str(), &record.key[..]), (topics::CREDIT_VERDICTS, order_id.as_bytes()));
            let verdict = Verdict::decode(record.value).unwrap();
            assert_eq!((verdict.check(), verdict.order_id.as_str(), verdict.line), (Check::Credit, order_id, 0));
            (verdict.outcome(), verdict.code)
        };
        self.driver.emitted().into_iter().map(verdict).collect()
    }

    fn reserved(&self) -> i64 {
        wire::credit(&self.driver.get(CREDIT, b"c-1").unwrap()).unwrap().reserved_in("EUR")
    }

    /// The row of an order in the view, as far as the task knows it.
    fn shown(&self, order_id: &str) -> Option<orders::Order> {
        let key = order_key("c-1", order_id);
        let placed = self.driver.get(ORDERS, &key)?;
        let known = wire::orders::known(&self.driver.get(PROGRESS, &key).unwrap()).unwrap();
        Some(wire::orders::order_to_proto(("c-1".into(), order_id.into()), &placed, &known).unwrap())
    }
}

#[test]
fn orders_reserve_until_the_limit_is_reached_exactly() {
    let mut office = Office::with_limit(1_000);
    assert_eq!(office.place("o-1", 800), pass());
    assert_eq!(office.place("o-2", 300), fail("CREDIT_LIMIT_EXCEEDED"));
    assert_eq!(office.place("o-3", 200), pass());
    assert_eq!(office.place("o-4", 1), fail("CREDIT_LIMIT_EXCEEDED"));
    assert_eq!(office.reserved(), 1_000);
    office.set_limit(4_000, "").unwrap();
    office.driver.emitted();
    assert_eq!(office.place("o-5", 1_500), pass());
    office.set_limit(0, "").unwrap();
    office.driver.emitted();
    assert_eq!(office.place("o-6", 1), fail("CREDIT_LIMIT_EXCEEDED"));
}

#[test]
fn the_order_of_an_unknown_customer_fails_with_a_reason_that_names_him() {
    let mut office = Office::new();
    let placed = orders::OrderPlaced { order_id: "o-1".into(), customer_id: "c-9".into(), ..Default::default() };
    office.driver.record(topics::ORDERS_BY_CUSTOMER, b"c-9", placed.encode_to_vec());
    let verdict = Verdict::decode(office.driver.emitted().remove(0).value).unwrap();
    assert_eq!((verdict.outcome(), verdict.code.as_str()), (Outcome::Fail, "CUSTOMER_NOT_FOUND"));
    assert_eq!(verdict.message, "customer c-9 does not exist");
}

#[test]
fn a_shipped_order_holds_its_credit_until_it_is_paid() {
    let mut office = Office::with_limit(1_000);
    office.place("o-1", 800);
    office.change("o-1", 2, OrderState::Validated);
    office.change("o-1", 3, OrderState::Shipped);
    assert_eq!(office.reserved(), 800);
    office.pay("o-1");
    assert_eq!(office.reserved(), 0);
    office.pay("o-1");
    assert_eq!(office.place("o-1", 800), pass(), "the same order again");
    assert_eq!(office.reserved(), 0);
    assert_eq!(office.place("o-2", 1_000), pass());
}

#[test]
fn an_order_that_ends_unpaid_gives_its_credit_back_once() {
    for state in [OrderState::Rejected, OrderState::Cancelled] {
        let mut office = Office::with_limit(1_000);
        office.place("o-1", 400);
        office.place("o-2", 400);
        for _ in 0..2 {
            office.change("o-1", 2, state);
            office.pay("o-1");
            assert_eq!(office.reserved(), 400);
        }
        assert_eq!(office.driver.emitted(), []);
    }
}

#[test]
fn an_order_that_ended_before_it_is_judged_is_refused_and_a_paid_one_passes() {
    let mut office = Office::with_limit(1_000);
    office.change("o-1", 2, OrderState::Cancelled);
    assert_eq!(office.place("o-1", 400), fail("ORDER_ENDED"));
    office.pay("o-2");
    assert_eq!(office.place("o-2", 4_000), pass());
    assert_eq!(office.reserved(), 0);
}

#[test]
fn poison_is_put_aside_and_an_unknown_state_is_skipped() {
    let mut office = Office::with_limit(1_000);
    for topic in [topics::ORDERS_BY_CUSTOMER, topics::ORDER_CHANGES_BY_CUSTOMER, topics::ORDER_PAYMENTS] {
        office.driver.record(topic, b"c-1", &b"\xff\xff"[..]);
        // Nobody's: the message names no customer.
        office.driver.record(topic, b"c-1", "");
        let topics: Vec<_> = office.driver.emitted().into_iter().map(|record| record.topic).collect();
        assert_eq!(topics, ["customers-dead-letters", "customers-dead-letters"], "{topic}");
    }
    let later = orders::CustomerOrderChanged {
        order_id: "o-1".into(),
        customer_id: "c-1".into(),
        state: 99,
        version: 2,
        ..Default::default()
    };
    office.driver.record(topics::ORDER_CHANGES_BY_CUSTOMER, b"c-1", later.encode_to_vec());
    assert_eq!(office.driver.emitted(), []);
    assert_eq!(office.driver.get(PROGRESS, &order_key("c-1", "o-1")), None);
}

#[test]
fn commands_answer_with_the_customer_and_tell_the_topic() {
    use pb::customer_event::Event;
    let mut office = Office::new();
    let created = office.create(ada(None), None).unwrap();
    office.driver.emitted();
    assert_eq!((created.level(), created.etag.as_str()), (pb::CustomerLevel::Gold, "1"));
    assert_eq!((&created.credit_limit, &created.credit_available), (&None, &None));
    office.place("o-1", 300);
    office.driver.emitted();
    let limited = office.set_limit(1_000, "1").unwrap();
    assert_eq!(
        (limited.credit_limit, limited.credit_reserved, limited.credit_available),
        (eur(1_000), eur(300), eur(700))
    );
    let renamed = pb::Customer { first_name: "Augusta".into(), ..ada(None) };
    let renamed = office.update(renamed, &["first_name"]).unwrap();
    assert_eq!(
        (renamed.first_name.as_str(), renamed.credit_limit.clone(), renamed.etag.as_str()),
        ("Augusta", eur(1_000), "3")
    );
    let events = office.driver.emitted().into_iter().map(|record| {
        assert_eq!((record.topic.as_str(), &record.key[..]), (topics::CUSTOMERS, &b"c-1"[..]));
        pb::CustomerEvent::decode(record.value).unwrap().event.unwrap()
    });
    // What orders hold is no part of the events.
    let told =
        |customer: pb::Customer| Some(pb::Customer { credit_reserved: None, credit_available: None, ..customer });
    let limited = pb::Customer { etag: "2".into(), first_name: "Ada".into(), ..renamed.clone() };
    let wanted = [
        Event::CreditLimitSet(pb::CreditLimitSet { customer: told(limited) }),
        Event::Updated(pb::CustomerUpdated { customer: told(renamed) }),
    ];
    assert_eq!(events.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_command_that_changes_nothing_tells_nobody() {
    let mut office = Office::with_limit(1_000);
    assert_eq!(office.create(ada(eur(1_000)), None).unwrap().etag, "1");
    assert_eq!(office.set_limit(1_000, "1").unwrap().etag, "1");
    assert_eq!(office.update(ada(None), &[]).unwrap().etag, "1", "without a mask only what is set changes");
    assert_eq!(office.driver.emitted(), []);
}

#[test]
fn a_mask_of_everything_clears_what_is_not_set() {
    let mut office = Office::with_limit(1_000);
    let bare = pb::Customer { customer_id: "c-1".into(), last_name: "Lovelace".into(), ..Default::default() };
    let updated = office.update(bare, &["*"]).unwrap();
    assert_eq!((updated.first_name.as_str(), updated.last_name.as_str()), ("", "Lovelace"));
    assert_eq!((updated.level(), updated.credit_limit), (pb::CustomerLevel::Bronze, None));
}

#[test]
fn refusals_name_their_reason() {
    let mut office = Office::new();
    assert_eq!(office.set_limit(1, "").unwrap_err().reason, "CUSTOMER_NOT_FOUND");
    assert_eq!(office.update(ada(None), &["phone"]).unwrap_err().reason, "CUSTOMER_NOT_FOUND");
    assert_eq!(office.greet("c-1", "").unwrap_err().reason, "CUSTOMER_NOT_FOUND");
    office.create(ada(None), Some("r-1")).unwrap();
    assert_eq!(office.create(ada(eur(1)), None).unwrap_err().reason, "CUSTOMER_EXISTS");
    let conflict = office.set_limit(1, "7").unwrap_err();
    assert_eq!((conflict.reason.as_ref(), conflict.metadata["current"].as_str()), ("VERSION_CONFLICT", "1"));
    let stale = pb::Customer { etag: "old".into(), ..ada(None) };
    assert_eq!(office.update(stale, &["phone"]).unwrap_err().reason, "VERSION_CONFLICT");
    let other = pb::CreateCustomerRequest { customer: Some(ada(eur(1))), ..Default::default() };
    let again = office.driver.command(CREATE, b"c-1", Some("r-1"), other.encode_to_vec(), "");
    assert_eq!(again, Err(CallError::RequestIdReused));
    assert!(office.driver.get(CUSTOMERS, b"c-1").is_some());
}

#[test]
fn greetings_are_numbered_and_told() {
    let mut office = Office::with_limit(1_000);
    let sent = [office.greet("c-1", "").unwrap(), office.greet("c-1", "").unwrap(), office.greet("", "made").unwrap()];
    let ids: Vec<_> = sent.iter().map(|g| (g.customer_id.as_str(), g.greeting_id.as_str())).collect();
    assert_eq!(ids, [("c-1", "c-1-1"), ("c-1", "c-1-2"), ("", "made")]);
    let told = office.driver.emitted().into_iter().map(|record| {
        assert_eq!(record.topic, topics::GREETINGS);
        (record.key, pb::GreetingSent::decode(record.value).unwrap().greeting.unwrap())
    });
    let keys = ["c-1", "c-1", "made"].map(bytes::Bytes::from);
    assert_eq!(told.collect::<Vec<_>>(), keys.into_iter().zip(sent).collect::<Vec<_>>());
    assert_eq!(office.greet("", "made").unwrap_err().reason, "GREETING_EXISTS");
}

/// What happens to one order, in any order of arrival.
#[derive(Debug, Clone, Copy)]
enum Word {
    Placed,
    Changed(u64, OrderState),
    Paid,
}

proptest! {
    #[test]
    fn the_view_is_the_same_whatever_the_order_of_arrival(
        end in prop_oneof![Just(OrderState::Shipped), Just(OrderState::Rejected), Just(OrderState::Cancelled)],
        is_paid in any::<bool>(),
        shuffle in prop::collection::vec(any::<prop::sample::Index>(), 5),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut words = vec![Word::Placed, Word::Changed(2, OrderState::Validated), Word::Changed(3, end)];
        words.extend(is_paid.then_some(Word::Paid));
        let tell = |office: &mut Office, word: Word| match word {
            Word::Placed => drop(office.place("o-1", 300)),
            Word::Changed(version, state) => office.change("o-1", version, state),
            Word::Paid => office.pay("o-1"),
        };
        let told = |words: &[Word]| {
            let mut office = Office::with_limit(1_000);
            for word in words {
                tell(&mut office, *word);
                let reserved = office.reserved();
                prop_assert!(reserved == 0 || reserved == 300);
            }
            Ok((office.shown("o-1"), office.reserved()))
        };
        let in_order = told(&words)?;
        prop_assert_eq!(in_order.1, if end == OrderState::Shipped && !is_paid { 300 } else { 0 });
        prop_assert_eq!(in_order.0.as_ref().unwrap().state(), end);
        for (place, index) in shuffle.iter().enumerate() {
            let places = words.len();
            words.swap(place % places, index.index(places));
        }
        let repeated: Vec<_> = again.iter().map(|index| words[index.index(words.len())]).collect();
        words.extend(repeated);
        prop_assert_eq!(told(&words)?, in_order);
    }
}
