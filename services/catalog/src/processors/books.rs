//! Answers what clients ask of books. Each event and each refusal is told to the topic `books`, and the owner of the author
//! is told what the book is to the author now.

use service_host::reply;
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::{key, outcomes};
use crate::config::{Config, ms};
use crate::domain::book::{self, Book, Event, State};
use crate::domain::shelf::Placed;
use crate::stores::{BOOKS, CHAPTERS, chapter_key};
use crate::wire::messages::{self, About, BOOK};
use crate::wire::requests::{self, ADD_CHAPTER, CREATE_BOOK, REMOVE_BOOK, REMOVE_CHAPTER, SET_BOOK_AUTHOR};
use crate::{topics, wire};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let (kept_ms, chapters_max) = (ms(config.outcomes_kept), config.chapters_max);
    let names = [CREATE_BOOK, SET_BOOK_AUTHOR, ADD_CHAPTER, REMOVE_CHAPTER, REMOVE_BOOK];
    names.into_iter().fold(definition, |definition, name| {
        definition.command(name, move |ctx, command| process(ctx, command, kept_ms, chapters_max))
    })
}

fn process(ctx: &mut Context<'_>, command: &Command, kept_ms: i64, chapters_max: usize) -> Result<Reply, ProcessError> {
    let book_id = key(command)?;
    let request_id = command.request_id.as_deref().unwrap_or_default();
    let (asked, etag) = requests::book_wish(command)?;
    let before = ctx.get(BOOKS, book_id.as_bytes())?.map(|row| wire::book(&row)).transpose()?;
    let version = before.as_ref().map_or(0, |book| book.version);
    let about = About { key: book_id, request_id, version, now_ms: ctx.now_ms() };
    let events = match book::decide(before.as_ref(), &asked, requests::version(&etag), chapters_max) {
        Ok(events) => events,
        Err(refusal) => {
            let problem = messages::problem(BOOK, book_id, command.name, &etag, &refusal);
            let refusal = messages::refusal(command.name, &problem, ctx.now_ms());
            ctx.emit(topics::BOOKS, book_id.as_bytes(), messages::book_refused(about, refusal.clone()))?;
            outcomes::remember(ctx, book_id, request_id, Err(refusal), kept_ms)?;
            return Ok(Reply(reply::encode_problem(&problem)));
        }
    };
    let mut told = Vec::new();
    let mut after = before.clone();
    for event in &events {
        let book = book::apply(after, event);
        let (record, outcome) = messages::book_event(About { version: book.version, ..about }, event);
        ctx.emit(topics::BOOKS, book_id.as_bytes(), record)?;
        keep_content(ctx, book_id, event);
        told.push(outcome);
        after = Some(book);
    }
    let Some(after) = after else {
        return Err(ProcessError::poison("a rule found nothing to do for a book that is not there"));
    };
    if !events.is_empty() {
        ctx.put(BOOKS, book_id.as_bytes(), wire::book_row(&after));
        tell_authors(ctx, book_id, before.as_ref(), &after)?;
    }
    outcomes::remember(ctx, book_id, request_id, Ok(told), kept_ms)?;
    Ok(Reply(reply::encode_ok(&messages::book(book_id, &after))))
}

/// Content stands in rows of its own, so that the row that every command rewrites stays small.
fn keep_content(ctx: &mut Context<'_>, book_id: &str, event: &Event) {
    match event {
        Event::ChapterAdded { heading, content } => {
            ctx.put(CHAPTERS, &chapter_key(book_id, heading.id), wire::content_row(content));
        }
        Event::ChapterRemoved(id) => ctx.delete(CHAPTERS, &chapter_key(book_id, *id)),
        Event::Created { .. } | Event::AuthorSet(_) | Event::Removed => {}
    }
}

/// Tells the author that the book has what it looks like now, and the one that it had that it is gone.
fn tell_authors(ctx: &mut Context<'_>, book_id: &str, before: Option<&Book>, after: &Book) -> Result<(), ProcessError> {
    let author_of = |book: &Book| book.author_code.clone().filter(|_| book.state == State::Valid);
    let (had, has) = (before.and_then(author_of), author_of(after));
    let mut tell = |code: &str, book: Option<&Book>| {
        let book = book.map(|book| messages::book(book_id, book));
        let news = messages::news(code, book_id, Placed { version: after.version, book }, ctx.now_ms());
        ctx.emit(topics::BOOKS_BY_AUTHOR, code.as_bytes(), news)
    };
    if let Some(had) = had.as_ref().filter(|had| has.as_ref() != Some(had)) {
        tell(had, None)?;
    }
    match &has {
        Some(has) => tell(has, Some(after)),
        None => Ok(()),
    }
}
