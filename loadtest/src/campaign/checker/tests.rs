//! The checker against campaigns that were made up: a sound one, and sound ones with one thing wrong.

use super::*;
use crate::campaign::history::{Bound, Served, State};
use crate::campaign::topics::{Fact, TopicRecord};

/// A second, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A campaign that is made up: what clients saw, and what the topics have.
struct Tale {
    history: Vec<Event>,
    topics: Topics,
    now: u64,
    op: u64,
}

impl Tale {
    /// Two orders and a product: one shipped, one cancelled, a few pieces added, and a takeover from a to b in between.
    fn sound() -> Self {
        let mut tale = Self { history: Vec::new(), topics: Topics::default(), now: 0, op: 0 };
        tale.call(1, Call::SetUp { product_id: "mug".into(), stock: Some(10) }, product(10, 0, 2), "a", 1);
        tale.facts(&[Fact::StockSet("mug".into(), 10)]);
        let created = tale.call(1, create("o-1", 3), order(State::Created, 1), "a", 5);
        tale.facts(&[Fact::Created("o-1".into(), vec![("mug".into(), 3)]), Fact::StockRequest("o-1".into(), 0, 1)]);
        tale.call(2, get("o-1", Bound::AtLeast(created)), order(State::Created, 1), "a", 5);
        tale.facts(&[Fact::Verdict("o-1".into(), 3, 0), Fact::Judged("o-1".into(), true)]);
        tale.facts(&[Fact::Became("o-1".into(), Some(State::Validated)), Fact::Shipment("o-1".into(), true)]);
        tale.call(1, get("o-1", Bound::Strong), order(State::Validated, 2), "a", 6);
        tale.fault();
        tale.facts(&[Fact::Became("o-1".into(), Some(State::Shipped)), Fact::StockRequest("o-1".into(), 0, 3)]);
        tale.call(1, get("o-1", Bound::UntilOver), order(State::Shipped, 3), "b", 9);
        tale.call(2, create("o-2", 2), order(State::Created, 1), "b", 10);
        tale.facts(&[Fact::Created("o-2".into(), vec![("mug".into(), 2)]), Fact::StockRequest("o-2".into(), 0, 1)]);
        tale.call(2, cancel("o-2"), order(State::Cancelled, 2), "b", 12);
        tale.facts(&[Fact::Became("o-2".into(), Some(State::Cancelled)), Fact::StockRequest("o-2".into(), 0, 2)]);
        tale.call(3, add(5), product(12, 0, 3), "b", 7);
        tale.facts(&[Fact::StockAdded("mug".into(), 5, 12)]);
        tale
    }

    fn call(&mut self, session: u64, call: Call, body: Body, instance: &str, offset: i64) -> u64 {
        let op = self.invoke(session, call);
        self.answer(op, session, body, instance, offset);
        op
    }

    fn invoke(&mut self, session: u64, call: Call) -> u64 {
        self.op += 1;
        self.push(self.op, session, What::Invoke { gateway: "a".into(), call });
        self.op
    }

    fn answer(&mut self, op: u64, session: u64, body: Body, instance: &str, offset: i64) {
        let served = Served { instance: instance.into(), partition: 0, applied_offset: offset, active: true };
        let served_by = (body != Body::Absent).then_some(served);
        self.push(op, session, What::Ok { answer: Answer { body, served_by } });
    }

    fn push(&mut self, op: u64, session: u64, what: What) {
        self.now += SECOND;
        self.history.push(Event { at_ns: self.now, op, session, what });
    }

    fn fault(&mut self) {
        self.push(0, 0, What::Fault { name: "kill".into(), target: Some("a".into()) });
    }

    fn facts(&mut self, facts: &[Fact]) {
        self.topics.facts.extend_from_slice(facts);
    }

    /// Heals, reads everything once more, and asks the checker.
    fn judged(mut self) -> Findings {
        self.push(0, 0, What::Healed);
        self.call(9, get("o-1", Bound::Strong), order(State::Shipped, 3), "b", 20);
        self.call(9, get("o-2", Bound::Strong), order(State::Cancelled, 2), "b", 20);
        self.call(9, get_product(), product(12, 0, 3), "b", 20);
        check(&self.history, &self.topics, 30 * SECOND)
    }

