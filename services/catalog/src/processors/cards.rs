//! Tells the topic `book-cards` what cards are. The view itself is joined when it is read, so that a change of an author
//! shows in all cards at once; the topic follows in pages, so that an author of many books is no large commit.
//!
//! What is told of a card is always what the card is at that moment, so that the newest record of each card is right as
//! soon as the round is over, whatever happens meanwhile.

use proto::catalog::v1 as pb;
use service_host::Chain;
use task_runtime::{Context, Definition, ProcessError, Timer};

use super::authors;
use crate::domain::author::Author;
use crate::domain::shelf::{self, Placed};
use crate::stores::{ROUNDS, SHELVES, parse_shelf_key, prefix, shelf_key};
use crate::wire::messages;
use crate::{topics, wire};

const TIMER: &str = "tell-cards";
/// Most cards of a page.
const PAGE_CARDS: usize = 128;
/// Bytes of cards after which a page ends early.
const PAGE_BYTES: usize = 256 * 1024;
/// Pause between the pages of a round, which leaves the task to others.
const PAGE_PAUSE_MS: i64 = 20;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.timer(TIMER, next_page)
}

/// Begins a round through the cards of an author, from the first one on, also while another is under way.
pub(super) fn author_changed(ctx: &mut Context<'_>, code: &str) -> Result<(), ProcessError> {
    page(ctx, code, &prefix(code))
}

fn next_page(ctx: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    let code = std::str::from_utf8(timer.key).map_err(|_| ProcessError::poison("the code is no text"))?;
    match ctx.get(ROUNDS, timer.key)? {
        Some(last) => page(ctx, code, &shelf_key(code, &String::from_utf8_lossy(&last))),
        None => Ok(()),
    }
}

/// Tells the cards behind a key of the shelves.
fn page(ctx: &mut Context<'_>, code: &str, after: &[u8]) -> Result<(), ProcessError> {
    let author = authors::load(ctx, code)?;
    let shelf = prefix(code);
    let mut rows = ctx.scan_after(SHELVES, after, PAGE_CARDS)?;
    let is_full = rows.len() == PAGE_CARDS;
    rows.retain(|(key, _)| key.starts_with(&shelf));
    let mut goes_on = is_full && rows.len() == PAGE_CARDS;
    let (mut bytes, mut last) = (0, None);
    for (index, (key, row)) in rows.iter().enumerate() {
        let Some((_, book_id)) = parse_shelf_key(key) else { continue };
        match wire::placed(row) {
            Ok((placed, _)) => bytes += tell(ctx, (code, author.as_ref()), book_id, &placed)?,
            // The author's other cards, and the command that changed the author, do not wait for somebody to see to it.
            Err(error) => tracing::error!(code, book_id, error = %Chain(&error), "passed over an unreadable card"),
        }
        last = Some(book_id);
        if bytes >= PAGE_BYTES && index + 1 < rows.len() {
            goes_on = true;
            break;
        }
    }
    match last.filter(|_| goes_on) {
        Some(last) => {
            ctx.put(ROUNDS, code.as_bytes(), last.as_bytes().to_vec());
            ctx.schedule(TIMER, code.as_bytes(), ctx.now_ms().saturating_add(PAGE_PAUSE_MS));
        }
        None if ctx.get(ROUNDS, code.as_bytes())?.is_some() => {
            ctx.delete(ROUNDS, code.as_bytes());
            ctx.cancel(TIMER, code.as_bytes());
        }
        None => {}
    }
    Ok(())
}

/// Tells what one card is, or that there is none. Returns the size of it.
pub(super) fn tell(
    ctx: &mut Context<'_>,
    (code, author): (&str, Option<&Author>),
    book_id: &str,
    placed: &Placed<pb::Book>,
) -> Result<usize, ProcessError> {
    let author_message = author.map(|author| messages::author(code, author));
    let book = shelf::on_card(author, placed);
    let card = book.map(|book| pb::BookCard { book: Some(book.clone()), author: author_message });
    let record = messages::card_event(code, book_id, card, ctx.now_ms());
    let bytes = record.len();
    ctx.emit(topics::BOOK_CARDS, code.as_bytes(), record)?;
    Ok(bytes)
}
