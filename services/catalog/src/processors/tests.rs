//! The whole definition without a log: what is emitted, what is stored, what a client is answered.

mod cards;
mod outcomes;

use prost::Message;
use proto::catalog::v1 as pb;
use proto::catalog::v1::{author_event, book_event};
use service_host::{Call, FieldFaults, Problem, reply};
use testkit::{Driver, Emitted};
use tonic::metadata::MetadataMap;

use crate::wire::requests::{self, CREATE_AUTHOR, UPDATE_AUTHOR};
use crate::{Config, topics};

/// A catalog of one partition. Records that it sends to itself are delivered when [`Library::deliver`] is called.
pub(super) struct Library {
    pub(super) driver: Driver,
    undelivered: Vec<Emitted>,
    told: Vec<Emitted>,
}

pub(super) fn book_id(number: u32) -> String {
    format!("0198c0de-0000-7abc-8def-{number:012x}")
}

impl Library {
    pub(super) fn new() -> Self {
        Self::with(&Config::default())
    }

    pub(super) fn with(config: &Config) -> Self {
        Self { driver: Driver::new(crate::definition(config)), undelivered: Vec::new(), told: Vec::new() }
    }

    /// Executes a call as its owner does.
    pub(super) fn execute<T: Message + Default>(&mut self, call: Result<Call, Problem>) -> Result<T, Problem> {
        let call = call?;
        let request_id = (!call.request_id.is_empty()).then_some(call.request_id.as_str());
        let answer = self.driver.command(call.name, &call.key, request_id, call.payload, call.attachment);
        self.sort_emitted();
        reply::decode(answer.map_err(Problem::from)?)
    }

    fn sort_emitted(&mut self) {
        for record in self.driver.emitted() {
            if record.topic == topics::BOOKS_BY_AUTHOR {
                self.undelivered.push(record);
            } else {
                self.told.push(record);
            }
        }
    }

    /// Records of `books-by-author` that wait for delivery.
    pub(super) fn undelivered(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.undelivered)
    }

    pub(super) fn deliver(&mut self) {
        for record in self.undelivered() {
            self.news(record);
        }
    }

    pub(super) fn news(&mut self, record: Emitted) {
        self.driver.record(&record.topic, &record.key, record.value);
        self.sort_emitted();
    }

    pub(super) fn advance_to(&mut self, now_ms: i64) {
        self.driver.advance_to(now_ms);
        self.sort_emitted();
    }

    /// What was told to a topic since the last look.
    pub(super) fn told<M: Message + Default>(&mut self, topic: &str) -> Vec<(Vec<u8>, M)> {
        let (ours, others) = std::mem::take(&mut self.told).into_iter().partition(|record| record.topic == topic);
        self.told = others;
        ours.into_iter().map(|record: Emitted| (record.key.to_vec(), M::decode(record.value).unwrap())).collect()
    }

    pub(super) fn create_author(
        &mut self,
        code: &str,
        names: [&str; 2],
        request_id: &str,
    ) -> Result<pb::Author, Problem> {
        self.execute(requests::author(
            FieldFaults::new(),
            CREATE_AUTHOR,
            Some(author(code, names, "")),
            request_id.into(),
        ))
    }

    pub(super) fn update_author(&mut self, code: &str, names: [&str; 2], etag: &str) -> Result<pb::Author, Problem> {
        self.execute(requests::author(
            FieldFaults::new(),
            UPDATE_AUTHOR,
            Some(author(code, names, etag)),
            String::new(),
        ))
    }

    pub(super) fn delete_author(&mut self, code: &str) -> Result<pb::Author, Problem> {
        let request = pb::DeleteAuthorRequest { code: code.into(), ..Default::default() };
        self.execute(requests::delete_author(FieldFaults::new(), request))
    }

    pub(super) fn create_book(&mut self, book_id: &str, author_code: &str) -> Result<pb::Book, Problem> {
        let book = pb::Book {
            book_id: book_id.into(),
            title: "Notes".into(),
            author_code: author_code.into(),
            ..Default::default()
        };
        let request = pb::CreateBookRequest { book: Some(book), request_id: String::new() };
        self.execute(requests::create_book(FieldFaults::new(), request, &MetadataMap::new()))
    }

    pub(super) fn set_author(&mut self, book_id: &str, author_code: &str) -> Result<pb::Book, Problem> {
        let request =
            pb::SetBookAuthorRequest { book_id: book_id.into(), author_code: author_code.into(), ..Default::default() };
        self.execute(requests::set_book_author(FieldFaults::new(), request))
    }

    pub(super) fn add_chapter(&mut self, book_id: &str, title: &str, request_id: &str) -> Result<pb::Book, Problem> {
        let request = pb::AddChapterRequest {
            book_id: book_id.into(),
            title: title.into(),
            content: format!("Content of {title}"),
            request_id: request_id.into(),
            ..Default::default()
        };
        self.execute(requests::add_chapter(FieldFaults::new(), request))
    }

    pub(super) fn remove_chapter(&mut self, book_id: &str, chapter_id: i64) -> Result<pb::Book, Problem> {
        let request = pb::RemoveChapterRequest { book_id: book_id.into(), chapter_id, ..Default::default() };
        self.execute(requests::remove_chapter(FieldFaults::new(), request))
    }

    pub(super) fn remove_book(&mut self, book_id: &str, request_id: &str) -> Result<pb::Book, Problem> {
        let request =
            pb::RemoveBookRequest { book_id: book_id.into(), request_id: request_id.into(), ..Default::default() };
        self.execute(requests::remove_book(FieldFaults::new(), request))
    }
}