    /// What is broken, when everything else is sound.
    fn breaks(self) -> Vec<Law> {
        self.judged().broken.into_keys().collect()
    }
}

fn create(order_id: &str, pieces: i64) -> Call {
    let (order_id, request_id) = (order_id.to_owned(), format!("r-{order_id}"));
    Call::Create { order_id, customer_id: "c-1".into(), lines: vec![("mug".into(), pieces)], request_id }
}

fn get(order_id: &str, bound: Bound) -> Call {
    Call::Get { order_id: order_id.to_owned(), bound }
}

fn get_product() -> Call {
    Call::GetProduct { product_id: "mug".into(), bound: Bound::Strong }
}

fn cancel(order_id: &str) -> Call {
    Call::Cancel { order_id: order_id.to_owned(), request_id: format!("x-{order_id}") }
}

fn add(quantity: i64) -> Call {
    Call::AddStock { product_id: "mug".into(), quantity, request_id: format!("a-{quantity}") }
}

fn order(state: State, version: u64) -> Body {
    Body::Order { state, version }
}

fn product(stock: i64, reserved: i64, version: u64) -> Body {
    Body::Product { stock, reserved, available: stock - reserved, version }
}

#[test]
fn a_sound_campaign_passes() {
    let findings = Tale::sound().judged();
    assert!(findings.is_clean(), "{:?}", findings.told);
    assert_eq!((findings.orders, findings.shipped, findings.cancelled), (2, 1, 1));
}

#[test]
fn calls_of_unknown_end_may_have_happened_or_not() {
    let mut tale = Tale::sound();
    tale.invoke(1, create("o-3", 1));
    let op = tale.invoke(1, add(7));
    tale.push(op, 1, What::Info { code: "Unavailable".into() });
    assert!(tale.judged().is_clean());
}

#[test]
fn a_repeated_request_may_be_answered_as_it_first_was() {
    let mut tale = Tale::sound();
    tale.call(1, create("o-1", 3), order(State::Created, 1), "b", 12);
    assert!(tale.judged().is_clean());
}

#[test]
fn an_acknowledged_order_that_is_nowhere_is_lost() {
    let mut tale = Tale::sound();
    tale.call(1, create("o-3", 1), order(State::Created, 1), "b", 13);
    assert_eq!(tale.breaks(), [Law::Lost]);
}

#[test]
fn an_acknowledged_cancellation_that_did_not_happen_is_lost() {
    let mut tale = Tale::sound();
    tale.call(1, cancel("o-1"), order(State::Cancelled, 4), "b", 13);
    assert!(tale.breaks().contains(&Law::Lost));
}

#[test]
fn acknowledged_pieces_that_never_came_are_lost() {
    let mut tale = Tale::sound();
    tale.call(1, add(6), product(12, 0, 3), "b", 13);
    assert_eq!(tale.breaks(), [Law::Lost]);
}

#[test]
fn two_validation_outcomes_are_a_duplicate_effect() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::Judged("o-1".into(), true)]);
    assert_eq!(tale.breaks(), [Law::DuplicateEffect]);
}

#[test]
fn two_shipments_are_a_duplicate_effect() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::Shipment("o-1".into(), true)]);
    assert_eq!(tale.breaks(), [Law::DuplicateEffect]);
}

#[test]
fn an_order_that_is_created_twice_is_a_duplicate_effect() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::Created("o-2".into(), vec![("mug".into(), 2)])]);
    assert_eq!(tale.breaks(), [Law::DuplicateEffect]);
}

#[test]
fn a_line_that_is_reserved_or_judged_twice_is_a_duplicate_effect() {
    for fact in [Fact::StockRequest("o-1".into(), 0, 1), Fact::Verdict("o-1".into(), 3, 0)] {
        let mut tale = Tale::sound();
        tale.facts(&[fact]);
        assert_eq!(tale.breaks(), [Law::DuplicateEffect]);
    }
}

