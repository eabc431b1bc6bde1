//! Requests of clients. Everything wrong with the form of one is told at once, each fault with its path.
//!
//! Blank names and titles are a matter of the rules, which record what they refuse. Beside other faults they are named
//! here too, for a client shall learn of all of them.

use bytes::Bytes;
use prost::Message;
use proto::catalog::v1 as pb;
use service_host::input::{InputError, decode};
use service_host::{Call, FieldFaults, Problem, ReadBound, headers, validate};
use task_runtime::Command;
use tonic::metadata::MetadataMap;

use super::code;
use crate::domain::author::{self, Names};
use crate::domain::book;

/// Name of the command behind `CreateAuthor`.
pub(crate) const CREATE_AUTHOR: &str = "CreateAuthor";
/// Name of the command behind `UpdateAuthor`.
pub(crate) const UPDATE_AUTHOR: &str = "UpdateAuthor";
/// Name of the command behind `DeleteAuthor`.
pub(crate) const DELETE_AUTHOR: &str = "DeleteAuthor";
/// Name of the command behind `CreateBook`.
pub(crate) const CREATE_BOOK: &str = "CreateBook";
/// Name of the command behind `SetBookAuthor`.
pub(crate) const SET_BOOK_AUTHOR: &str = "SetBookAuthor";
/// Name of the command behind `AddChapter`.
pub(crate) const ADD_CHAPTER: &str = "AddChapter";
/// Name of the command behind `RemoveChapter`.
pub(crate) const REMOVE_CHAPTER: &str = "RemoveChapter";
/// Name of the command behind `RemoveBook`.
pub(crate) const REMOVE_BOOK: &str = "RemoveBook";

/// Longest code of an author, in characters.
const CODE_CHARS_MAX: usize = 20;

/// The call of a CreateAuthor or an UpdateAuthor.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn author(
    mut faults: FieldFaults,
    name: &'static str,
    author: Option<pb::Author>,
    request_id: String,
) -> Result<Call, Problem> {
    validate::request_id(&mut faults, &request_id);
    let Some(author) = author else {
        faults.add("author", "must be set");
        return Err(faults.finish().err().unwrap_or_else(Problem::internal));
    };
    author_code(&mut faults, "author.code", &author.code);
    validate::text(&mut faults, "author.first_name", &author.first_name);
    validate::text(&mut faults, "author.last_name", &author.last_name);
    validate::text(&mut faults, "author.etag", &author.etag);
    let texts = [("author.first_name", author.first_name.as_str()), ("author.last_name", &author.last_name)];
    finish(faults, &texts)?;
    // What a client cannot set must not make a repeat look different.
    let wanted = pb::Author { state: 0, ..author };
    Ok(call(name, &wanted.code.clone(), request_id, &wanted))
}

/// The call of a DeleteAuthor.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn delete_author(mut faults: FieldFaults, mut request: pb::DeleteAuthorRequest) -> Result<Call, Problem> {
    validate::request_id(&mut faults, &request.request_id);
    author_code(&mut faults, "code", &request.code);
    validate::text(&mut faults, "etag", &request.etag);
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    Ok(call(DELETE_AUTHOR, &request.code, request_id, &request))
}

/// The call of a CreateBook. The gateway may have made the id.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn create_book(
    mut faults: FieldFaults,
    request: pb::CreateBookRequest,
    metadata: &MetadataMap,
) -> Result<Call, Problem> {
    validate::request_id(&mut faults, &request.request_id);
    let Some(book) = request.book else {
        faults.add("book", "must be set");
        return Err(faults.finish().err().unwrap_or_else(Problem::internal));
    };
    let made = metadata.get(headers::GENERATED_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    let id = if book.book_id.is_empty() { made } else { book.book_id.as_str() };
    book_id(&mut faults, "book.book_id", id);
    validate::text(&mut faults, "book.title", &book.title);
    optional_author_code(&mut faults, "book.author_code", &book.author_code);
    if !book.chapters.is_empty() {
        faults.add("book.chapters", "must be empty: chapters are added with AddChapter");
    }
    validate::text(&mut faults, "book.etag", &book.etag);
    finish(faults, &[("book.title", &book.title)])?;
    let key = id.to_owned();
    let wanted = pb::Book { state: 0, ..book };
    Ok(call(CREATE_BOOK, &key, request.request_id, &wanted))
}

/// The call of a SetBookAuthor.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn set_book_author(faults: FieldFaults, mut request: pb::SetBookAuthorRequest) -> Result<Call, Problem> {
    let mut faults = of_book(faults, &request.request_id, &request.book_id, &request.etag);
    optional_author_code(&mut faults, "author_code", &request.author_code);
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    Ok(call(SET_BOOK_AUTHOR, &request.book_id, request_id, &request))
}

/// The call of an AddChapter.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn add_chapter(faults: FieldFaults, mut request: pb::AddChapterRequest) -> Result<Call, Problem> {
    let mut faults = of_book(faults, &request.request_id, &request.book_id, &request.etag);
    validate::text(&mut faults, "title", &request.title);
    validate::text(&mut faults, "content", &request.content);
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    Ok(call(ADD_CHAPTER, &request.book_id, request_id, &request))
}

/// The call of a RemoveChapter.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn remove_chapter(faults: FieldFaults, mut request: pb::RemoveChapterRequest) -> Result<Call, Problem> {
    let mut faults = of_book(faults, &request.request_id, &request.book_id, &request.etag);
    if request.chapter_id < 1 {
        faults.add("chapter_id", "must be 1 or more");
    }
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    Ok(call(REMOVE_CHAPTER, &request.book_id, request_id, &request))
}

