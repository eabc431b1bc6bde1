//! Pages of one partition's authors, books and cards.

use proto::catalog::v1 as pb;
use service_host::{FieldFaults, Listed, Page, Problem, owner};
use task_runtime::View;

use super::{author_of, read_book};
use crate::domain::author::{self, Author};
use crate::domain::{book, shelf};
use crate::stores::{AUTHORS, BOOKS, SHELVES, parse_shelf_key, prefix};
use crate::wire::{self, messages};

/// The state that is asked for: valid when it is not said. Nobody is a draft.
pub(super) fn author_state(faults: &mut FieldFaults, wanted: i32) -> Option<author::State> {
    match pb::AuthorState::try_from(wanted) {
        Ok(pb::AuthorState::Unspecified | pb::AuthorState::Valid) => Some(author::State::Valid),
        Ok(pb::AuthorState::Deleted) => Some(author::State::Deleted),
        Ok(pb::AuthorState::Draft) => None,
        Err(_) => {
            faults.add("state", "is not a state of an author");
            None
        }
    }
}

/// The state that is asked for: valid when it is not said.
pub(super) fn book_state(faults: &mut FieldFaults, wanted: i32) -> book::State {
    match pb::BookState::try_from(wanted) {
        Ok(pb::BookState::Removed) => book::State::Removed,
        Ok(pb::BookState::Unspecified | pb::BookState::Valid) => book::State::Valid,
        Err(_) => {
            faults.add("state", "is not a state of a book");
            book::State::Valid
        }
    }
}

/// A page of the authors in a state.
pub(super) fn authors(
    view: &View<'_>,
    page: &Page,
    state: Option<author::State>,
    rows_max: usize,
) -> Result<Listed<pb::Author>, Problem> {
    page.fill(view, AUTHORS, b"", rows_max, |key, row| {
        let author = wire::author(&row).map_err(|error| owner::unreadable("row of an author", &error))?;
        Ok((Some(author.state) == state).then(|| messages::author(&String::from_utf8_lossy(key), &author)))
    })
}

/// A page of the books in a state, of one author or all.
pub(super) fn books(
    view: &View<'_>,
    page: &Page,
    author_code: &str,
    state: book::State,
    rows_max: usize,
) -> Result<Listed<pb::Book>, Problem> {
    page.fill(view, BOOKS, b"", rows_max, |key, row| {
        let book = read_book(&row)?;
        let is_theirs = author_code.is_empty() || book.author_code.as_deref() == Some(author_code);
        let is_wanted = is_theirs && book.state == state;
        Ok(is_wanted.then(|| messages::book(&String::from_utf8_lossy(key), &book)))
    })
}

/// A page of the cards, of one author or all.
pub(super) fn book_cards(
    view: &View<'_>,
    page: &Page,
    author_code: &str,
    rows_max: usize,
) -> Result<Listed<pb::BookCard>, Problem> {
    let of_author = if author_code.is_empty() { Vec::new() } else { prefix(author_code) };
    // Cards of one author stand next to each other.
    let mut latest: Option<(String, Option<Author>)> = None;
    page.fill(view, SHELVES, &of_author, rows_max, |key, row| {
        let Some((code, _)) = parse_shelf_key(key) else { return Ok(None) };
        let (placed, _) = wire::placed(&row).map_err(|error| owner::unreadable("row of a shelf", &error))?;
        if latest.as_ref().is_none_or(|(latest, _)| latest != code) {
            latest = Some((code.to_owned(), author_of(view, code)?));
        }
        let author = latest.as_ref().and_then(|(_, author)| author.as_ref());
        let book = shelf::on_card(author, &placed);
        Ok(book.map(|book| pb::BookCard {
            book: Some(book.clone()),
            author: author.map(|author| messages::author(code, author)),
        }))
    })
}
