//! Membership from the configuration: a fixed list of instances, each of which computes the same placement from it.
//!
//! Nobody has to be asked for it, so that it serves tests and meshes without a broker that knows groups. Instances of the
//! list that are down are not removed from it: their tasks are taken over by standbys on suspicion.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::{Assignor, Members, Placement, Situation, Suggestion, Suggestions};

/// A list of members that somebody else decides.
#[derive(Debug)]
pub struct Static {
    assignor: Assignor,
    partitions: u32,
    suggestion: watch::Sender<Suggestion>,
}

impl Static {
    /// A membership of these members.
    #[must_use]
    pub fn new(assignor: Assignor, partitions: u32, members: Members) -> Self {
        let suggestion = Self::suggest(assignor, partitions, members, 1);
        Self { assignor, partitions, suggestion: watch::Sender::new(suggestion) }
    }

    /// Its suggestions.
    #[must_use]
    pub fn suggestions(&self) -> Suggestions {
        self.suggestion.subscribe()
    }

    /// Replaces the list, as every other instance must too.
    pub fn replace(&self, members: Members) {
        self.suggestion.send_modify(|suggestion| {
            let generation = suggestion.generation + 1;
            *suggestion = Self::suggest(self.assignor, self.partitions, members, generation);
        });
    }

    /// From the list alone: what runs at present differs between instances that see it at different times.
    fn suggest(assignor: Assignor, partitions: u32, members: Members, generation: u64) -> Suggestion {
        let (current, leaving, warm) = (Placement::default(), BTreeSet::new(), BTreeSet::new());
        let now = Situation { partitions, members: &members, current: &current, leaving: &leaving, warm: &warm };
        let placement = assignor.target(&now);
        Suggestion { generation, members, placement }
    }
}
