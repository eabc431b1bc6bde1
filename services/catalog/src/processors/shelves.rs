//! Takes the news of books to the shelves of their authors, where cards are joined.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{authors, cards, expiry};
use crate::config::{Config, ms};
use crate::domain::shelf;
use crate::stores::{Expiring, SHELVES, shelf_key};
use crate::{topics, wire};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let kept_ms = ms(config.moved_books_kept);
    definition.patient(topics::BOOKS_BY_AUTHOR, move |ctx, input| process(ctx, input, kept_ms))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, kept_ms: i64) -> Result<(), ProcessError> {
    let (code, book_id, news) = wire::news(input.record.key.as_ref(), input.value()?)?;
    let key = shelf_key(&code, &book_id);
    let before = ctx.get(SHELVES, &key)?.map(|row| wire::placed(&row)).transpose()?.map(|(placed, _)| placed);
    let Some(after) = shelf::place(before.as_ref(), news) else { return Ok(()) };
    let mut expires_ms = 0;
    if after.book.is_none() {
        expires_ms = ctx.now_ms().saturating_add(kept_ms);
        expiry::add(ctx, expires_ms, Expiring::Shelf, &key)?;
    }
    ctx.put(SHELVES, &key, wire::placed_row(&after, expires_ms));
    let author = authors::load(ctx, &code)?;
    let (was, is) = (
        before.as_ref().and_then(|before| shelf::on_card(author.as_ref(), before)),
        shelf::on_card(author.as_ref(), &after),
    );
    if was.is_some() || is.is_some() {
        cards::tell(ctx, (&code, author.as_ref()), &book_id, &after)?;
    }
    Ok(())
}
