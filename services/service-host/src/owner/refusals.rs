//! What callers are told when a task does not answer, or answers with what nobody can read.

use std::time::Duration;

use task_runtime::{CallError, Outage, StoreId};

use crate::{Chain, Code, Problem, token};

/// What a caller is told of a row or an entry that cannot be read: a bug, of which the log says more.
pub fn unreadable(what: &'static str, error: &impl std::error::Error) -> Problem {
    tracing::error!(what, error = %Chain(error), "stored bytes are unreadable");
    Problem::internal()
}

/// What a caller is told of a store that failed: its task rebuilds it, which takes a moment.
pub(crate) fn damaged(store: StoreId, error: &impl std::error::Error) -> Problem {
    tracing::warn!(store = store.name(), error = %Chain(error), "store is damaged, its task will rebuild it");
    Problem::new(Code::Unavailable, "PARTITION_REBALANCING", "the partition is being restored")
        .retry_after(Duration::from_secs(1))
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        refusal(error, "")
    }
}

/// What a caller is told of a call that was not answered; `address` is where the owner is, if that is known.
pub(super) fn refusal(error: CallError, address: &str) -> Problem {
    match error {
        CallError::Overloaded { .. } => Problem::overloaded("the partition"),
        CallError::NotOwner { service, partition, epoch, owner } => {
            let owner = owner.as_deref().map(|id| (id, address));
            Problem::not_owner(service, partition, (epoch > 0).then_some(epoch), owner)
        }
        CallError::Moving { service, partition } => Problem::rebalancing(service, partition),
        CallError::Stopped { .. } => Problem::outcome_unknown(),
        CallError::RequestIdReused => Problem::request_id_reused(""),
        CallError::NotUpToBound => Problem::not_up_to_bound(),
        CallError::ForeignPosition => token::foreign_life("consistency.at_least"),
        CallError::Poison(_) => {
            tracing::error!(%error, "request failed");
            Problem::internal()
        }
    }
}

/// Nobody can find out what became of a command without a request id, so that no advice to try again is given.
pub(super) fn outcome_unknown_for_ever(why: &str) -> Problem {
    let message = format!("{why}; without a request_id the outcome stays unknown");
    Problem::new(Code::Unavailable, "OUTCOME_UNKNOWN", message).with("outcome", "unknown")
}

/// Nothing has happened, since the log does not answer.
pub(super) fn log_away(outage: &Outage) -> Problem {
    Problem::log_unavailable("try again", outage.since.elapsed())
}

/// Nothing that is waited for can come. What the caller did before the wait, such as to create what it waits for, is done.
pub(super) fn log_away_while_waiting(outage: &Outage) -> Problem {
    Problem::log_unavailable("what is waited for may come later; read it again", outage.since.elapsed())
}

/// The log stopped answering while a command was on its way.
pub(super) fn log_went_away(outage: &Outage) -> Problem {
    Problem::log_unavailable("the outcome is unknown; try again with the same request_id", outage.since.elapsed())
}
