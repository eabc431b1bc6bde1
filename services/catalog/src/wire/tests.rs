//! What is written can be read again, and what must not be read is not; every refusal has its code and reason.

use service_host::{Code, Problem};

use super::*;
use crate::domain::Refusal;
use crate::wire::messages::{AUTHOR, BOOK, problem};
use crate::wire::requests::{self, version};

fn a_book() -> Book {
    Book {
        title: "Notes".into(),
        author_code: Some("ada".into()),
        chapters: vec![Heading { id: 1, title: "One".into() }, Heading { id: 3, title: String::new() }],
        last_chapter_id: 7,
        state: book::State::Valid,
        version: 9,
    }
}

#[test]
fn rows_come_back() {
    for state in [author::State::Valid, author::State::Deleted] {
        let of = Author { names: Names { first: "Ada".into(), last: "Lovelace".into() }, state, version: 3 };
        assert_eq!(author(&author_row(&of).into()).unwrap(), of);
    }
    for of in [a_book(), Book { author_code: None, chapters: vec![], state: book::State::Removed, ..a_book() }] {
        assert_eq!(book(&book_row(&of).into()).unwrap(), of);
    }
    assert_eq!(content(&content_row("Wörter").into()).unwrap(), "Wörter");
    for of in [None, Some(messages::book("b-1", &a_book()))] {
        let placed_of = Placed { version: 4, book: of };
        assert_eq!(placed(&placed_row(&placed_of, 77).into()).unwrap(), (placed_of, 77));
    }
}

#[test]
fn rows_that_say_nothing_known_are_refused() {
    assert!(matches!(author(&Bytes::new()), Err(InputError::UnknownValue { field: "AuthorRow.state", value: 0 })));
    assert!(matches!(book(&Bytes::new()), Err(InputError::UnknownValue { field: "BookRow.state", value: 0 })));
    assert!(matches!(
        outcome(&Bytes::from_static(b"\xff")),
        Err(InputError::Undecodable { message: "OutcomeRow", .. })
    ));
}

#[test]
fn news_under_a_foreign_key_are_no_news() {
    let record = Bytes::from(messages::news("ada", "b-1", Placed { version: 2, book: None }, 5));
    let (code, book_id, placed) = news(Some(&Bytes::from_static(b"ada")), &record).unwrap();
    assert_eq!((code.as_str(), book_id.as_str(), placed.version), ("ada", "b-1", 2));
    assert!(matches!(news(Some(&Bytes::from_static(b"bob")), &record), Err(InputError::ForeignKey { .. })));
    assert!(matches!(news(None, &record), Err(InputError::ForeignKey { .. })));
}

#[test]
fn every_refusal_has_its_code_and_reason() {
    let of = |subject, refusal: &Refusal| {
        let Problem { code, reason, .. } = problem(subject, "k", "Command", "5", refusal);
        (code, reason.into_owned())
    };
    let then = |code, reason: &str| (code, reason.to_owned());
    for (subject, noun) in [(AUTHOR, "AUTHOR"), (BOOK, "BOOK")] {
        assert_eq!(of(subject, &Refusal::Exists), then(Code::AlreadyExists, &format!("{noun}_EXISTS")));
        assert_eq!(of(subject, &Refusal::NotFound), then(Code::NotFound, &format!("{noun}_NOT_FOUND")));
        assert_eq!(of(subject, &Refusal::Ended), then(Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
        assert_eq!(of(subject, &Refusal::VersionConflict { current: 3 }), then(Code::Aborted, "VERSION_CONFLICT"));
    }
    assert_eq!(of(BOOK, &Refusal::NoSuchChapter(555)), then(Code::NotFound, "CHAPTER_NOT_FOUND"));
    let many = Refusal::TooManyChapters { limit: 100 };
    assert_eq!(of(BOOK, &many), then(Code::FailedPrecondition, "TOO_MANY_CHAPTERS"));
    let blank = problem(AUTHOR, "ada", "CreateAuthor", "", &Refusal::Blank(vec!["first_name", "last_name"]));
    let fields: Vec<_> = blank.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((blank.code, fields), (Code::InvalidArgument, vec!["author.first_name", "author.last_name"]));
    let ended = problem(AUTHOR, "ada", "UpdateAuthor", "", &Refusal::Ended);
    assert_eq!((ended.metadata["state"].as_str(), ended.metadata["command"].as_str()), ("DELETED", "UpdateAuthor"));
}

#[test]
fn keys_have_one_form() {
    let faults = |check: fn(&mut service_host::FieldFaults, &str, &str), value: &str| {
        let mut faults = service_host::FieldFaults::new();
        check(&mut faults, "key", value);
        faults.finish().is_err()
    };
    for right in ["a", "-", "ada_lovelace-1815", "01234567890123456789"] {
        assert!(!faults(requests::author_code, right), "{right}");
    }
    for wrong in ["", "Ada", "ada.l", "a b", "ä", "012345678901234567890"] {
        assert!(faults(requests::author_code, wrong), "{wrong}");
    }
    assert!(!faults(requests::optional_author_code, ""));
    assert!(!faults(requests::book_id, "0198c0de-0000-7abc-8def-0123456789ab"));
    for wrong in ["", "b-1", "0198C0DE-0000-7abc-8def-0123456789ab", "0198c0de00007abc8def0123456789abcdef"] {
        assert!(faults(requests::book_id, wrong), "{wrong}");
    }
}

#[test]
fn an_etag_that_is_no_version_is_no_version_of_anything() {
    assert_eq!((version(""), version("12")), (None, Some(12)));
    for nonsense in ["x", "-1", "1.5", "0", "01", "+1", " 1", "1 ", "18446744073709551616"] {
        assert_eq!(version(nonsense), Some(0), "{nonsense:?}");
    }
}
