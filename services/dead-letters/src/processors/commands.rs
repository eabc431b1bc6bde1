//! Sends letters back, and forgets them some time later.

use proto::mesh::v1 as pb;
use service_host::input::decode;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply, Timer};

use crate::Config;
use crate::domain::{self, Decision, Letter, LetterId, Refusal};
use crate::stores::{LETTERS, WAITING, letter_key, waiting_key, waiting_offset, waiting_prefix};
use crate::wire;

/// Name of the command behind `ReplayDeadLetter`; its payload is the request.
pub(crate) const REPLAY: &str = "replay-dead-letter";
/// Forgets one letter that was replayed.
const FORGET: &str = "forget-replayed-letter";

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let kept_ms = config.replayed_kept_ms();
    definition.command(REPLAY, move |ctx, command| replay(ctx, command, kept_ms)).timer(FORGET, forget)
}

fn replay(ctx: &mut Context<'_>, command: &Command, kept_ms: i64) -> Result<Reply, ProcessError> {
    let request: pb::ReplayDeadLetterRequest = decode("ReplayDeadLetterRequest", &command.payload)?;
    let not_found = || Reply(reply::encode_problem(&Problem::not_found("dead letter", &request.dead_letter_id)));
    let Some(id) = LetterId::parse(&request.dead_letter_id) else { return Ok(not_found()) };
    let Some(row) = ctx.get(LETTERS, &letter_key(&id))? else { return Ok(not_found()) };
    let mut row = wire::letter(&row)?;
    if row.dead_letter_id != request.dead_letter_id {
        return Ok(not_found());
    }
    let letter = Letter {
        is_replayed: row.state() == pb::DeadLetterState::Replayed,
        is_cut: row.cut_from_bytes.is_some(),
        handled_as: &row.handled_as,
        earlier: earlier(ctx, &id, &row)?,
    };
    match domain::replay(&letter) {
        Err(refusal) => {
            let earlier = match refusal {
                Refusal::EarlierWaiting(offset) => name_of(ctx, &id, offset)?,
                Refusal::Cut | Refusal::NoSource => String::new(),
            };
            return Ok(Reply(reply::encode_problem(&wire::problem(&refusal, &row, &earlier))));
        }
        Ok(Decision::Nothing) => {}
        Ok(Decision::Replay) => {
            ctx.replay(wire::replay(&id.service, &row))?;
            if let Some(key) = &row.key {
                ctx.delete(WAITING, &waiting_key(&id.service, &row.handled_as, key, id.offset));
            }
            row.state = pb::DeadLetterState::Replayed.into();
            row.replayed_ms = ctx.now_ms();
            ctx.put(LETTERS, &letter_key(&id), prost::Message::encode_to_vec(&row));
            ctx.schedule(FORGET, &letter_key(&id), ctx.now_ms().saturating_add(kept_ms));
            tracing::info!(dead_letter_id = row.dead_letter_id, topic = row.handled_as, "dead letter is replayed");
        }
    }
    let dead_letter = Some(wire::letter_to_proto(&id.service, row, false));
    Ok(Reply(reply::encode_ok(&pb::ReplayDeadLetterResponse { dead_letter, ..Default::default() })))
}

/// The first letter that waits and must go before this one. Records without a key have no order.
fn earlier(ctx: &mut Context<'_>, id: &LetterId, row: &pb::DeadLetterRow) -> Result<Option<u64>, ProcessError> {
    let Some(key) = &row.key else { return Ok(None) };
    let first = ctx.scan(WAITING, &waiting_prefix(&id.service, &row.handled_as, key), 1)?;
    Ok(first.first().and_then(|(key, _)| waiting_offset(key)).filter(|offset| *offset < id.offset))
}

/// The id of another letter of the same service.
fn name_of(ctx: &mut Context<'_>, id: &LetterId, offset: u64) -> Result<String, ProcessError> {
    let other = LetterId { offset, ..id.clone() };
    let row = ctx.get(LETTERS, &letter_key(&other))?.map(|row| wire::letter(&row)).transpose()?;
    Ok(row.map(|row| row.dead_letter_id).unwrap_or_default())
}

fn forget(ctx: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    ctx.delete(LETTERS, timer.key);
    Ok(())
}
