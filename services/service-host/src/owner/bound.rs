//! How fresh the answer to a read must be, as its caller asks for it.

use std::time::Duration;

use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use task_runtime::{Consistency, Position};

use crate::{ConsistencyToken, FieldFaults, Problem};

/// A well-formed `consistency` of a request; strong when it has none.
#[derive(Debug, Clone, Default)]
pub struct ReadBound(Wanted);

#[derive(Debug, Clone, Default)]
enum Wanted {
    #[default]
    Strong,
    AtLeast(ConsistencyToken),
    MaxStaleness(Duration),
    Eventual,
}

impl ReadBound {
    /// The bound that a request asks for; its faults are noted with those of other fields.
    pub fn of(faults: &mut FieldFaults, wanted: Option<&ReadConsistency>) -> Self {
        let wanted = match wanted.and_then(|wanted| wanted.bound.as_ref()) {
            None | Some(Bound::Strong(_)) => Some(Wanted::Strong),
            Some(Bound::Eventual(_)) => Some(Wanted::Eventual),
            Some(Bound::MaxStaleness(bound)) => faults.note(staleness(bound)).map(Wanted::MaxStaleness),
            Some(Bound::AtLeast(token)) => {
                faults.note(ConsistencyToken::decode("consistency.at_least", token)).map(Wanted::AtLeast)
            }
        };
        Self(wanted.unwrap_or_default())
    }

    /// What the task of a partition of this role must meet.
    pub(super) fn of_partition(self, role: &str, partition: u32) -> Consistency {
        match self.0 {
            Wanted::Strong => Consistency::Strong,
            Wanted::Eventual => Consistency::Eventual,
            Wanted::MaxStaleness(most) => Consistency::MaxStaleness(most),
            // The token says nothing about another partition; a strong read sees every write there is.
            Wanted::AtLeast(token) if token.role != role || token.partition != partition => Consistency::Strong,
            Wanted::AtLeast(ConsistencyToken { incarnation, offset, .. }) => {
                Consistency::AtLeast(Position { incarnation, offset })
            }
        }
    }
}

fn staleness(bound: &prost_types::Duration) -> Result<Duration, Problem> {
    match (u64::try_from(bound.seconds), u32::try_from(bound.nanos)) {
        (Ok(seconds), Ok(nanos)) => Ok(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))),
        _ => Err(Problem::invalid_field("consistency.max_staleness", "must not be negative")),
    }
}