#[test]
fn a_line_that_is_released_and_shipped_is_a_duplicate_effect() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::StockRequest("o-1".into(), 0, 2)]);
    assert_eq!(tale.breaks(), [Law::DuplicateEffect]);
}

#[test]
fn pieces_that_are_added_twice_are_a_duplicate_effect_and_break_the_sum() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::StockAdded("mug".into(), 5, 17)]);
    assert_eq!(tale.breaks(), [Law::DuplicateEffect, Law::Conservation]);
}

#[test]
fn an_order_that_was_refused_and_is_there_is_an_aborted_read() {
    let mut tale = Tale::sound();
    let op = tale.invoke(1, create("o-3", 1));
    tale.push(op, 1, What::Fail { code: "InvalidArgument".into() });
    tale.facts(&[Fact::Created("o-3".into(), vec![("mug".into(), 1)])]);
    assert!(tale.breaks().contains(&Law::AbortedRead));
}

#[test]
fn an_order_with_other_lines_than_were_asked_for_is_an_aborted_read() {
    let mut tale = Tale::sound();
    for fact in &mut tale.topics.facts {
        if let Fact::Created(id, lines) = fact
            && id == "o-2"
        {
            lines[0].1 = 1;
        }
    }
    assert_eq!(tale.breaks(), [Law::AbortedRead]);
}

#[test]
fn a_state_that_the_log_does_not_have_is_an_aborted_read() {
    let mut tale = Tale::sound();
    tale.call(1, get("o-2", Bound::Eventual), order(State::Validated, 2), "b", 13);
    assert_eq!(tale.breaks(), [Law::AbortedRead]);
}

#[test]
fn an_answer_older_than_an_earlier_one_of_the_session_is_nonmonotonic() {
    let mut tale = Tale::sound();
    tale.call(1, get("o-1", Bound::Strong), order(State::Validated, 2), "b", 14);
    assert_eq!(tale.breaks(), [Law::Nonmonotonic]);
}

#[test]
fn an_answer_older_than_one_of_another_session_is_a_stale_read() {
    let mut tale = Tale::sound();
    tale.call(3, get("o-1", Bound::Strong), order(State::Validated, 2), "b", 14);
    assert_eq!(tale.breaks(), [Law::StaleRead]);
}

#[test]
fn an_order_that_is_there_and_is_not_found_is_a_stale_read() {
    let mut tale = Tale::sound();
    tale.call(3, get("o-1", Bound::Strong), Body::Absent, "b", 14);
    assert_eq!(tale.breaks(), [Law::StaleRead]);
}

#[test]
fn a_token_that_is_not_honoured_is_a_stale_read() {
    let mut tale = Tale::sound();
    let cancelled = tale.call(2, cancel("o-2"), order(State::Cancelled, 2), "b", 14);
    tale.call(2, get("o-2", Bound::AtLeast(cancelled)), order(State::Created, 1), "c", 3);
    assert_eq!(tale.breaks(), [Law::StaleRead]);
}

#[test]
fn a_call_that_began_before_the_write_was_acknowledged_may_miss_it() {
    let mut tale = Tale::sound();
    let read = tale.invoke(3, get("o-2", Bound::Strong));
    tale.call(2, cancel("o-2"), order(State::Cancelled, 2), "b", 14);
    tale.answer(read, 3, order(State::Cancelled, 2), "b", 12);
    assert!(tale.judged().is_clean());
}

#[test]
fn an_old_answer_of_the_owner_before_is_a_deposed_answer() {
    let mut tale = Tale::sound();
    tale.call(1, get("o-1", Bound::Strong), order(State::Validated, 2), "a", 6);
    assert_eq!(tale.breaks(), [Law::DeposedAnswer]);
}

#[test]
fn a_deposed_owner_is_found_even_at_a_key_that_did_not_change() {
    let mut tale = Tale::sound();
    tale.call(1, get_product(), product(12, 0, 3), "b", 12);
    tale.call(1, get_product(), product(12, 0, 3), "a", 7);
    assert_eq!(tale.breaks(), [Law::DeposedAnswer]);
}

