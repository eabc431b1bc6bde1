//! What catalog tells clients and topics.

use prost::Message;
use proto::catalog::v1 as pb;
use proto::catalog::v1::{author_event, book_card_event, book_event, catalog_event};
use service_host::timestamp;
use service_host::{Code, Problem, Violation};

use crate::domain::author::{self, Author, Names};
use crate::domain::book::{self, Book, Heading};
use crate::domain::{Refusal, shelf::Placed};

/// An author as clients see it.
pub(crate) fn author(code: &str, author: &Author) -> pb::Author {
    let Names { first, last } = author.names.clone();
    pb::Author {
        code: code.to_owned(),
        first_name: first,
        last_name: last,
        state: author_state(author.state).into(),
        etag: author.version.to_string(),
    }
}

pub(crate) fn author_state(state: author::State) -> pb::AuthorState {
    match state {
        author::State::Valid => pb::AuthorState::Valid,
        author::State::Deleted => pb::AuthorState::Deleted,
    }
}

/// A book as clients see it, without the content of its chapters.
pub(crate) fn book(book_id: &str, book: &Book) -> pb::Book {
    pb::Book {
        book_id: book_id.to_owned(),
        title: book.title.clone(),
        author_code: book.author_code.clone().unwrap_or_default(),
        chapters: book.chapters.iter().map(heading).collect(),
        state: book_state(book.state).into(),
        etag: book.version.to_string(),
    }
}

pub(crate) fn book_state(state: book::State) -> pb::BookState {
    match state {
        book::State::Valid => pb::BookState::Valid,
        book::State::Removed => pb::BookState::Removed,
    }
}

pub(crate) fn heading(heading: &Heading) -> pb::Chapter {
    pb::Chapter { chapter_id: heading.id, title: heading.title.clone(), content: String::new() }
}

/// Where an event belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// Code of the author or id of the book.
    pub(crate) key: &'a str,
    /// The command's request_id; empty without one.
    pub(crate) request_id: &'a str,
    /// Version that it led to, or that it left.
    pub(crate) version: u64,
    /// Event time in milliseconds since the Unix epoch.
    pub(crate) now_ms: i64,
}

/// A record of `authors`, and the same for the outcome of its command.
pub(crate) fn author_event(about: About<'_>, event: &author::Event) -> (Vec<u8>, pb::CatalogEvent) {
    use author_event::Event as Record;
    use catalog_event::Event as Outcome;
    let (record, outcome) = match event.clone() {
        author::Event::Created(Names { first, last }) => {
            let created = pb::AuthorCreated { first_name: first, last_name: last };
            (Record::Created(created.clone()), Outcome::AuthorCreated(created))
        }
        author::Event::Updated(Names { first, last }) => {
            let updated = pb::AuthorUpdated { first_name: first, last_name: last };
            (Record::Updated(updated.clone()), Outcome::AuthorUpdated(updated))
        }
        author::Event::Deleted => (Record::Deleted(pb::AuthorDeleted {}), Outcome::AuthorDeleted(pb::AuthorDeleted {})),
    };
    (author_record(about, record), catalog_event(about, outcome))
}

/// A record of `authors` that says that a command was refused.
pub(crate) fn author_refused(about: About<'_>, refusal: pb::Refusal) -> Vec<u8> {
    author_record(about, author_event::Event::Refused(refusal))
}

fn author_record(about: About<'_>, event: author_event::Event) -> Vec<u8> {
    pb::AuthorEvent {
        code: about.key.to_owned(),
        time: Some(timestamp(about.now_ms)),
        request_id: about.request_id.to_owned(),
        version: about.version,
        event: Some(event),
    }
    .encode_to_vec()
}

/// A record of `books`, and the same for the outcome of its command.
pub(crate) fn book_event(about: About<'_>, event: &book::Event) -> (Vec<u8>, pb::CatalogEvent) {
    use book_event::Event as Record;
    use catalog_event::Event as Outcome;
    let (record, outcome) = match event.clone() {
        book::Event::Created { title, author_code } => {
            let created = pb::BookCreated { title, author_code: author_code.unwrap_or_default() };
            (Record::Created(created.clone()), Outcome::BookCreated(created))
        }
        book::Event::AuthorSet(author_code) => {
            let set = pb::BookAuthorSet { author_code: author_code.unwrap_or_default() };
            (Record::AuthorSet(set.clone()), Outcome::BookAuthorSet(set))
        }
        book::Event::ChapterAdded { heading: Heading { id, title }, content } => {
            let chapter = pb::Chapter { chapter_id: id, title, content };
            let added = pb::ChapterAdded { chapter: Some(chapter) };
            (Record::ChapterAdded(added.clone()), Outcome::ChapterAdded(added))
        }
        book::Event::ChapterRemoved(chapter_id) => {
            let removed = pb::ChapterRemoved { chapter_id };
            (Record::ChapterRemoved(removed), Outcome::ChapterRemoved(removed))
        }
        book::Event::Removed => (Record::Removed(pb::BookRemoved {}), Outcome::BookRemoved(pb::BookRemoved {})),
    };
    (book_record(about, record), catalog_event(about, outcome))
}

