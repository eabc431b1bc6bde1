//! The whole definition without a log: what is emitted, what is stored, what is to be sent.

use bytes::Bytes;
use prost::Message;
use proto::common::v1::Money;
use proto::customers::v1 as customers;
use proto::customers::v1::{CustomerLevel, customer_event};
use proto::notifications::v1 as pb;
use proto::notifications::v1::mail_event::Event;
use proto::orders::v1 as orders;
use proto::orders::v1::OrderState;
use proto::payments::v1::OrderPaid;
use task_runtime::{Command, Context, Reply};
use testkit::{Driver, Emitted};

use super::deliveries::REPORT_DELIVERY;
use crate::domain::delivery::{Outcome, State};
use crate::stores::{JOINS, NOTIFICATIONS, OUTBOX, join_key, parse_outbox_key};
use crate::{Config, topics, wire};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Placed,
    Validated,
    Paid,
    Customer,
}
use Step::{Customer, Paid, Placed, Validated};

struct Post {
    driver: Driver,
}

impl Post {
    fn new() -> Self {
        let config = Config { tries_max: 3, message_id_domain: "shop.example".into(), ..Config::default() };
        Self { driver: Driver::new(crate::definition(&config).replayable()) }
    }

    fn step(&mut self, step: Step, order_id: &str) {
        match step {
            Placed => self.placed(order_id),
            Validated => self.changed(order_id, OrderState::Validated),
            Paid => self.paid(order_id),
            Customer => self.customer("c-1", "ada@example.org", CustomerLevel::Gold),
        }
    }

    fn placed(&mut self, order_id: &str) {
        let line = orders::OrderLine { product_id: "jumper".into(), quantity: 2, unit_price: Some(eur(5)) };
        let placed = orders::OrderPlaced {
            order_id: order_id.into(),
            customer_id: "c-1".into(),
            time: None,
            total: Some(eur(10)),
            lines: vec![line],
        };
        self.driver.record(topics::ORDERS_BY_CUSTOMER, b"c-1", placed.encode_to_vec());
    }

    fn changed(&mut self, order_id: &str, state: OrderState) {
        let changed = orders::CustomerOrderChanged {
            order_id: order_id.into(),
            customer_id: "c-1".into(),
            state: state.into(),
            ..Default::default()
        };
        self.driver.record(topics::ORDER_CHANGES_BY_CUSTOMER, b"c-1", changed.encode_to_vec());
    }

    fn paid(&mut self, order_id: &str) {
        let paid = OrderPaid { order_id: order_id.into(), customer_id: "c-1".into(), ..Default::default() };
        self.driver.record(topics::ORDER_PAYMENTS, b"c-1", paid.encode_to_vec());
    }

    fn customer(&mut self, customer_id: &str, email: &str, level: CustomerLevel) {
        let customer = customers::Customer {
            customer_id: customer_id.into(),
            first_name: "Ada".into(),
            email: email.into(),
            level: level.into(),
            ..Default::default()
        };
        let event = customer_event::Event::Created(customers::CustomerCreated { customer: Some(customer) });
        let event = customers::CustomerEvent { customer_id: customer_id.into(), time: None, event: Some(event) };
        self.driver.record(topics::CUSTOMERS, customer_id.as_bytes(), event.encode_to_vec());
    }

    fn report(&mut self, order_id: &str, attempts_before: u32, outcome: Outcome) {
        let payload = wire::report(order_id, attempts_before, outcome);
        self.driver.command(REPORT_DELIVERY, order_id.as_bytes(), None, payload, "").unwrap();
    }

    fn outbox(&self) -> Vec<(i64, String)> {
        let rows = self.driver.view().scan(OUTBOX, b"", None, 1_000).unwrap();
        let parts = rows.iter().map(|(key, _)| parse_outbox_key(key).unwrap());
        parts.map(|(due_ms, order_id)| (due_ms, order_id.to_owned())).collect()
    }

