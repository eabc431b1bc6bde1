//! Computes placements: balanced, sticky, standbys elsewhere. Pure, and the same on every machine.
//!
//! Two results matter. The *target* is where everything should end up: owners balanced for each service and in sum. The
//! *step* is what to do now to get there: a task that runs moves only to an instance that is warm, so that nobody waits for
//! a restore; a task whose owner is gone goes to a warm standby at once, be it balanced or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{InstanceId, Member, Members, Placement, TaskId};

/// Computes placements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignor {
    /// Standbys of each task, where there are enough members.
    pub standbys: usize,
    /// Tasks that are being warmed up for a move at one time: restoring takes time from what the members do otherwise.
    pub warmups_max: usize,
}

impl Default for Assignor {
    fn default() -> Self {
        Self { standbys: 1, warmups_max: 8 }
    }
}

/// What is known when a placement is computed.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Number of partitions of every service.
    pub partitions: u32,
    /// The members that are to stay.
    pub members: &'a Members,
    /// What is done at present. It may name instances that are no members any more.
    pub current: &'a Placement,
    /// Instances that still run what they own although they are to leave.
    pub leaving: &'a BTreeSet<InstanceId>,
    /// Who could own which task without a restore worth mentioning.
    pub warm: &'a BTreeSet<(TaskId, InstanceId)>,
}

impl Situation<'_> {
    fn services(&self) -> BTreeSet<Arc<str>> {
        self.members.values().flat_map(|member| member.services.iter().cloned()).collect()
    }

    fn tasks(&self) -> impl Iterator<Item = TaskId> {
        let partitions = self.partitions;
        self.services()
            .into_iter()
            .flat_map(move |service| (0..partitions).map(move |p| TaskId::new(service.clone(), p)))
    }

    fn can_run(&self, member: &str, task: &TaskId) -> bool {
        self.members.get(member).is_some_and(|member| member.services.contains(&task.service))
    }

    /// The owner at present, as far as it is there to answer.
    fn owner(&self, task: &TaskId) -> Option<&InstanceId> {
        let owner = self.current.active.get(task)?;
        (self.can_run(owner, task) || self.leaving.contains(owner)).then_some(owner)
    }

    fn is_warm(&self, task: &TaskId, member: &InstanceId) -> bool {
        self.warm.contains(&(task.clone(), member.clone()))
    }
}

impl Assignor {
    /// Where everything should end up: every task that anybody can run has an owner; the owners of one service's tasks are
    /// balanced to one over those that can run it; what a member owns already stays unless balance takes it away.
    #[must_use]
    pub fn target(&self, now: &Situation<'_>) -> Placement {
        let mut active = BTreeMap::new();
        let mut total: BTreeMap<&InstanceId, usize> = now.members.keys().map(|id| (id, 0)).collect();
        for service in now.services() {
            self.place_service(now, &service, &mut total, &mut active);
        }
        let standbys = self.standbys(now, &active);
        Placement { active, standbys }
    }

    /// What to do next on the way to the target.
    #[must_use]
    pub fn step(&self, now: &Situation<'_>) -> Placement {
        let target = self.target(now);
        let mut active = BTreeMap::new();
        let mut warming = BTreeMap::new();
        for (task, aim) in &target.active {
            let owner = match now.owner(task) {
                Some(owner) if owner == aim || now.is_warm(task, aim) => aim,
                Some(owner) => {
                    if warming.len() < self.warmups_max {
                        warming.insert(task.clone(), aim.clone());
                    }
                    owner
                }
                None if now.is_warm(task, aim) => aim,
                None => warm_standby(now, task).unwrap_or(aim),
            };
            active.insert(task.clone(), owner.clone());
        }
        let mut standbys = self.standbys(now, &active);
        for (task, aim) in warming {
            let standbys = standbys.entry(task).or_default();
            if !standbys.contains(&aim) {
                standbys.push(aim);
            }
        }
        Placement { active, standbys }
    }