fn author(code: &str, [first_name, last_name]: [&str; 2], etag: &str) -> pb::Author {
    pb::Author {
        code: code.into(),
        first_name: first_name.into(),
        last_name: last_name.into(),
        etag: etag.into(),
        ..Default::default()
    }
}

pub(super) const ADA: [&str; 2] = ["Ada", "Lovelace"];

fn ids(book: &pb::Book) -> Vec<i64> {
    book.chapters.iter().map(|chapter| chapter.chapter_id).collect()
}

#[test]
fn the_life_of_an_author_is_told_event_by_event() {
    let mut library = Library::new();
    let created = library.create_author("ada", ADA, "r-1").unwrap();
    assert_eq!((created.state(), created.etag.as_str()), (pb::AuthorState::Valid, "1"));
    library.update_author("ada", ["Ada", "King"], "1").unwrap();
    let deleted = library.delete_author("ada").unwrap();
    assert_eq!((deleted.state(), deleted.last_name.as_str()), (pb::AuthorState::Deleted, "King"));
    library.create_author("ada", ADA, "r-2").unwrap();
    let told: Vec<(_, pb::AuthorEvent)> = library.told(topics::AUTHORS);
    assert!(told.iter().all(|(key, event)| key == b"ada" && event.code == "ada"));
    assert_eq!(told.iter().map(|(_, event)| event.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(told[0].1.request_id, "r-1");
    use author_event::Event::{Created, Deleted, Updated};
    let events: Vec<_> = told.into_iter().map(|(_, event)| event.event.unwrap()).collect();
    assert!(matches!(&events[..], [Created(_), Updated(_), Deleted(_), Created(_)]), "{events:?}");
}

#[test]
fn a_refusal_is_answered_and_recorded_and_changes_nothing() {
    let mut library = Library::new();
    library.create_author("ada", ADA, "").unwrap();
    library.told::<pb::AuthorEvent>(topics::AUTHORS);
    let again = library.create_author("ada", ["Augusta", "Ada"], "r-2").unwrap_err();
    assert_eq!(again.reason, "AUTHOR_EXISTS");
    assert_eq!(library.update_author("ada", ADA, "7").unwrap_err().reason, "VERSION_CONFLICT");
    assert_eq!(library.delete_author("bob").unwrap_err().reason, "AUTHOR_NOT_FOUND");
    let blank = library.create_author("eve", [" ", "Moore"], "").unwrap_err();
    assert_eq!(blank.violations[0].field, "author.first_name");
    let told: Vec<(_, pb::AuthorEvent)> = library.told(topics::AUTHORS);
    let refusals: Vec<_> = told
        .into_iter()
        .map(|(_, event)| match event.event {
            Some(author_event::Event::Refused(refusal)) => (event.code, refusal.command, refusal.reason, event.version),
            other => panic!("{other:?}"),
        })
        .collect();
    let refusal =
        |code: &str, command: &str, reason: &str, version| (code.into(), command.into(), reason.into(), version);
    let expected: [(String, String, String, u64); 4] = [
        refusal("ada", "CreateAuthor", "AUTHOR_EXISTS", 1),
        refusal("ada", "UpdateAuthor", "VERSION_CONFLICT", 1),
        refusal("bob", "DeleteAuthor", "AUTHOR_NOT_FOUND", 0),
        refusal("eve", "CreateAuthor", "INVALID_FIELD", 0),
    ];
    assert_eq!(refusals, expected);
    // The author is as before.
    let same = library.update_author("ada", ADA, "1").unwrap();
    assert_eq!((same.first_name.as_str(), same.etag.as_str()), ("Ada", "1"));
    assert_eq!(library.told::<pb::AuthorEvent>(topics::AUTHORS), []);
}

#[test]
fn an_etag_counts_in_one_spelling_only_and_for_nothing_new() {
    let (mut library, id) = (Library::new(), book_id(1));
    let create_author =
        |etag: &str| requests::author(FieldFaults::new(), CREATE_AUTHOR, Some(author("ada", ADA, etag)), String::new());
    let create_book = |etag: &str| {
        let book = pb::Book { book_id: book_id(1), title: "Notes".into(), etag: etag.into(), ..Default::default() };
        let request = pb::CreateBookRequest { book: Some(book), request_id: String::new() };
        requests::create_book(FieldFaults::new(), request, &MetadataMap::new())
    };
    for etag in ["abc", "0", "1", "01"] {
        let author = library.execute::<pb::Author>(create_author(etag)).unwrap_err();
        let book = library.execute::<pb::Book>(create_book(etag)).unwrap_err();
        assert_eq!([author.reason, book.reason], ["VERSION_CONFLICT"; 2], "{etag:?}");
        assert_eq!(library.update_author("ada", ADA, etag).unwrap_err().reason, "AUTHOR_NOT_FOUND", "{etag:?}");
    }
    library.create_author("ada", ADA, "").unwrap();
    library.create_book(&id, "").unwrap();
    for etag in ["abc", "0", "01", "+1", " 1", "2"] {
        let author = library.update_author("ada", ["Ada", "King"], etag).unwrap_err();
        let request = pb::RemoveBookRequest { book_id: id.clone(), etag: etag.into(), ..Default::default() };
        let book = library.execute::<pb::Book>(requests::remove_book(FieldFaults::new(), request)).unwrap_err();
        assert_eq!([author.reason, book.reason], ["VERSION_CONFLICT"; 2], "{etag:?}");
    }
    assert_eq!(library.update_author("ada", ["Ada", "King"], "1").unwrap().etag, "2");
}

#[test]
fn chapters_come_and_go_and_their_ids_do_not_come_back() {
    let (mut library, id) = (Library::new(), book_id(1));
    library.create_book(&id, "").unwrap();
    for title in ["One", "Two", "Three"] {
        library.add_chapter(&id, title, "").unwrap();
    }
    assert_eq!(ids(&library.remove_chapter(&id, 2).unwrap()), [1, 3]);
    assert_eq!(ids(&library.add_chapter(&id, "Four", "").unwrap()), [1, 3, 4]);
    library.remove_chapter(&id, 4).unwrap();
    assert_eq!(ids(&library.add_chapter(&id, "Five", "").unwrap()), [1, 3, 5]);
    assert_eq!(library.remove_chapter(&id, 555).unwrap_err().reason, "CHAPTER_NOT_FOUND");
    library.told::<pb::BookEvent>(topics::BOOKS);
    let removed = library.remove_book(&id, "").unwrap();
    assert_eq!((removed.state(), removed.chapters.len(), removed.title.as_str()), (pb::BookState::Removed, 0, "Notes"));
    use book_event::Event::{ChapterRemoved, Removed};
    let told: Vec<_> =
        library.told::<pb::BookEvent>(topics::BOOKS).into_iter().map(|(_, e)| e.event.unwrap()).collect();
    let chapter = |chapter_id| ChapterRemoved(pb::ChapterRemoved { chapter_id });
    assert_eq!(told, [chapter(1), chapter(3), chapter(5), Removed(pb::BookRemoved {})]);
    assert!(library.driver.view().scan(crate::stores::CHAPTERS, b"", None, 10).unwrap().is_empty());
    for refused in [library.add_chapter(&id, "Six", ""), library.set_author(&id, "ada"), library.remove_book(&id, "")] {
        assert_eq!(refused.unwrap_err().reason, "ILLEGAL_TRANSITION");
    }
    assert_eq!(library.create_book(&id, "").unwrap_err().reason, "BOOK_EXISTS");
    assert_eq!(library.add_chapter(&book_id(2), "One", "").unwrap_err().reason, "BOOK_NOT_FOUND");
}

#[test]
fn a_book_has_so_many_chapters_and_not_more() {
    let (mut library, id) = (Library::with(&Config { chapters_max: 2, ..Config::default() }), book_id(1));
    library.create_book(&id, "").unwrap();
    library.add_chapter(&id, "One", "").unwrap();
    library.add_chapter(&id, "Two", "").unwrap();
    assert_eq!(library.add_chapter(&id, "Three", "").unwrap_err().reason, "TOO_MANY_CHAPTERS");
    library.remove_chapter(&id, 1).unwrap();
    assert_eq!(ids(&library.add_chapter(&id, "Three", "").unwrap()), [2, 3]);
}
