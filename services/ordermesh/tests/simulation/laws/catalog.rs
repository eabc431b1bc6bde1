//! The catalog: numbers are given once, a request has one outcome for ever, and shelves hold what books say.

use proto::catalog::v1 as pb;
use proto::catalog::v1::catalog_event::Event;
use proto::catalog::v1::{AuthorEvent, BookEvent, BookRow, OutcomeRow, ShelfRow, author_event, book_event};
use task_runtime::changelog::Output;
use testkit::simulation::{Oracle, Verdict, fail};

use crate::history::{Seen, Told};
use crate::rows::{BOOKS, OUTCOMES, SHELVES, decode, text};
use crate::shop::Shop;

pub(crate) const I2_OUTCOMES: &str = "I2 a request has one outcome";
const NUMBERS: &str = "I12 numbers are given once";

/// I12: the versions of an author and of a book grow by one, a removed book stays removed, and no chapter has a number that
/// another one has, or had.
pub(crate) fn i12_numbers_are_given_once(seen: &mut Seen, output: &Output) -> Verdict {
    let Some(value) = &output.value else { return Ok(()) };
    match output.topic.as_str() {
        "authors" => {
            let AuthorEvent { code, version, event, .. } = decode(value);
            let changes = !matches!(event, Some(author_event::Event::Refused(_)));
            version_follows(seen, &code, version, changes)
        }
        "books" => {
            let BookEvent { book_id, version, event, .. } = decode(value);
            let changes = !matches!(event, Some(book_event::Event::Refused(_)));
            version_follows(seen, &book_id, version, changes)?;
            let Some(book_event::Event::ChapterAdded(added)) = event else { return Ok(()) };
            let number = added.chapter.map_or(0, |chapter| chapter.chapter_id);
            let last = seen.chapters.insert(book_id.clone(), number).unwrap_or(0);
            if number == last + 1 {
                return Ok(());
            }
            fail(NUMBERS, format!("a chapter of {book_id} has number {number}, the one before had {last}"))
        }
        _ => Ok(()),
    }
}

fn version_follows(seen: &mut Seen, key: &str, version: u64, changes: bool) -> Verdict {
    let before = seen.versions.get(key).copied().unwrap_or(0);
    if version != before + u64::from(changes) {
        return fail(NUMBERS, format!("{key} goes from version {before} to {version}; it changes: {changes}"));
    }
    seen.versions.insert(key.to_owned(), version);
    Ok(())
}

/// I2: what is said of a command later is what its caller was told.
pub(crate) fn i2_outcome_is_as_told(
    request_id: &str,
    told: &Told,
    events: &[pb::CatalogEvent],
    refusal: Option<&pb::Refusal>,
) -> Verdict {
    let is_so = match (told, refusal) {
        (Told::Refused(reason), Some(refusal)) => *reason == refusal.reason && events.is_empty(),
        (Told::Done { etag, chapter_id }, None) => {
            // What was so already has no events.
            let added = events.iter().find_map(|event| match &event.event {
                Some(Event::ChapterAdded(added)) => added.chapter.as_ref().map(|chapter| chapter.chapter_id),
                _ => None,
            });
            events.last().is_none_or(|last| last.etag == *etag) && added.unwrap_or(0) == *chapter_id
        }
        _ => false,
    };
    if is_so {
        return Ok(());
    }
    fail(I2_OUTCOMES, format!("{request_id} was told {told:?}; its outcome is {events:?}, {refusal:?}"))
}

/// I1, I2: of every command that was answered the outcome is there, as it was told.
pub(crate) fn i2_outcomes_are_kept(oracle: &Oracle<Shop>) -> Verdict {
    for ((key, request_id), told) in &oracle.scenario.history.catalog {
        let row: Option<OutcomeRow> = OUTCOMES.row(oracle, &format!("{key}\0{request_id}"));
        match row {
            Some(row) => i2_outcome_is_as_told(request_id, told, &row.events, row.refusal.as_ref())?,
            None => return fail(I2_OUTCOMES, format!("{request_id} of {key} was told {told:?}, and is forgotten")),
        }
    }
    Ok(())
}

/// Every shelf holds exactly what the books say of themselves, as of their last change.
pub(crate) fn shelves_agree_with_books(oracle: &Oracle<Shop>) -> Verdict {
    const LAW: &str = "views agree";
    for (key, book) in BOOKS.rows::<BookRow>(oracle) {
        let book_id = text(key);
        let seen = oracle.scenario.seen.versions.get(&book_id).copied().unwrap_or(0);
        if book.version != seen {
            return fail(LAW, format!("book {book_id} is of version {}, its events say {seen}", book.version));
        }
        if book.author_code.is_empty() || book.state() == pb::BookState::Removed {
            continue;
        }
        let shelf: Option<ShelfRow> = SHELVES.row(oracle, &format!("{}\0{book_id}", book.author_code));
        if shelf.as_ref().is_none_or(|shelf| shelf.version != book.version || shelf.book.is_none()) {
            return fail(LAW, format!("{book_id} is {book:?}, the shelf of its author has {shelf:?}"));
        }
    }
    for (key, _) in SHELVES.rows::<ShelfRow>(oracle).filter(|(_, shelf)| shelf.book.is_some()) {
        let key = text(key);
        let Some((code, book_id)) = key.split_once('\0') else { continue };
        let book: BookRow = BOOKS.row(oracle, book_id).unwrap_or_default();
        if book.author_code != code || book.state() == pb::BookState::Removed {
            return fail(LAW, format!("{book_id} stands on the shelf of {code}, and is {book:?}"));
        }
    }
    Ok(())
}