    fn notification(&self, order_id: &str) -> Option<pb::NotificationRow> {
        Some(wire::notification_row(&self.driver.get(NOTIFICATIONS, order_id.as_bytes())?).unwrap())
    }

    fn state(&self, order_id: &str) -> State {
        wire::delivery_of(&self.notification(order_id).unwrap()).unwrap().state
    }

    /// Topics of what was emitted since the last call.
    fn told(&mut self) -> Vec<String> {
        self.driver.emitted().into_iter().map(|record| record.topic).collect()
    }
}

#[test]
fn an_order_that_cannot_be_read_does_not_hold_up_the_others_of_its_customer() {
    let plant = |ctx: &mut Context<'_>, command: &Command| {
        ctx.put(JOINS, &command.key, command.payload.clone());
        Ok(Reply(Bytes::new()))
    };
    let mut post = Post { driver: Driver::new(crate::definition(&Config::default()).command("plant", plant)) };
    for order_id in ["o-1", "o-3"] {
        for step in [Placed, Validated, Paid] {
            post.step(step, order_id);
        }
    }
    post.driver.command("plant", &join_key("c-1", "o-2"), None, &b"\xff\xff"[..], "").unwrap();
    post.step(Customer, "o-1");
    post.driver.advance_to(1_000);
    let orders: Vec<_> = post.outbox().into_iter().map(|(_, order_id)| order_id).collect();
    assert_eq!(orders, ["o-1", "o-3"]);
    assert!(!post.told().iter().any(|topic| topic.ends_with("dead-letters")));
}

fn eur(minor_units: i64) -> Money {
    Money { currency_code: "EUR".into(), minor_units }
}

fn failed(is_final: bool) -> Outcome {
    Outcome::Failed { error: "the server is away".into(), is_final }
}

fn count(told: &[String], topic: &str) -> usize {
    told.iter().filter(|told| *told == topic).count()
}

/// What records of `mails` say, all of the order o-1.
fn events_of(emitted: &[Emitted]) -> Vec<Event> {
    let event = |record: &Emitted| {
        assert_eq!(record.topic, topics::MAILS);
        let event = pb::MailEvent::decode(record.value.clone()).unwrap();
        assert_eq!((event.order_id.as_bytes(), event.recipient.as_str()), (&record.key[..], "ada@example.org"));
        assert_eq!(event.message_id, "<order.o-1@shop.example>");
        event.event.unwrap()
    };
    emitted.iter().map(event).collect()
}

fn every_order_of(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let choose = |index: usize| {
        let mut rest = steps.to_vec();
        let first = rest.remove(index);
        every_order_of(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..steps.len()).flat_map(choose).collect()
}

#[test]
fn one_e_mail_and_one_enriched_order_whatever_comes_first_and_however_often() {
    for steps in every_order_of(&[Placed, Validated, Paid, Customer]) {
        let mut post = Post::new();
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(post.outbox(), [], "{steps:?} at {index}");
            post.step(*step, "o-1");
            post.step(*step, "o-1");
        }
        assert_eq!(post.outbox(), [(0, "o-1".to_owned())], "{steps:?}");
        let told = post.told();
        assert_eq!((told.len(), count(&told, "orders-gold"), count(&told, topics::MAILS)), (2, 1, 1), "{steps:?}");
        post.report("o-1", 0, Outcome::Sent);
        assert_eq!(post.told(), [topics::MAILS], "{steps:?}");
        for step in steps {
            post.step(step, "o-1");
        }
        assert_eq!((post.outbox(), post.state("o-1")), (vec![], State::Sent));
        assert_eq!(post.told(), [""; 0]);
    }
}

#[test]
fn an_e_mail_says_who_what_and_how_much_and_its_id_follows_the_order() {
    let mut post = Post::new();
    for step in [Customer, Placed, Validated, Paid] {
        post.step(step, "o-1");
    }
    let row = post.notification("o-1").unwrap();
    assert_eq!((row.recipient.as_str(), row.message_id.as_str()), ("ada@example.org", "<order.o-1@shop.example>"));
    assert!(row.body.contains("Dear Ada,") && row.body.contains("2 x jumper at EUR 0.05"), "{}", row.body);
    post.report("o-1", 0, Outcome::Sent);
    assert_eq!(post.notification("o-1").unwrap().body, "", "what is sent need not be kept");
}

