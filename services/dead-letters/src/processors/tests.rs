//! The whole definition without a log: what is kept of a letter, what goes back, and that its order is kept.

use prost::Message;
use proto::mesh::v1 as pb;
use service_host::{Problem, reply};
use task_runtime::Definition;
use testkit::Driver;

use super::commands::REPLAY;
use crate::Config;
use crate::stores::{LETTERS, WAITING};
use crate::wire;

const HOUR_MS: i64 = 3_600_000;

struct Office {
    driver: Driver,
}

impl Office {
    fn new() -> Self {
        let services = [Definition::new("orders"), Definition::new("shipping")];
        let definition = crate::definition(&Config::default(), &services.each_ref());
        Self { driver: Driver::new(definition) }
    }

    /// A letter of orders about a record of `shipments`.
    fn letter(&mut self, key: Option<&[u8]>, value: &'static [u8], headers: &[(&'static str, &str)]) -> String {
        let ours = [("ordermesh-dead-letter-reason", "no"), ("ordermesh-dead-letter-source", "shipments/0/41")];
        let headers = [&ours[..], headers].concat();
        self.driver.record_with("orders-dead-letters", key, value, &headers);
        self.letters().last().unwrap().dead_letter_id.clone()
    }

    fn letters(&self) -> Vec<pb::DeadLetterRow> {
        let rows = self.driver.view().scan(LETTERS, b"", None, 1_000).unwrap();
        rows.iter().map(|(_, row)| wire::letter(row).unwrap()).collect()
    }

    fn replay(&mut self, id: &str) -> Result<pb::DeadLetter, Problem> {
        let request = pb::ReplayDeadLetterRequest { dead_letter_id: id.into(), request_id: String::new() };
        let answer = self.driver.command(REPLAY, id.as_bytes(), None, request.encode_to_vec(), "").unwrap();
        reply::decode::<pb::ReplayDeadLetterResponse>(answer).map(|response| response.dead_letter.unwrap())
    }
}

#[test]
fn a_letter_is_kept_with_everything_that_it_says() {
    let mut office = Office::new();
    office.letter(Some(b"o-1"), b"\xff\xfe", &[("their-own", "header")]);
    let letters = office.letters();
    let letter = wire::letter_to_proto("orders", letters[0].clone(), true);
    assert_eq!((letter.reason.as_str(), letter.topic.as_str(), letter.offset), ("no", "shipments", 41));
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"o-1"[..]), Some(&b"\xff\xfe"[..])));
    assert_eq!(letter.headers.len(), 1);
    assert_eq!((letter.headers[0].name.as_str(), &letter.headers[0].value[..]), ("their-own", &b"header"[..]));
    assert_eq!((letter.state(), letter.is_cut), (pb::DeadLetterState::Waiting, false));
}

#[test]
fn a_replay_sends_the_record_back_as_it_was_and_a_repeat_does_nothing() {
    let mut office = Office::new();
    office.driver.advance_to(5);
    let id = office.letter(Some(b"o-1"), b"\xff\xfe", &[("their-own", "header")]);
    office.driver.advance_to(HOUR_MS);
    let replayed = office.replay(&id).unwrap();
    assert_eq!(replayed.state(), pb::DeadLetterState::Replayed);
    let sent = office.driver.emitted();
    assert_eq!((sent.len(), sent[0].topic.as_str(), sent[0].timestamp_ms), (1, "orders-replays", 5));
    assert_eq!((&sent[0].key[..], &sent[0].value[..]), (&b"o-1"[..], &b"\xff\xfe"[..]));
    let headers: Vec<_> = sent[0].headers.iter().map(|h| (&h.name[..], &h.value[..])).collect();
    let place = [(&b"ordermesh-replay-topic"[..], &b"shipments"[..]), (b"ordermesh-replay-offset", b"41")];
    assert_eq!(headers, [place[0], place[1], (b"their-own", b"header")]);
    assert_eq!(office.replay(&id).unwrap(), replayed);
    assert_eq!(office.driver.emitted(), []);
}

