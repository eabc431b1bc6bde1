//! What became of commands, as long as it is remembered.

use std::time::Duration;

use proto::catalog::v1 as pb;
use proto::catalog::v1::catalog_event::Event;

use super::{ADA, Library, book_id};
use crate::stores::{EXPIRIES, NEXT, OUTCOMES, outcome_key};
use crate::{Config, wire};

const DAY_MS: i64 = 24 * 3600 * 1000;

fn outcome(library: &Library, key: &str, request_id: &str) -> Option<pb::OutcomeRow> {
    library.driver.get(OUTCOMES, &outcome_key(key, request_id)).map(|row| wire::outcome(&row).unwrap())
}

#[test]
fn a_burst_on_one_key_sees_its_predecessors_and_each_has_its_outcome() {
    let (mut library, id) = (Library::new(), book_id(1));
    library.create_book(&id, "").unwrap();
    for number in 1..=100 {
        library.add_chapter(&id, &format!("Chapter {number}"), &format!("r-{number}")).unwrap();
    }
    library.add_chapter(&id, "One too many", "r-101").unwrap_err();
    for number in 1..=100 {
        let outcome = outcome(&library, &id, &format!("r-{number}")).unwrap();
        let [pb::CatalogEvent { event: Some(Event::ChapterAdded(added)), etag, .. }] = &outcome.events[..] else {
            panic!("{outcome:?}")
        };
        assert_eq!(added.chapter.as_ref().unwrap().chapter_id, number);
        assert_eq!((etag, outcome.refusal), (&(number + 1).to_string(), None));
    }
    let refused = outcome(&library, &id, "r-101").unwrap();
    assert_eq!((refused.events.len(), refused.refusal.unwrap().reason.as_str()), (0, "TOO_MANY_CHAPTERS"));
}

#[test]
fn the_removal_of_a_book_is_one_outcome_of_many_events() {
    let (mut library, id) = (Library::new(), book_id(1));
    library.create_book(&id, "").unwrap();
    library.add_chapter(&id, "One", "").unwrap();
    library.add_chapter(&id, "Two", "").unwrap();
    library.remove_book(&id, "bye").unwrap();
    let events: Vec<_> = outcome(&library, &id, "bye").unwrap().events.into_iter().map(|e| e.event.unwrap()).collect();
    let chapter = |chapter_id| Event::ChapterRemoved(pb::ChapterRemoved { chapter_id });
    assert_eq!(events, [chapter(1), chapter(2), Event::BookRemoved(pb::BookRemoved {})]);
}

#[test]
fn outcomes_of_different_keys_do_not_mix_and_nameless_commands_leave_none() {
    let mut library = Library::new();
    library.create_author("ada", ADA, "r-1").unwrap();
    library.create_author("bob", ["Bob", "B"], "").unwrap();
    assert!(outcome(&library, "ada", "r-1").is_some());
    assert!(outcome(&library, "bob", "r-1").is_none());
    assert_eq!(library.driver.view().scan(OUTCOMES, b"", None, 10).unwrap().len(), 1);
}

#[test]
fn outcomes_are_kept_for_a_day_and_then_forgotten() {
    let mut library = Library::new();
    library.create_author("ada", ADA, "r-1").unwrap();
    library.advance_to(3_600_000);
    library.create_author("bob", ["Bob", "B"], "r-2").unwrap();
    library.advance_to(DAY_MS - 1);
    assert!(outcome(&library, "ada", "r-1").is_some());
    library.advance_to(DAY_MS + 1_000);
    assert!(outcome(&library, "ada", "r-1").is_none());
    assert!(outcome(&library, "bob", "r-2").is_some());
    library.advance_to(2 * DAY_MS);
    for store in [OUTCOMES, EXPIRIES, NEXT] {
        assert_eq!(library.driver.view().scan(store, b"", None, 10).unwrap(), [], "{}", store.name());
    }
}

#[test]
fn many_outcomes_are_forgotten_in_pages() {
    let mut library = Library::with(&Config { outcomes_kept: Duration::from_secs(10), ..Config::default() });
    for number in 0..700 {
        library.create_author("ada", ADA, &format!("r-{number}")).ok();
    }
    library.advance_to(9_999);
    assert_eq!(library.driver.view().scan(OUTCOMES, b"", None, 1_000).unwrap().len(), 700);
    library.advance_to(10_000);
    assert_eq!(library.driver.view().scan(OUTCOMES, b"", None, 1_000).unwrap().len(), 700 - 256);
    library.advance_to(11_000);
    assert_eq!(library.driver.view().scan(OUTCOMES, b"", None, 1_000).unwrap(), []);
}

#[test]
fn what_is_remembered_for_less_time_is_forgotten_first() {
    let config = Config { moved_books_kept: Duration::from_secs(60), ..Config::default() };
    let (mut library, id) = (Library::with(&config), book_id(1));
    library.create_author("ada", ADA, "r-1").unwrap();
    library.create_book(&id, "ada").unwrap();
    library.set_author(&id, "").unwrap();
    library.deliver();
    let shelves = |library: &Library| library.driver.view().scan(crate::stores::SHELVES, b"", None, 10).unwrap().len();
    assert_eq!(shelves(&library), 1);
    library.advance_to(60_000);
    assert_eq!(shelves(&library), 0);
    assert!(outcome(&library, "ada", "r-1").is_some());
}

#[test]
fn a_book_that_came_back_is_not_forgotten() {
    let config = Config { moved_books_kept: Duration::from_secs(60), ..Config::default() };
    let (mut library, id) = (Library::with(&config), book_id(1));
    library.create_book(&id, "ada").unwrap();
    library.set_author(&id, "").unwrap();
    library.set_author(&id, "ada").unwrap();
    library.deliver();
    library.advance_to(DAY_MS);
    assert_eq!(library.driver.view().scan(crate::stores::SHELVES, b"", None, 10).unwrap().len(), 1);
}
