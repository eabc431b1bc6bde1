//! What the leader of a group does beside what every member does: it computes the placement, and notices when a better one
//! is possible.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Assignor, Exchange, InstanceId, Life, Members, Peers, Placement, Situation, Suggestion};

/// How long a new leader waits to hear from members that it has never heard: without their word on what they own, it
/// might move what need not move.
const HEARING_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they were all heard.
const HEARING_STEP: Duration = Duration::from_millis(20);

/// The placement of these members, given what runs at present.
pub(super) fn place(
    assignor: Assignor,
    partitions: u32,
    members: &Members,
    last: &Placement,
    exchange: &Exchange,
) -> Placement {
    exchange.look(|peers, now| {
        let leaving = leaving(peers, now);
        let stay: Members = members.iter().filter(|(id, _)| !leaving.contains(*id)).map(clone).collect();
        let stay = if stay.is_empty() { members.clone() } else { stay };
        let (current, warm) = (current(peers, last, now), peers.warm(now));
        assignor.step(&Situation { partitions, members: &stay, current: &current, leaving: &leaving, warm: &warm })
    })
}

/// Whether another placement than the one that was suggested should be.
pub(super) fn is_outdated(assignor: Assignor, partitions: u32, suggestion: &Suggestion, exchange: &Exchange) -> bool {
    let unheard = |peers: &Peers, now| suggestion.members.keys().any(|id| peers.life(id, now) == Life::Unknown);
    if exchange.look(unheard) {
        return false;
    }
    // Who is silent stays a member until the coordinator gives it up: its tasks are taken over by standbys meanwhile.
    let silent = |peers: &Peers, now| suggestion.members.keys().any(|id| peers.life(id, now) == Life::Silent);
    if exchange.look(silent) {
        return false;
    }
    let better = place(assignor, partitions, &suggestion.members, &suggestion.placement, exchange);
    better.active != suggestion.placement.active || standbys(&better) != standbys(&suggestion.placement)
}

/// Waits until every member was heard, but not for long.
pub(super) async fn hear_all(members: &Members, exchange: &Exchange) {
    let deadline = Instant::now() + HEARING_MAX;
    while exchange.look(|peers, now| members.keys().any(|id| peers.life(id, now) == Life::Unknown)) {
        if Instant::now() >= deadline {
            tracing::debug!("placing tasks without having heard every member");
            return;
        }
        tokio::time::sleep(HEARING_STEP).await;
    }
}

/// What was suggested last, but with the owners that there really are.
fn current(peers: &Peers, last: &Placement, now: Instant) -> Placement {
    let mut current = last.clone();
    for (task, owner) in peers.placement().active {
        if matches!(peers.life(&owner, now), Life::Alive | Life::Leaving) {
            current.active.insert(task, owner);
        }
    }
    current
}

fn leaving(peers: &Peers, now: Instant) -> BTreeSet<InstanceId> {
    peers.reports(now).filter(|(_, life)| *life == Life::Leaving).map(|(report, _)| report.instance.clone()).collect()
}

fn standbys(placement: &Placement) -> Vec<(&crate::TaskId, BTreeSet<&InstanceId>)> {
    let mut standbys: Vec<_> =
        placement.standbys.iter().map(|(task, of)| (task, of.iter().collect::<BTreeSet<_>>())).collect();
    standbys.retain(|(_, of)| !of.is_empty());
    standbys
}

fn clone((id, member): (&InstanceId, &crate::Member)) -> (InstanceId, crate::Member) {
    (id.clone(), member.clone())
}