#[test]
fn letters_of_one_key_go_back_in_the_order_in_which_they_came() {
    let mut office = Office::new();
    let first = office.letter(Some(b"o-1"), b"1", &[]);
    let other = office.letter(Some(b"o-2"), b"2", &[]);
    let second = office.letter(Some(b"o-1"), b"3", &[]);
    let refused = office.replay(&second).unwrap_err();
    assert_eq!((refused.reason.as_ref(), &refused.metadata["dead_letter_id"]), ("EARLIER_LETTER_WAITING", &first));
    office.replay(&other).unwrap();
    office.replay(&first).unwrap();
    office.replay(&second).unwrap();
    let values: Vec<_> = office.driver.emitted().into_iter().map(|record| record.value).collect();
    assert_eq!(values, [&b"2"[..], b"1", b"3"]);
    assert_eq!(office.driver.view().scan(WAITING, b"", None, 9).unwrap(), []);
}

#[test]
fn records_without_a_key_have_no_order() {
    let mut office = Office::new();
    office.letter(None, b"1", &[]);
    let second = office.letter(None, b"2", &[]);
    office.replay(&second).unwrap();
    assert_eq!(office.driver.emitted().len(), 1);
}

#[test]
fn a_record_that_failed_again_goes_to_the_same_handler_with_its_first_place() {
    let mut office = Office::new();
    let headers = [
        ("ordermesh-dead-letter-reason", "still no"),
        ("ordermesh-dead-letter-source", "orders-replays/0/3"),
        ("ordermesh-replay-topic", "shipments"),
        ("ordermesh-replay-offset", "41"),
    ];
    office.driver.record_with("orders-dead-letters", Some(b"o-1"), &b"1"[..], &headers);
    let letter = office.letters().pop().unwrap();
    assert_eq!((letter.topic.as_str(), letter.handled_as.as_str()), ("orders-replays", "shipments"));
    office.replay(&letter.dead_letter_id).unwrap();
    let headers: Vec<_> =
        office.driver.emitted()[0].headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect();
    let place = [("ordermesh-replay-topic", "shipments"), ("ordermesh-replay-offset", "41")];
    assert_eq!(headers, place.map(|(name, value)| (name.into(), value.into())), "the place that it had at first");
}

#[test]
fn what_cannot_be_replayed_says_why_and_stays() {
    let mut office = Office::new();
    let cut = office.letter(Some(b"o-1"), b"1", &[("ordermesh-dead-letter-cut", "900000")]);
    let refused = office.replay(&cut).unwrap_err();
    assert_eq!((refused.reason.as_ref(), refused.metadata["topic"].as_str()), ("LETTER_CUT", "shipments"));
    assert_eq!(wire::letter_to_proto("orders", office.letters()[0].clone(), true).value_bytes, 900_000);
    // Somebody else has written into the topic.
    office.driver.record_with("orders-dead-letters", Some(b"o-9"), &b"1"[..], &[]);
    let strange = office.letters()[1].dead_letter_id.clone();
    assert_eq!(office.replay(&strange).unwrap_err().reason, "LETTER_WITHOUT_SOURCE");
    for unknown in ["orders.0.99.0", "orders.0.0.7", "nonsense", "shipping.0.0.0"] {
        assert_eq!(office.replay(unknown).unwrap_err().reason, "DEAD_LETTER_NOT_FOUND", "{unknown}");
    }
    assert_eq!((office.letters().len(), office.driver.emitted().len()), (2, 0));
}

#[test]
fn a_replayed_letter_is_forgotten_some_time_later_and_a_waiting_one_never() {
    let mut office = Office::new();
    let replayed = office.letter(Some(b"o-1"), b"1", &[]);
    let waiting = office.letter(Some(b"o-2"), b"2", &[]);
    office.replay(&replayed).unwrap();
    office.driver.advance_to(7 * 24 * HOUR_MS - 1);
    assert_eq!(office.letters().len(), 2);
    office.driver.advance_to(1_000 * 24 * HOUR_MS);
    assert_eq!(office.letters().iter().map(|letter| &letter.dead_letter_id).collect::<Vec<_>>(), [&waiting]);
}
