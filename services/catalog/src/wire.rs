//! Bytes and proto to domain and back; the only place that converts.

pub(crate) mod messages;
pub(crate) mod requests;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;
use proto::catalog::v1 as pb;
use service_host::input::{InputError, check_key, decode};

use crate::domain::author::{self, Author, Names};
use crate::domain::book::{self, Book, Heading};
use crate::domain::shelf::Placed;

/// Reads a row of the authors.
pub(crate) fn author(row: &Bytes) -> Result<Author, InputError> {
    let row: pb::AuthorRow = decode("AuthorRow", row)?;
    let state = match row.state() {
        pb::AuthorState::Valid => author::State::Valid,
        pb::AuthorState::Deleted => author::State::Deleted,
        pb::AuthorState::Draft | pb::AuthorState::Unspecified => {
            return Err(InputError::UnknownValue { field: "AuthorRow.state", value: row.state });
        }
    };
    Ok(Author { names: Names { first: row.first_name, last: row.last_name }, state, version: row.version })
}

/// A row of the authors.
pub(crate) fn author_row(author: &Author) -> Vec<u8> {
    let Names { first, last } = author.names.clone();
    let state = messages::author_state(author.state).into();
    pb::AuthorRow { first_name: first, last_name: last, state, version: author.version }.encode_to_vec()
}

/// Reads a row of the books.
pub(crate) fn book(row: &Bytes) -> Result<Book, InputError> {
    let row: pb::BookRow = decode("BookRow", row)?;
    let state = match row.state() {
        pb::BookState::Valid => book::State::Valid,
        pb::BookState::Removed => book::State::Removed,
        pb::BookState::Unspecified => {
            return Err(InputError::UnknownValue { field: "BookRow.state", value: row.state });
        }
    };
    let chapters = row.chapters.into_iter().map(|chapter| Heading { id: chapter.chapter_id, title: chapter.title });
    Ok(Book {
        title: row.title,
        author_code: code(row.author_code),
        chapters: chapters.collect(),
        last_chapter_id: row.last_chapter_id,
        state,
        version: row.version,
    })
}

/// A row of the books.
pub(crate) fn book_row(book: &Book) -> Vec<u8> {
    pb::BookRow {
        title: book.title.clone(),
        author_code: book.author_code.clone().unwrap_or_default(),
        chapters: book.chapters.iter().map(messages::heading).collect(),
        last_chapter_id: book.last_chapter_id,
        state: messages::book_state(book.state).into(),
        version: book.version,
    }
    .encode_to_vec()
}

/// Reads the content in a row of the chapters.
pub(crate) fn content(row: &Bytes) -> Result<String, InputError> {
    Ok(decode::<pb::ChapterRow>("ChapterRow", row)?.content)
}

/// A row of the chapters.
pub(crate) fn content_row(content: &str) -> Vec<u8> {
    pb::ChapterRow { content: content.to_owned() }.encode_to_vec()
}

/// Reads a row of the shelves, and when it may be forgotten.
pub(crate) fn placed(row: &Bytes) -> Result<(Placed<pb::Book>, i64), InputError> {
    let row: pb::ShelfRow = decode("ShelfRow", row)?;
    Ok((Placed { version: row.version, book: row.book }, row.expires_ms))
}

/// A row of the shelves.
pub(crate) fn placed_row(placed: &Placed<pb::Book>, expires_ms: i64) -> Vec<u8> {
    pb::ShelfRow { version: placed.version, book: placed.book.clone(), expires_ms }.encode_to_vec()
}

/// What a record of `books-by-author` says: the author, the book, and what it is to the author.
pub(crate) fn news(key: Option<&Bytes>, value: &Bytes) -> Result<(String, String, Placed<pb::Book>), InputError> {
    let pb::AuthorBook { author_code, book_id, version, book, .. } = decode("AuthorBook", value)?;
    check_key("author", &author_code, key)?;
    Ok((author_code, book_id, Placed { version, book }))
}

/// Reads a row of the outcomes.
pub(crate) fn outcome(row: &Bytes) -> Result<pb::OutcomeRow, InputError> {
    decode("OutcomeRow", row)
}

/// The author that is named; none by an empty code.
pub(crate) fn code(code: String) -> Option<String> {
    (!code.is_empty()).then_some(code)
}