#[test]
fn a_rejected_order_that_is_shipped_is_an_illegal_transition() {
    let mut tale = Tale::sound();
    tale.call(1, create("o-3", 1), order(State::Created, 1), "b", 13);
    tale.facts(&[Fact::Created("o-3".into(), vec![("mug".into(), 1)]), Fact::Judged("o-3".into(), false)]);
    tale.facts(&[Fact::Became("o-3".into(), Some(State::Rejected)), Fact::Became("o-3".into(), Some(State::Shipped))]);
    assert!(tale.breaks().contains(&Law::IllegalTransition));
}

#[test]
fn a_cancelled_order_that_left_the_house_is_an_illegal_transition() {
    let mut tale = Tale::sound();
    tale.facts(&[Fact::Shipment("o-2".into(), true)]);
    assert_eq!(tale.breaks(), [Law::IllegalTransition]);
}

#[test]
fn more_pieces_held_than_there_are_break_the_conservation() {
    let mut tale = Tale::sound();
    tale.call(3, get_product(), product(4, 5, 3), "b", 13);
    assert_eq!(tale.breaks(), [Law::Conservation]);
}

#[test]
fn pieces_that_disappear_break_the_conservation() {
    let mut tale = Tale::sound();
    tale.push(0, 0, What::Healed);
    tale.now += 1;
    for fact in &mut tale.topics.facts {
        if let Fact::StockSet(_, stock) = fact {
            *stock = 11;
        }
    }
    assert_eq!(tale.breaks(), [Law::Conservation]);
}

#[test]
fn an_order_that_never_ends_is_stuck() {
    let mut tale = Tale::sound();
    tale.call(1, create("o-3", 1), order(State::Created, 1), "b", 13);
    tale.facts(&[Fact::Created("o-3".into(), vec![("mug".into(), 1)])]);
    assert_eq!(tale.breaks(), [Law::Stuck]);
}

#[test]
fn an_order_that_ends_too_late_is_stuck() {
    let mut tale = Tale::sound();
    tale.call(1, create("o-3", 1), order(State::Created, 1), "b", 13);
    tale.facts(&[Fact::Created("o-3".into(), vec![("mug".into(), 1)]), Fact::Judged("o-3".into(), false)]);
    tale.facts(&[Fact::Became("o-3".into(), Some(State::Rejected))]);
    tale.push(0, 0, What::Healed);
    let read = tale.invoke(1, get("o-3", Bound::UntilOver));
    tale.now += 31 * SECOND;
    tale.answer(read, 1, order(State::Rejected, 2), "b", 14);
    let findings = check(&tale.history, &tale.topics, 30 * SECOND);
    assert_eq!(findings.broken.into_keys().collect::<Vec<_>>(), [Law::Stuck]);
}

#[test]
fn a_number_with_two_contents_or_a_gap_is_an_inconsistent_offset() {
    let record = |offset, number, value: &[u8]| {
        TopicRecord::new("customers", 0, offset, &format!("orders/0;00ff;{number}"), value)
    };
    let numbered = |records: &[TopicRecord]| {
        let topics = Topics::read(records).unwrap();
        check(&[], &topics, 0).broken.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(numbered(&[record(0, 1, b"x"), record(1, 2, b"y"), record(2, 1, b"x")]), []);
    assert_eq!(numbered(&[record(0, 1, b"x"), record(1, 1, b"y")]), [Law::InconsistentOffset]);
    assert_eq!(numbered(&[record(0, 1, b"x"), record(1, 3, b"y")]), [Law::InconsistentOffset]);
}

#[test]
fn a_partition_that_does_not_answer_soon_after_the_brokers_are_back_returns_slowly() {
    for (seconds, broken) in [(4, vec![]), (6, vec![Law::SlowReturn])] {
        let mut tale = Tale::sound();
        tale.push(0, 0, What::Returned { name: "brokers-away".into() });
        let read = tale.invoke(1, get("o-1", Bound::Strong));
        // The answer itself comes a second later than what went before.
        tale.now += (seconds - 2) * SECOND;
        tale.answer(read, 1, order(State::Shipped, 3), "b", 20);
        assert_eq!(tale.breaks(), broken, "{seconds} s");
    }
}
