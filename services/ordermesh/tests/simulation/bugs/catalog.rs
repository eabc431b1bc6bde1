//! Planted bugs of the catalog.

use prost::Message;
use proto::catalog::v1::BookRow;
use task_runtime::{Definition, StoreId};

use super::row;

const BOOKS: StoreId = StoreId::new(2, "books");
const OUTCOMES: StoreId = StoreId::new(5, "outcomes");

pub(super) fn number_again(definition: Definition) -> Definition {
    definition.around_command("AddChapter", |ctx, command, inner| {
        if let Some(mut book) = row::<BookRow>(ctx, BOOKS, &command.key)? {
            book.last_chapter_id = book.chapters.last().map_or(0, |chapter| chapter.chapter_id);
            ctx.put(BOOKS, &command.key, book.encode_to_vec());
        }
        inner(ctx, command)
    })
}

pub(super) fn forget_outcome(definition: Definition) -> Definition {
    definition.around_command("RemoveChapter", |ctx, command, inner| {
        let reply = inner(ctx, command)?;
        let request_id = command.request_id.clone().unwrap_or_default();
        ctx.delete(OUTCOMES, &[&command.key[..], &[0], request_id.as_bytes()].concat());
        Ok(reply)
    })
}