/// The call of a RemoveBook.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn remove_book(faults: FieldFaults, mut request: pb::RemoveBookRequest) -> Result<Call, Problem> {
    of_book(faults, &request.request_id, &request.book_id, &request.etag).finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    Ok(call(REMOVE_BOOK, &request.book_id, request_id, &request))
}

/// The key that a GetCommandOutcome speaks of, and how fresh its answer must be.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn outcome(
    mut faults: FieldFaults,
    request: &pb::GetCommandOutcomeRequest,
) -> Result<(String, ReadBound), Problem> {
    if request.request_id.is_empty() {
        faults.add("request_id", "must not be blank");
    }
    validate::request_id(&mut faults, &request.request_id);
    let key = match (request.code.as_str(), request.book_id.as_str()) {
        ("", "") => {
            faults.add("code", "must be set, or book_id");
            ""
        }
        (code, "") => {
            author_code(&mut faults, "code", code);
            code
        }
        ("", id) => {
            book_id(&mut faults, "book_id", id);
            id
        }
        _ => {
            faults.add("book_id", "must be empty beside code");
            ""
        }
    };
    let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
    faults.finish()?;
    Ok((key.to_owned(), bound))
}

/// A code of an author: 1-20 of `[-a-z0-9_]`.
pub(crate) fn author_code(faults: &mut FieldFaults, field: &str, value: &str) {
    if value.is_empty() {
        faults.add(field, "must not be blank");
    }
    optional_author_code(faults, field, value);
}

/// A code of an author that may be left out.
pub(crate) fn optional_author_code(faults: &mut FieldFaults, field: &str, value: &str) {
    if value.len() > CODE_CHARS_MAX {
        faults.add(field, format!("must have at most {CODE_CHARS_MAX} characters"));
    } else if !value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)) {
        faults.add(field, "must consist of lower-case letters, digits, '-' and '_'");
    }
}

/// An id of a book: a UUID as it is usually written, in one form only, since it is a key.
pub(crate) fn book_id(faults: &mut FieldFaults, field: &str, value: &str) {
    let is_right = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    if value.len() != 36 || !value.bytes().enumerate().all(is_right) {
        faults.add(field, "must be a UUID in lower case with hyphens");
    }
}

/// What a command asks of an author, and the etag that it wants.
pub(crate) fn author_wish(command: &Command) -> Result<(author::Command, String), InputError> {
    if command.name == DELETE_AUTHOR {
        let request: pb::DeleteAuthorRequest = decode("DeleteAuthorRequest", &command.payload)?;
        return Ok((author::Command::Delete, request.etag));
    }
    let wanted: pb::Author = decode("Author", &command.payload)?;
    let names = Names { first: wanted.first_name, last: wanted.last_name };
    let asked =
        if command.name == CREATE_AUTHOR { author::Command::Create(names) } else { author::Command::Update(names) };
    Ok((asked, wanted.etag))
}

/// What a command asks of a book, and the etag that it wants.
pub(crate) fn book_wish(command: &Command) -> Result<(book::Command, String), InputError> {
    Ok(match command.name {
        CREATE_BOOK => {
            let wanted: pb::Book = decode("Book", &command.payload)?;
            (book::Command::Create { title: wanted.title, author_code: code(wanted.author_code) }, wanted.etag)
        }
        SET_BOOK_AUTHOR => {
            let request: pb::SetBookAuthorRequest = decode("SetBookAuthorRequest", &command.payload)?;
            (book::Command::SetAuthor(code(request.author_code)), request.etag)
        }
        ADD_CHAPTER => {
            let request: pb::AddChapterRequest = decode("AddChapterRequest", &command.payload)?;
            (book::Command::AddChapter { title: request.title, content: request.content }, request.etag)
        }
        REMOVE_CHAPTER => {
            let request: pb::RemoveChapterRequest = decode("RemoveChapterRequest", &command.payload)?;
            (book::Command::RemoveChapter(request.chapter_id), request.etag)
        }
        _ => {
            let request: pb::RemoveBookRequest = decode("RemoveBookRequest", &command.payload)?;
            (book::Command::Remove, request.etag)
        }
    })
}

/// The version that an etag names; none when the caller does not care. Nothing has version 0, for which every etag stands that
/// is not spelled as ours are.
pub(crate) fn version(etag: &str) -> Option<u64> {
    let known = |version: &u64| version.to_string() == etag;
    (!etag.is_empty()).then(|| etag.parse().ok().filter(known).unwrap_or(0))
}

fn of_book(mut faults: FieldFaults, request_id: &str, id: &str, etag: &str) -> FieldFaults {
    validate::request_id(&mut faults, request_id);
    book_id(&mut faults, "book_id", id);
    validate::text(&mut faults, "etag", etag);
    faults
}

/// Ends the search for faults of form. Only beside some of these are blank texts a matter of form.
fn finish(mut faults: FieldFaults, texts: &[(&str, &str)]) -> Result<(), Problem> {
    if !faults.is_empty() {
        for (field, _) in texts.iter().filter(|(_, text)| text.trim().is_empty()) {
            faults.add(*field, "must not be blank");
        }
    }
    faults.finish()
}

fn call(name: &'static str, key: &str, request_id: String, wanted: &impl Message) -> Call {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Call { name, key, request_id, payload: wanted.encode_to_vec().into(), attachment: Bytes::new() }
}
