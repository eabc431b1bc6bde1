//! Given, when, then: every command in every state, and the laws of chapters under any run of commands.

use proptest::prelude::*;

use super::*;

const CHAPTERS_MAX: usize = 4;

fn heading(id: i64) -> Heading {
    Heading { id, title: format!("Chapter {id}") }
}

fn book(chapters: &[i64], last_chapter_id: i64) -> Book {
    Book {
        title: "Notes".into(),
        author_code: Some("ada".into()),
        chapters: chapters.iter().copied().map(heading).collect(),
        last_chapter_id,
        state: State::Valid,
        version: 7,
    }
}

fn removed() -> Book {
    Book { state: State::Removed, ..book(&[], 3) }
}

fn create(title: &str) -> Command {
    Command::Create { title: title.into(), author_code: Some("ada".into()) }
}

fn add(title: &str) -> Command {
    Command::AddChapter { title: title.into(), content: "words".into() }
}

/// Given a book, when a command comes, then this happens.
#[track_caller]
fn check(given: Option<&Book>, command: &Command, wanted: Option<u64>, then: Result<Vec<Event>, Refusal>) {
    assert_eq!(decide(given, command, wanted, CHAPTERS_MAX), then, "{given:?} {command:?} {wanted:?}");
}

#[test]
fn a_book_is_created_once() {
    let created = Event::Created { title: "Notes".into(), author_code: Some("ada".into()) };
    check(None, &create("Notes"), None, Ok(vec![created]));
    check(Some(&book(&[], 0)), &create("Notes"), None, Err(Refusal::Exists));
    check(Some(&removed()), &create("Notes"), None, Err(Refusal::Exists));
    check(None, &create(" "), None, Err(Refusal::Blank(vec!["title"])));
    for wanted in [0, 1, u64::MAX] {
        check(None, &create("Notes"), Some(wanted), Err(Refusal::VersionConflict { current: 0 }));
    }
}

#[test]
fn commands_on_an_unknown_or_removed_book_are_refused() {
    for command in [Command::SetAuthor(None), add("x"), Command::RemoveChapter(1), Command::Remove] {
        check(None, &command, None, Err(Refusal::NotFound));
        check(Some(&removed()), &command, None, Err(Refusal::Ended));
    }
}

#[test]
fn an_author_can_be_set_changed_and_taken_away() {
    let given = book(&[], 0);
    let bob = Some("bob".to_owned());
    check(Some(&given), &Command::SetAuthor(bob.clone()), None, Ok(vec![Event::AuthorSet(bob)]));
    check(Some(&given), &Command::SetAuthor(None), None, Ok(vec![Event::AuthorSet(None)]));
    check(Some(&given), &Command::SetAuthor(Some("ada".into())), None, Ok(vec![]));
}

#[test]
fn a_new_chapter_gets_the_next_id_even_after_the_last_one_went() {
    let added = |id| {
        let heading = Heading { id, title: "New".into() };
        Ok(vec![Event::ChapterAdded { heading, content: "words".into() }])
    };
    check(Some(&book(&[], 0)), &add("New"), None, added(1));
    check(Some(&book(&[1, 3], 3)), &add("New"), None, added(4));
    check(Some(&book(&[1], 3)), &add("New"), None, added(4));
    check(Some(&book(&[1, 2, 3, 4], 4)), &add("New"), None, Err(Refusal::TooManyChapters { limit: CHAPTERS_MAX }));
}

#[test]
fn only_a_chapter_that_is_there_is_removed() {
    let given = book(&[1, 3], 3);
    check(Some(&given), &Command::RemoveChapter(3), None, Ok(vec![Event::ChapterRemoved(3)]));
    for absent in [2, 4, 555, 0, -1, i64::MAX] {
        check(Some(&given), &Command::RemoveChapter(absent), None, Err(Refusal::NoSuchChapter(absent)));
    }
}

#[test]
fn a_book_is_removed_chapter_by_chapter() {
    let then = vec![Event::ChapterRemoved(1), Event::ChapterRemoved(3), Event::Removed];
    check(Some(&book(&[1, 3], 3)), &Command::Remove, None, Ok(then));
    check(Some(&book(&[], 3)), &Command::Remove, None, Ok(vec![Event::Removed]));
}

#[test]
fn a_version_that_is_wanted_must_be_current() {
    let conflict = Err(Refusal::VersionConflict { current: 7 });
    for command in [Command::SetAuthor(None), add("x"), Command::RemoveChapter(555), Command::Remove] {
        check(Some(&book(&[1], 1)), &command, Some(6), conflict.clone());
        check(Some(&removed()), &command, Some(8), conflict.clone());
    }
    check(Some(&book(&[], 0)), &Command::Remove, Some(7), Ok(vec![Event::Removed]));
    for command in [Command::SetAuthor(None), add("x"), Command::RemoveChapter(555), Command::Remove] {
        check(None, &command, Some(0), Err(Refusal::NotFound));
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => Just(create("Notes")),
        2 => prop_oneof![Just(None), Just(Some("ada".to_owned())), Just(Some("bob".to_owned()))]
            .prop_map(Command::SetAuthor),
        6 => Just(add("New")),
        4 => (0..8_i64).prop_map(Command::RemoveChapter),
        1 => Just(Command::Remove),
    ]
}

proptest! {
    /// Ids of chapters only grow, versions count events, and what is removed stays so.
    #[test]
    fn chapters_are_numbered_once(commands in proptest::collection::vec(any_command(), 1..60)) {
        let (mut book, mut events_seen, mut given) = (None, 0, Vec::new());
        for command in commands {
            let Ok(events) = decide(book.as_ref(), &command, None, CHAPTERS_MAX) else { continue };
            for event in events {
                events_seen += 1;
                if let Event::ChapterAdded { heading, .. } = &event {
                    given.push(heading.id);
                }
                let was_removed = book.as_ref().is_some_and(|book: &Book| book.state == State::Removed);
                prop_assert!(!was_removed, "{event:?} after the removal");
                let after = apply(book, &event);
                prop_assert_eq!(after.version, events_seen);
                prop_assert!(after.chapters.is_sorted_by(|a, b| a.id < b.id));
                prop_assert!(after.chapters.len() <= CHAPTERS_MAX);
                prop_assert!(after.state == State::Valid || after.chapters.is_empty());
                book = Some(after);
            }
        }
        let expected: Vec<i64> = (1..).take(given.len()).collect();
        prop_assert_eq!(given, expected);
    }
}