    /// Places the tasks of one service. Who gets one more than the others is who has least in sum, so that the remainders
    /// of many services do not all fall on the same member.
    fn place_service<'a>(
        &self,
        now: &Situation<'a>,
        service: &Arc<str>,
        total: &mut BTreeMap<&'a InstanceId, usize>,
        active: &mut BTreeMap<TaskId, InstanceId>,
    ) {
        let tasks: Vec<TaskId> = (0..now.partitions).map(|p| TaskId::new(service.clone(), p)).collect();
        let able: Vec<&InstanceId> =
            now.members.iter().filter(|(_, member)| member.services.contains(service)).map(|(id, _)| id).collect();
        let held = |id: &InstanceId| tasks.iter().filter(|task| now.current.active.get(task) == Some(id)).count();
        let share = tasks.len() / able.len();
        let mut by_need = able.clone();
        by_need.sort_by_key(|id| (total[*id], held(id) <= share, *id));
        let more: BTreeSet<&InstanceId> = by_need.into_iter().take(tasks.len() % able.len()).collect();
        let mut room: BTreeMap<&InstanceId, usize> =
            able.iter().map(|id| (*id, share + usize::from(more.contains(id)))).collect();
        for (id, room) in &room {
            *total.get_mut(id).expect("every member is in the totals") += room;
        }

        // What stays: first what nobody else is warm for, since moving it would cost most.
        let mut keep: Vec<&TaskId> = tasks.iter().collect();
        keep.sort_by_key(|task| has_other_warm(now, task));
        let mut homeless = Vec::new();
        for task in keep {
            let owner = now.current.active.get(task).filter(|owner| room.get(*owner).is_some_and(|room| *room > 0));
            match owner {
                Some(owner) => take(&mut room, active, task, owner),
                None => homeless.push(task),
            }
        }
        homeless.sort();
        // Then to those who are warm or follow already, then to whoever has room.
        for fits in [is_warm_for, follows, anybody] {
            homeless.retain(|task| {
                let best = room
                    .iter()
                    .filter(|(id, room)| **room > 0 && fits(now, task, id))
                    .max_by_key(|(id, room)| (**room, std::cmp::Reverse(**id)))
                    .map(|(id, _)| (*id).clone());
                match best {
                    Some(best) => {
                        take(&mut room, active, task, &best);
                        false
                    }
                    None => true,
                }
            });
        }
    }

    /// Standbys for these owners: never the owner itself, another zone before the same, who follows already before who
    /// does not, and as even as that allows.
    fn standbys(
        &self,
        now: &Situation<'_>,
        active: &BTreeMap<TaskId, InstanceId>,
    ) -> BTreeMap<TaskId, Vec<InstanceId>> {
        let mut load: BTreeMap<&InstanceId, usize> = now.members.keys().map(|id| (id, 0)).collect();
        let tasks: Vec<TaskId> = now.tasks().collect();
        let even = (tasks.len() * self.standbys).div_ceil(now.members.len().max(1));
        let mut placed = BTreeMap::new();
        for task in tasks {
            let owner = active.get(&task);
            let zone = owner.and_then(|owner| now.members.get(owner)).map_or("", |member: &Member| &member.zone);
            let mut able: Vec<(&InstanceId, &Member)> = now
                .members
                .iter()
                .filter(|(id, member)| Some(*id) != owner && member.services.contains(&task.service))
                .collect();
            able.sort_by_key(|(id, member)| {
                let same_zone = !zone.is_empty() && member.zone == zone;
                let holds = now.current.active.get(&task) == Some(id) || now.current.rank(&task, id).is_some();
                let crowded = load[*id] >= even;
                (same_zone, crowded, !holds, load[*id], *id)
            });
            let chosen: Vec<InstanceId> = able.into_iter().take(self.standbys).map(|(id, _)| id.clone()).collect();
            for id in &chosen {
                *load.get_mut(id).expect("a chosen standby is a member") += 1;
            }
            if !chosen.is_empty() {
                placed.insert(task, chosen);
            }
        }
        placed
    }
}

fn take(
    room: &mut BTreeMap<&InstanceId, usize>,
    active: &mut BTreeMap<TaskId, InstanceId>,
    task: &TaskId,
    owner: &InstanceId,
) {
    if let Some(room) = room.get_mut(owner) {
        *room -= 1;
    }
    active.insert(task.clone(), owner.clone());
}

/// A standby that is warm and there: the one that should take over a task whose owner is gone.
fn warm_standby<'a>(now: &Situation<'a>, task: &TaskId) -> Option<&'a InstanceId> {
    let standbys = now.current.standbys.get(task)?;
    standbys.iter().find(|id| now.can_run(id, task) && now.is_warm(task, id))
}

fn has_other_warm(now: &Situation<'_>, task: &TaskId) -> bool {
    let owner = now.current.active.get(task);
    now.members.keys().any(|id| Some(id) != owner && now.is_warm(task, id))
}

fn is_warm_for(now: &Situation<'_>, task: &TaskId, member: &InstanceId) -> bool {
    now.is_warm(task, member)
}

fn follows(now: &Situation<'_>, task: &TaskId, member: &InstanceId) -> bool {
    now.current.rank(task, member).is_some()
}

fn anybody(_: &Situation<'_>, _: &TaskId, _: &InstanceId) -> bool {
    true
}

#[cfg(test)]
mod tests;
