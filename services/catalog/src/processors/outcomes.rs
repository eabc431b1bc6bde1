//! Remembers what became of each command that has a request_id, beside what it was for.

use prost::Message;
use proto::catalog::v1 as pb;
use task_runtime::{Context, ProcessError};

use super::expiry;
use crate::stores::{Expiring, OUTCOMES, outcome_key};

/// Remembers the events of a command or its refusal for `kept_ms`.
pub(super) fn remember(
    ctx: &mut Context<'_>,
    key: &str,
    request_id: &str,
    outcome: Result<Vec<pb::CatalogEvent>, pb::Refusal>,
    kept_ms: i64,
) -> Result<(), ProcessError> {
    if request_id.is_empty() {
        return Ok(());
    }
    let expires_ms = ctx.now_ms().saturating_add(kept_ms);
    let row = match outcome {
        Ok(events) => pb::OutcomeRow { expires_ms, events, refusal: None },
        Err(refusal) => pb::OutcomeRow { expires_ms, events: Vec::new(), refusal: Some(refusal) },
    };
    let key = outcome_key(key, request_id);
    ctx.put(OUTCOMES, &key, row.encode_to_vec());
    expiry::add(ctx, expires_ms, Expiring::Outcome, &key)
}