#[test]
fn enriched_orders_go_to_the_topic_of_the_level_that_the_customer_has_then() {
    let levels = [
        (CustomerLevel::Platinum, topics::ORDERS_PLATINUM),
        (CustomerLevel::Gold, topics::ORDERS_GOLD),
        (CustomerLevel::Silver, topics::ORDERS_SILVER),
        (CustomerLevel::Bronze, topics::ORDERS_BRONZE),
        (CustomerLevel::Unspecified, topics::ORDERS_BRONZE),
    ];
    let mut post = Post::new();
    for (number, (level, topic)) in levels.into_iter().enumerate() {
        let order_id = format!("o-{number}");
        post.customer("c-1", "ada@example.org", level);
        post.placed(&order_id);
        post.changed(&order_id, OrderState::Validated);
        let emitted: Vec<Emitted> = post.driver.emitted();
        assert_eq!((emitted.len(), emitted[0].topic.as_str(), &emitted[0].key[..]), (1, topic, order_id.as_bytes()));
        let enriched = pb::EnrichedOrder::decode(emitted[0].value.clone()).unwrap();
        assert_eq!(enriched.order.unwrap().lines.len(), 1);
        assert_eq!(enriched.customer.unwrap().first_name, "Ada");
    }
}

#[test]
fn orders_that_wait_for_their_customer_are_all_found_and_nobody_elses() {
    let mut post = Post::new();
    for number in 0..200 {
        for step in [Placed, Validated, Paid] {
            post.step(step, &format!("o-{number:03}"));
        }
    }
    for other in ["c-0", "c-10", "c-2"] {
        post.customer(other, "eve@example.org", CustomerLevel::Gold);
    }
    post.driver.advance_to(0);
    assert_eq!(post.outbox().len(), 0);
    post.step(Customer, "");
    assert!(post.outbox().len() < 200, "one commit does a part of it");
    post.driver.advance_to(1);
    assert_eq!(post.outbox().len(), 200);
    let told = post.told();
    assert_eq!((told.len(), count(&told, "orders-gold"), count(&told, topics::MAILS)), (400, 200, 200));
    assert_eq!(post.driver.next_timer_ms(), None);
}

#[test]
fn an_order_that_was_rejected_or_cancelled_is_not_mailed() {
    for end in [OrderState::Rejected, OrderState::Cancelled] {
        let mut post = Post::new();
        post.step(Customer, "o-1");
        post.step(Placed, "o-1");
        post.changed("o-1", end);
        post.step(Paid, "o-1");
        assert_eq!(post.notification("o-1"), None);
    }
}

#[test]
fn a_try_that_failed_is_repeated_later_and_given_up_in_the_end() {
    let mut post = Post::new();
    for step in [Customer, Placed, Validated, Paid] {
        post.step(step, "o-1");
    }
    post.told();
    post.report("o-1", 0, failed(false));
    assert_eq!(post.outbox(), [(5_000, "o-1".to_owned())]);
    post.report("o-1", 0, failed(false));
    assert_eq!(post.outbox(), [(5_000, "o-1".to_owned())], "a repeated report changes nothing");
    post.driver.advance_to(5_000);
    post.report("o-1", 1, failed(false));
    assert_eq!(post.outbox(), [(15_000, "o-1".to_owned())]);
    post.report("o-1", 2, failed(false));
    assert_eq!((post.outbox(), post.state("o-1")), (vec![], State::Undeliverable));
    let emitted = post.driver.emitted();
    let (events, letters): (Vec<_>, Vec<_>) = emitted.into_iter().partition(|record| record.topic == topics::MAILS);
    let [Event::GivenUp(given_up)] = &events_of(&events)[..] else { panic!("given up, and told once") };
    assert_eq!((given_up.attempts, given_up.error.as_str()), (3, "the server is away"));
    assert_eq!((letters.len(), letters[0].topic.as_str()), (1, "notifications-dead-letters"));
    let mail = pb::UndeliverableMail::decode(letters[0].value.clone()).unwrap();
    assert_eq!((mail.order_id.as_str(), mail.attempts), ("o-1", 3));
    assert!(letters[0].headers.iter().any(|header| header.value == "the server is away"));
}