/// A record of `books` that says that a command was refused.
pub(crate) fn book_refused(about: About<'_>, refusal: pb::Refusal) -> Vec<u8> {
    book_record(about, book_event::Event::Refused(refusal))
}

fn book_record(about: About<'_>, event: book_event::Event) -> Vec<u8> {
    pb::BookEvent {
        book_id: about.key.to_owned(),
        time: Some(timestamp(about.now_ms)),
        request_id: about.request_id.to_owned(),
        version: about.version,
        event: Some(event),
    }
    .encode_to_vec()
}

fn catalog_event(about: About<'_>, event: catalog_event::Event) -> pb::CatalogEvent {
    pb::CatalogEvent { time: Some(timestamp(about.now_ms)), etag: about.version.to_string(), event: Some(event) }
}

/// A record of `books-by-author`.
pub(crate) fn news(code: &str, book_id: &str, placed: Placed<pb::Book>, now_ms: i64) -> Vec<u8> {
    pb::AuthorBook {
        author_code: code.to_owned(),
        book_id: book_id.to_owned(),
        version: placed.version,
        time: Some(timestamp(now_ms)),
        book: placed.book,
    }
    .encode_to_vec()
}

/// A record of `book-cards`; without a card there is none any more.
pub(crate) fn card_event(code: &str, book_id: &str, card: Option<pb::BookCard>, now_ms: i64) -> Vec<u8> {
    use book_card_event::Event;
    pb::BookCardEvent {
        author_code: code.to_owned(),
        book_id: book_id.to_owned(),
        time: Some(timestamp(now_ms)),
        event: Some(card.map_or(Event::Removed(pb::BookCardRemoved {}), Event::Updated)),
    }
    .encode_to_vec()
}

/// What commands are about, as clients are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// For people.
    pub(crate) noun: &'static str,
    /// For programs: `<REASON>_EXISTS`.
    exists: &'static str,
    /// State behind which there is nothing.
    end: &'static str,
}

pub(crate) const AUTHOR: Subject = Subject { noun: "author", exists: "AUTHOR_EXISTS", end: "DELETED" };
pub(crate) const BOOK: Subject = Subject { noun: "book", exists: "BOOK_EXISTS", end: "REMOVED" };

/// What a client is told of a refusal. `etag` is the version that it wanted.
pub(crate) fn problem(subject: Subject, key: &str, command: &str, etag: &str, refusal: &Refusal) -> Problem {
    let noun = subject.noun;
    match refusal {
        Refusal::Blank(fields) => {
            let violation = |field: &&str| Violation {
                field: format!("{noun}.{field}"),
                description: "must not be blank".to_owned(),
            };
            Problem::invalid_fields(fields.iter().map(violation).collect())
        }
        Refusal::Exists => Problem::new(Code::AlreadyExists, subject.exists, format!("{noun} {key} exists already"))
            .with(format!("{noun}_id"), key),
        Refusal::NotFound => Problem::not_found(noun, key),
        Refusal::VersionConflict { current } => Problem::version_conflict(current, etag),
        Refusal::Ended => Problem::illegal_transition(subject.end, command),
        Refusal::NoSuchChapter(id) => Problem::not_found("chapter", &id.to_string()).with("book_id", key),
        Refusal::TooManyChapters { limit } => {
            Problem::refused("TOO_MANY_CHAPTERS", format!("a book has at most {limit} chapters")).with("limit", limit)
        }
    }
}

/// A refusal as it is recorded: what the client was told.
pub(crate) fn refusal(command: &str, problem: &Problem, now_ms: i64) -> pb::Refusal {
    pb::Refusal {
        command: command.to_owned(),
        reason: problem.reason.clone().into_owned(),
        message: problem.message.clone(),
        time: Some(timestamp(now_ms)),
    }
}
