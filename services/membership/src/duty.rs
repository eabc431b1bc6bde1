//! What one instance does for each task, from what is suggested, what the others tell, and what it does already.
//!
//! ```text
//!          nobody owns it, and this one is suggested, or the first standby that lives
//!  Idle, Standby ------------------------------------------------------------> Active
//!        ^                                                                       |
//!        |___ fenced by the log; or the suggested owner is there and warm, or ___|
//!             this one leaves: it finishes what is in flight, and steps down
//! ```
//!
//! Always: nobody claims a task from an owner that lives. A task moves because its owner steps down, so that no call is
//! lost on the way and two who both believe to be the owner never take it from one another for ever. Who is no member any
//! more does not live in this sense, although the others may hear it: it has lost the brokers, and can do nothing for its tasks.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{InstanceId, Life, Peers, Role, Suggestion, TaskId};

/// Who decides.
#[derive(Debug, Clone, Copy)]
pub struct Duty<'a> {
    /// This instance.
    pub me: &'a InstanceId,
    /// It is about to go.
    pub is_leaving: bool,
    /// What is suggested.
    pub suggestion: &'a Suggestion,
    /// What the others tell.
    pub peers: &'a Peers,
    /// The present.
    pub now: Instant,
}

/// What to do for each task, given the roles at present. `Active` means there that the claim has counted.
#[must_use]
pub fn duties(duty: &Duty<'_>, mine: &BTreeMap<TaskId, Role>) -> BTreeMap<TaskId, Role> {
    mine.iter().map(|(task, role)| (task.clone(), duty.role(task, *role))).collect()
}

impl Duty<'_> {
    fn role(&self, task: &TaskId, mine: Role) -> Role {
        let suggested = self.suggestion.placement.role(task, self.me);
        let rest = if self.is_leaving { Role::Idle } else { suggested.min(Role::Standby) };
        let owner = self.peers.owner(task).map(|(report, _)| &report.instance);
        let other = owner.filter(|owner| *owner != self.me);
        let is_mine = match mine {
            Role::Active => other.is_none() && !self.hands_over(task, suggested),
            _ if self.is_leaving || other.is_some_and(|owner| self.lives(owner)) => false,
            _ => suggested == Role::Active || suggested == Role::Standby && self.is_next(task, other),
        };
        if is_mine { Role::Active } else { rest }
    }

    /// Whether an owner steps down. It does so only for somebody who takes the task at once.
    fn hands_over(&self, task: &TaskId, suggested: Role) -> bool {
        let takes = |id: &InstanceId| id != self.me && self.peers.can_take(task, id, self.now);
        let placement = &self.suggestion.placement;
        if self.is_leaving {
            let standbys = placement.standbys.get(task).into_iter().flatten();
            return standbys.chain(placement.active.get(task)).any(takes);
        }
        suggested != Role::Active && placement.active.get(task).is_some_and(takes)
    }

    /// Whether this standby is the one that takes over, nobody owning the task.
    fn is_next(&self, task: &TaskId, gone: Option<&InstanceId>) -> bool {
        // It may be just this instance that is cut off. One of two cannot tell, and the log decides.
        if self.suggestion.members.len() > 2 && !self.peers.hears_anybody(self.now) {
            return false;
        }
        // The suggested owner will claim by itself, if it is there; it may just be starting.
        let placement = &self.suggestion.placement;
        let comes = |id: &InstanceId| matches!(self.peers.life(id, self.now), Life::Alive | Life::Unknown);
        if placement.active.get(task).is_some_and(|id| Some(id) != gone && comes(id)) {
            return false;
        }
        let mut standbys = placement.standbys.get(task).into_iter().flatten();
        let alive = |id: &InstanceId| self.peers.life(id, self.now) == Life::Alive;
        standbys.find(|id| *id == self.me || alive(id)) == Some(self.me)
    }

    fn lives(&self, id: &InstanceId) -> bool {
        self.suggestion.members.contains_key(id) && matches!(self.peers.life(id, self.now), Life::Alive | Life::Leaving)
    }
}

#[cfg(test)]
mod tests;
