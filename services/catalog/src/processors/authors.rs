//! Answers what clients ask of authors. Each event and each refusal is told to the topic `authors`; the cards follow.

use service_host::reply;
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::{cards, key, outcomes};
use crate::config::{Config, ms};
use crate::domain::author::{self, Author};
use crate::stores::AUTHORS;
use crate::topics;
use crate::wire;
use crate::wire::messages::{self, AUTHOR, About};
use crate::wire::requests::{self, CREATE_AUTHOR, DELETE_AUTHOR, UPDATE_AUTHOR};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let kept_ms = ms(config.outcomes_kept);
    [CREATE_AUTHOR, UPDATE_AUTHOR, DELETE_AUTHOR].into_iter().fold(definition, |definition, name| {
        definition.command(name, move |ctx, command| process(ctx, command, kept_ms))
    })
}

fn process(ctx: &mut Context<'_>, command: &Command, kept_ms: i64) -> Result<Reply, ProcessError> {
    let code = key(command)?;
    let request_id = command.request_id.as_deref().unwrap_or_default();
    let (asked, etag) = requests::author_wish(command)?;
    let before = load(ctx, code)?;
    let version = before.as_ref().map_or(0, |author| author.version);
    let about = About { key: code, request_id, version, now_ms: ctx.now_ms() };
    let event = match author::decide(before.as_ref(), &asked, requests::version(&etag)) {
        Ok(event) => event,
        Err(refusal) => {
            let problem = messages::problem(AUTHOR, code, command.name, &etag, &refusal);
            let refusal = messages::refusal(command.name, &problem, ctx.now_ms());
            ctx.emit(topics::AUTHORS, code.as_bytes(), messages::author_refused(about, refusal.clone()))?;
            outcomes::remember(ctx, code, request_id, Err(refusal), kept_ms)?;
            return Ok(Reply(reply::encode_problem(&problem)));
        }
    };
    let mut told = Vec::new();
    let after = match (event, before) {
        (Some(event), before) => {
            let after = author::apply(before, &event);
            let (record, outcome) = messages::author_event(About { version: after.version, ..about }, &event);
            ctx.emit(topics::AUTHORS, code.as_bytes(), record)?;
            ctx.put(AUTHORS, code.as_bytes(), wire::author_row(&after));
            cards::author_changed(ctx, code)?;
            told.push(outcome);
            after
        }
        (None, Some(author)) => author,
        (None, None) => return Err(ProcessError::poison("a rule found nothing to do for an author who is not there")),
    };
    outcomes::remember(ctx, code, request_id, Ok(told), kept_ms)?;
    Ok(Reply(reply::encode_ok(&messages::author(code, &after))))
}

/// What is known of an author.
pub(super) fn load(ctx: &mut Context<'_>, code: &str) -> Result<Option<Author>, ProcessError> {
    Ok(ctx.get(AUTHORS, code.as_bytes())?.map(|row| wire::author(&row)).transpose()?)
}