#[test]
fn a_replayed_dead_letter_is_sent_once_more() {
    let mut post = Post::new();
    for step in [Customer, Placed, Validated, Paid] {
        post.step(step, "o-1");
    }
    post.report("o-1", 0, failed(true));
    assert_eq!(post.state("o-1"), State::Undeliverable);
    let letter = post.driver.emitted().into_iter().find(|record| record.topic == "notifications-dead-letters").unwrap();
    let headers = [("ordermesh-replay-topic", topics::UNDELIVERABLE_MAILS)];
    post.driver.advance_to(99);
    for _ in 0..2 {
        post.driver.record_with("notifications-replays", Some(b"c-1"), letter.value.clone(), &headers);
        assert_eq!(post.outbox(), [(0, "o-1".to_owned())]);
    }
    post.report("o-1", 1, Outcome::Sent);
    post.driver.record_with("notifications-replays", Some(b"c-1"), letter.value, &headers);
    assert_eq!((post.outbox(), post.state("o-1")), (vec![], State::Sent));
    let events = events_of(&post.driver.emitted());
    assert_eq!(events, [Event::Renewed(pb::MailRenewed {}), Event::Sent(pb::MailSent { attempts: 2 })]);
}

#[test]
fn a_replayed_dead_letter_goes_to_the_address_that_its_customer_has_by_then() {
    let mut post = Post::new();
    post.customer("c-1", "", CustomerLevel::Gold);
    for step in [Placed, Validated, Paid] {
        post.step(step, "o-1");
    }
    post.report("o-1", 0, failed(true));
    let letter = post.driver.emitted().into_iter().find(|record| record.topic == "notifications-dead-letters").unwrap();
    post.customer("c-1", " ada@example.org ", CustomerLevel::Gold);
    let headers = [("ordermesh-replay-topic", topics::UNDELIVERABLE_MAILS)];
    post.driver.record_with("notifications-replays", Some(b"c-1"), letter.value, &headers);
    assert_eq!(post.notification("o-1").unwrap().recipient, "ada@example.org");
    assert_eq!(post.outbox(), [(0, "o-1".to_owned())]);
}

#[test]
fn poison_is_put_aside() {
    let mut post = Post::new();
    let inputs =
        [topics::ORDERS_BY_CUSTOMER, topics::ORDER_CHANGES_BY_CUSTOMER, topics::ORDER_PAYMENTS, topics::CUSTOMERS];
    for topic in inputs {
        post.driver.record(topic, b"c-1", &b"\xff\xff"[..]);
        assert_eq!(post.told(), ["notifications-dead-letters"], "{topic}");
    }
    post.driver.record(
        topics::ORDER_PAYMENTS,
        b"c-9",
        OrderPaid { customer_id: "c-1".into(), ..Default::default() }.encode_to_vec(),
    );
    let event = customers::CustomerEvent {
        customer_id: "c-1".into(),
        time: None,
        event: Some(customer_event::Event::Created(customers::CustomerCreated { customer: None })),
    };
    post.driver.record(topics::CUSTOMERS, b"c-1", event.encode_to_vec());
    assert_eq!(post.told(), ["notifications-dead-letters"; 2]);
    // Kinds that this version does not know are no fault.
    let event = customers::CustomerEvent { customer_id: "c-1".into(), ..Default::default() };
    post.driver.record(topics::CUSTOMERS, b"c-1", event.encode_to_vec());
    post.changed("o-1", OrderState::Unspecified);
    assert_eq!(post.told(), [""; 0]);
}
