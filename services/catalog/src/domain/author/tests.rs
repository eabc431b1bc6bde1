//! Given, when, then: every command in every state.

use super::*;

fn names(first: &str, last: &str) -> Names {
    Names { first: first.into(), last: last.into() }
}

fn ada() -> Names {
    names("Ada", "Lovelace")
}

fn author(state: State, version: u64) -> Option<Author> {
    Some(Author { names: ada(), state, version })
}

/// Given an author, when a command comes, then this happens; the author after it, or the same one after a refusal.
#[track_caller]
fn check(given: &Option<Author>, command: &Command, wanted: Option<u64>, then: Result<Option<Event>, Refusal>) {
    assert_eq!(decide(given.as_ref(), command, wanted), then, "{given:?} {command:?} {wanted:?}");
}

#[test]
fn an_author_is_created_unless_valid() {
    let create = Command::Create(ada());
    let created = || Ok(Some(Event::Created(ada())));
    check(&None, &create, None, created());
    check(&author(State::Deleted, 2), &create, None, created());
    check(&author(State::Valid, 1), &create, None, Err(Refusal::Exists));
    // The same names are no excuse, nor is a fitting version.
    check(&author(State::Valid, 1), &create, Some(1), Err(Refusal::Exists));
}

#[test]
fn only_a_valid_author_is_updated() {
    let update = Command::Update(names("Ada", "King"));
    check(&author(State::Valid, 1), &update, None, Ok(Some(Event::Updated(names("Ada", "King")))));
    check(&author(State::Deleted, 2), &update, None, Err(Refusal::Ended));
    check(&None, &update, None, Err(Refusal::NotFound));
    check(&author(State::Valid, 1), &Command::Update(ada()), None, Ok(None));
}

#[test]
fn only_a_valid_author_is_deleted() {
    check(&author(State::Valid, 3), &Command::Delete, None, Ok(Some(Event::Deleted)));
    check(&author(State::Deleted, 4), &Command::Delete, None, Err(Refusal::Ended));
    check(&None, &Command::Delete, None, Err(Refusal::NotFound));
}

#[test]
fn blank_names_are_named_all_at_once() {
    for (first, last, blank) in
        [("", "x", vec!["first_name"]), ("x", " \t", vec!["last_name"]), (" ", "", vec!["first_name", "last_name"])]
    {
        for command in [Command::Create(names(first, last)), Command::Update(names(first, last))] {
            for given in [None, author(State::Valid, 1), author(State::Deleted, 2)] {
                check(&given, &command, None, Err(Refusal::Blank(blank.clone())));
            }
        }
    }
}

#[test]
fn a_version_that_is_wanted_must_be_current() {
    let conflict = |current| Err(Refusal::VersionConflict { current });
    check(&author(State::Valid, 3), &Command::Delete, Some(3), Ok(Some(Event::Deleted)));
    check(&author(State::Valid, 3), &Command::Delete, Some(2), conflict(3));
    check(&author(State::Valid, 3), &Command::Update(ada()), Some(0), conflict(3));
    check(&author(State::Deleted, 4), &Command::Delete, Some(3), conflict(4));
    check(&author(State::Deleted, 4), &Command::Create(ada()), Some(4), Ok(Some(Event::Created(ada()))));
    for wanted in [0, 1, u64::MAX] {
        check(&None, &Command::Create(ada()), Some(wanted), conflict(0));
        check(&None, &Command::Update(ada()), Some(wanted), Err(Refusal::NotFound));
        check(&None, &Command::Delete, Some(wanted), Err(Refusal::NotFound));
    }
}

#[test]
fn names_survive_deletion_and_versions_never_fall() {
    let run = [Event::Created(ada()), Event::Deleted, Event::Created(names("Ada", "King")), Event::Deleted];
    let mut author = None;
    let mut seen = Vec::new();
    for event in &run {
        let after = apply(author, event);
        seen.push((after.names.last.clone(), after.state, after.version));
        author = Some(after);
    }
    let expected = [
        ("Lovelace".to_owned(), State::Valid, 1),
        ("Lovelace".to_owned(), State::Deleted, 2),
        ("King".to_owned(), State::Valid, 3),
        ("King".to_owned(), State::Deleted, 4),
    ];
    assert_eq!(seen, expected);
}
