//! What the instances tell each other of themselves, and which of them have fallen silent.
//!
//! Time is given in, so that nothing here waits or asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::{InstanceId, Placement, Role, TaskId};

/// What an instance says of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskReport {
    /// What it does for the task. `Active` means that its claim has counted and that it has not seen a later one.
    pub role: Role,
    /// The owner's epoch, as far as it knows.
    pub epoch: u64,
    /// Next offset of the changelog that it has not applied.
    pub applied: u64,
    /// Records of the changelog that it has not applied yet, as far as it knows.
    pub lag: u64,
    /// Whether it could own the task without a restore worth mentioning.
    pub is_warm: bool,
    /// The restore that is under way.
    pub restore: Option<RestoreReport>,
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreReport {
    /// Rows of a snapshot and entries of the changelog that are in the store.
    pub done: u64,
    /// All of them, as far as is known; at least 1.
    pub all: u64,
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub instance: InstanceId,
    /// Where it is reached.
    pub address: String,
    /// A number that each start draws anew.
    pub life: u64,
    /// Counts its reports: a later one replaces an earlier one.
    pub sequence: u64,
    /// It is about to go: its standbys shall take over now.
    pub is_leaving: bool,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, TaskReport>,
}

/// Whether an instance is to be reckoned with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It spoke a moment ago.
    Alive,
    /// It spoke a moment ago, to say that it goes.
    Leaving,
    /// It has been silent for too long.
    Silent,
    /// It has not spoken yet, but may be about to.
    Unknown,
}

/// The instances that were heard, this one among them.
#[derive(Debug, Clone)]
pub struct Peers {
    me: InstanceId,
    silent_after: Duration,
    begin: Instant,
    peers: BTreeMap<InstanceId, Peer>,
}

#[derive(Debug, Clone)]
struct Peer {
    report: Report,
    heard: Instant,
    /// When it was heard again after a silence in the middle of its life.
    came_back: Option<Instant>,
    /// How long it may be silent before it is given up: longer for one that was given up and lived.
    patience: Duration,
}

/// An instance that was never heard is waited for this many times as long as one that fell silent: it may be starting.
const STARTING: u32 = 5;
/// An instance that fell silent and came back gets nothing handed over for this many times as long: it may do so again.
const PROBATION: u32 = 10;
/// An instance that fell silent and came back may be silent for twice as long the next time, and at most for this many times as
/// long as others: on a machine that has too much to do everybody is silent for a while now and then, and tasks that move for that
/// reason make it worse. Once it is off probation it is like the others. The session of the group still ends it.
const PATIENCE_MAX: u32 = 4;

impl Peers {
    /// Nobody was heard yet. Who says nothing for `silent_after` is given up; who came back from that lately, after up to four
    /// times as long.
    #[must_use]
    pub fn new(me: InstanceId, silent_after: Duration, now: Instant) -> Self {
        Self { me, silent_after, begin: now, peers: BTreeMap::new() }
    }

    /// Takes a report. Returns whether it tells anything new beyond that the instance lives.
    pub fn hear(&mut self, report: Report, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&report.instance) else {
            let patience = self.silent_after;
            self.peers.insert(report.instance.clone(), Peer { report, heard: now, came_back: None, patience });
            return true;
        };
        if peer.report.life == report.life && peer.report.sequence > report.sequence {
            return false;
        }
        let silence = now.duration_since(peer.heard);
        let was_silent = silence >= peer.patience;
        let (came_back, patience) = if peer.report.life != report.life {
            (None, self.silent_after)
        } else if was_silent {
            (Some(now), (peer.patience * 2).min(self.silent_after * PATIENCE_MAX))
        } else if silence >= self.silent_after {
            // Nobody lost patience this time, but it is not steady either.
            (Some(now), peer.patience)
        } else if peer.came_back.is_some_and(|came_back| now.duration_since(came_back) < self.silent_after * PROBATION)
        {
            (peer.came_back, peer.patience)
        } else {
            (None, self.silent_after)
        };
        let old = std::mem::replace(peer, Peer { report, heard: now, came_back, patience });
        let new = &peer.report;
        was_silent || !old.report.says_the_same(new)
    }

    /// After this process itself stood still for so long: that nobody was heard meanwhile says nothing about the others. A
    /// silence that began before goes on from where it was.
    pub fn excuse_all(&mut self, stood_still: Duration, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.heard = (peer.heard + stood_still).min(now);
        }
    }

    /// Drops those who are silent and no members any more.
    pub fn forget_all_but(&mut self, members: &BTreeSet<InstanceId>, now: Instant) {
        let me = self.me.clone();
        self.peers
            .retain(|id, peer| *id == me || members.contains(id) || now.duration_since(peer.heard) < peer.patience);
    }

    /// Whether the instance is to be reckoned with.
    #[must_use]
    pub fn life(&self, instance: &str, now: Instant) -> Life {
        match self.peers.get(instance) {
            None if now.duration_since(self.begin) < self.silent_after * STARTING => Life::Unknown,
            None => Life::Silent,
            Some(peer) if *instance != *self.me && now.duration_since(peer.heard) >= peer.patience => Life::Silent,
            Some(peer) if peer.report.is_leaving => Life::Leaving,
            Some(_) => Life::Alive,
        }
    }

    /// When the instance was heard last.
    #[must_use]
    pub fn heard(&self, instance: &str) -> Option<Instant> {
        self.peers.get(instance).map(|peer| peer.heard)
    }

    /// Whether anybody else was heard lately.
    #[must_use]
    pub fn hears_anybody(&self, now: Instant) -> bool {
        self.peers.keys().any(|id| *id != self.me && matches!(self.life(id, now), Life::Alive | Life::Leaving))
    }

    /// Whether the instance would take the task at once if nobody had it.
    #[must_use]
    pub fn can_take(&self, task: &TaskId, instance: &str, now: Instant) -> bool {
        let Some(peer) = self.peers.get(instance) else { return false };
        let on_probation =
            peer.came_back.is_some_and(|came_back| now.duration_since(came_back) < self.silent_after * PROBATION);
        let is_warm = peer.report.tasks.get(task).is_some_and(|told| told.is_warm && told.role == Role::Standby);
        is_warm && !on_probation && self.life(instance, now) == Life::Alive
    }

    /// Who owns the task, by the highest epoch that anybody has told, silent instances included: what they claimed stays
    /// claimed until somebody else claims.
    #[must_use]
    pub fn owner(&self, task: &TaskId) -> Option<(&Report, TaskReport)> {
        let of = |peer: &'_ Peer| peer.report.tasks.get(task).copied();
        let active = self.peers.values().filter_map(|peer| Some((&peer.report, of(peer)?)));
        active.filter(|(_, told)| told.role == Role::Active).max_by_key(|(_, told)| told.epoch)
    }

    /// Those who follow the task and were heard lately, the least behind first.
    #[must_use]
    pub fn standbys(&self, task: &TaskId, now: Instant) -> Vec<&Report> {
        let mut standbys: Vec<(&Report, u64)> = self
            .peers
            .iter()
            .filter(|(id, _)| matches!(self.life(id, now), Life::Alive | Life::Leaving))
            .filter_map(|(_, peer)| {
                let told = peer.report.tasks.get(task).filter(|told| told.role == Role::Standby)?;
                Some((&peer.report, told.applied))
            })
            .collect();
        standbys.sort_by_key(|(report, applied)| (std::cmp::Reverse(*applied), report.instance.clone()));
        standbys.into_iter().map(|(report, _)| report).collect()
    }

    /// All reports with their lives.
    pub fn reports(&self, now: Instant) -> impl Iterator<Item = (&Report, Life)> {
        self.peers.iter().map(move |(id, peer)| (&peer.report, self.life(id, now)))
    }

    /// What is done at present, as told.
    #[must_use]
    pub fn placement(&self) -> Placement {
        let mut placement = Placement::default();
        let tasks: BTreeSet<&TaskId> = self.peers.values().flat_map(|peer| peer.report.tasks.keys()).collect();
        for task in tasks {
            if let Some((report, _)) = self.owner(task) {
                placement.active.insert(task.clone(), report.instance.clone());
            }
            let follows = |peer: &&Peer| peer.report.tasks.get(task).is_some_and(|told| told.role == Role::Standby);
            let standbys = self.peers.values().filter(follows).map(|peer| peer.report.instance.clone());
            placement.standbys.insert(task.clone(), standbys.collect());
        }
        placement
    }

    /// Who could own which task without a restore.
    #[must_use]
    pub fn warm(&self, now: Instant) -> BTreeSet<(TaskId, InstanceId)> {
        let mut warm = BTreeSet::new();
        for (report, life) in self.reports(now) {
            if matches!(life, Life::Alive | Life::Leaving) {
                let tasks = report.tasks.iter().filter(|(_, told)| told.is_warm);
                warm.extend(tasks.map(|(task, _)| (task.clone(), report.instance.clone())));
            }
        }
        warm
    }
}

impl Report {
    /// Whether both say the same, but for offsets: these move with every commit.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let important = |told: &TaskReport| (told.role, told.epoch, told.is_warm);
        (self.life, self.is_leaving, &self.address) == (other.life, other.is_leaving, &other.address)
            && self.tasks.len() == other.tasks.len()
            && self.tasks.iter().zip(&other.tasks).all(|((a, x), (b, y))| a == b && important(x) == important(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT_AFTER: Duration = Duration::from_secs(1);

    fn report(instance: &str, sequence: u64, role: Role, epoch: u64) -> Report {
        let told = TaskReport { role, epoch, applied: 10 * epoch, lag: 0, is_warm: true, restore: None };
        Report {
            instance: instance.into(),
            address: format!("{instance}:1"),
            life: 1,
            sequence,
            is_leaving: false,
            tasks: [(TaskId::new("a", 0), told)].into(),
        }
    }

    fn owner(peers: &Peers) -> Option<String> {
        peers.owner(&TaskId::new("a", 0)).map(|(report, _)| report.instance.to_string())
    }

    #[test]
    fn the_latest_claim_owns_whoever_still_believes_to() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        assert_eq!(owner(&peers), None);
        assert!(peers.hear(report("old", 1, Role::Active, 4), now));
        assert!(peers.hear(report("new", 1, Role::Active, 5), now));
        assert_eq!(peers.life("x", now), Life::Unknown);
        assert_eq!(owner(&peers), Some("new".to_owned()));
        // Also when it is silent: nobody else has claimed since.
        peers.hear(report("old", 2, Role::Active, 4), now + SILENT_AFTER);
        assert_eq!(peers.life("new", now + SILENT_AFTER), Life::Silent);
        assert_eq!(owner(&peers), Some("new".to_owned()));
    }

    #[test]
    fn a_report_that_comes_late_changes_nothing() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        peers.hear(report("a", 2, Role::Standby, 1), now);
        assert!(!peers.hear(report("a", 1, Role::Active, 1), now));
        assert_eq!(owner(&peers), None);
        assert!(!peers.hear(report("a", 3, Role::Standby, 1), now), "nothing new but that it lives");
        let restarted = Report { life: 2, ..report("a", 1, Role::Active, 2) };
        assert!(peers.hear(restarted, now), "a new life counts from the beginning");
        assert_eq!(owner(&peers), Some("a".to_owned()));
    }

    #[test]
    fn who_stood_still_does_not_suspect_the_others() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        peers.hear(report("a", 1, Role::Active, 1), now);
        let later = now + SILENT_AFTER * 5;
        assert_eq!(peers.life("a", later), Life::Silent);
        assert!(!peers.hears_anybody(later));
        peers.excuse_all(SILENT_AFTER * 5, later);
        assert_eq!(peers.life("a", later), Life::Alive);
        peers.forget_all_but(&BTreeSet::new(), later + SILENT_AFTER);
        assert_eq!(peers.reports(later).count(), 0, "it is silent and no member");
    }

    #[test]
    fn a_silence_goes_on_after_a_time_in_which_nobody_could_be_heard() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        peers.hear(report("gone", 1, Role::Active, 1), now);
        let stopped = now + SILENT_AFTER;
        peers.hear(report("going", 1, Role::Active, 1), stopped - SILENT_AFTER / 4);
        peers.hear(report("here", 1, Role::Active, 1), stopped);
        let stood_still = SILENT_AFTER * 5;
        let later = stopped + stood_still;
        // It was heard again before anybody looked at the clock.
        peers.hear(report("back", 1, Role::Active, 1), later - SILENT_AFTER / 4);
        peers.excuse_all(stood_still, later);
        let lives = |now| ["gone", "going", "here", "back"].map(|instance| peers.life(instance, now));
        assert_eq!(lives(later), [Life::Silent, Life::Alive, Life::Alive, Life::Alive]);
        let soon = later + SILENT_AFTER * 3 / 4;
        assert_eq!(lives(soon), [Life::Silent, Life::Silent, Life::Alive, Life::Alive]);
        assert_eq!(lives(later + SILENT_AFTER), [Life::Silent; 4]);
    }

    #[test]
    fn who_was_given_up_and_lived_is_given_up_later_until_it_has_been_steady() {
        let mut now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        let mut sequence = 0;
        let mut hear = |peers: &mut Peers, now| {
            sequence += 1;
            peers.hear(report("a", sequence, Role::Standby, 1), now);
        };
        hear(&mut peers, now);
        for patience in [1, 2, 4, 4] {
            let given_up = now + SILENT_AFTER * patience;
            assert_eq!(peers.life("a", given_up - Duration::from_millis(1)), Life::Alive, "{patience}");
            assert_eq!(peers.life("a", given_up), Life::Silent, "{patience}");
            now = given_up;
            hear(&mut peers, now);
        }
        for _ in 0..20 {
            now += SILENT_AFTER / 2;
            hear(&mut peers, now);
        }
        assert_eq!(peers.life("a", now + SILENT_AFTER), Life::Silent, "it was steady for ten times as long");
    }

    #[test]
    fn a_silence_that_nobody_lost_patience_with_keeps_an_instance_on_probation() {
        let mut now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        for sequence in 1..30 {
            peers.hear(report("a", sequence, Role::Standby, 1), now);
            let (is_on_probation, before) = (sequence > 1, now);
            assert_ne!(peers.can_take(&TaskId::new("a", 0), "a", before), is_on_probation, "{sequence}");
            now += SILENT_AFTER + SILENT_AFTER / 2;
        }
    }

    #[test]
    fn a_new_life_is_given_up_like_any_other() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        peers.hear(report("a", 1, Role::Standby, 1), now);
        let later = now + SILENT_AFTER;
        peers.hear(report("a", 2, Role::Standby, 1), later);
        assert_eq!(peers.life("a", later + SILENT_AFTER), Life::Alive);
        peers.hear(Report { life: 2, ..report("a", 1, Role::Standby, 1) }, later);
        assert_eq!(peers.life("a", later + SILENT_AFTER), Life::Silent);
    }

    #[test]
    fn standbys_are_named_with_the_least_behind_first() {
        let now = Instant::now();
        let mut peers = Peers::new("me".into(), SILENT_AFTER, now);
        peers.hear(report("far", 1, Role::Standby, 1), now);
        peers.hear(report("near", 1, Role::Standby, 2), now);
        peers.hear(report("owner", 1, Role::Active, 2), now);
        let names: Vec<_> = peers.standbys(&TaskId::new("a", 0), now).iter().map(|report| &*report.instance).collect();
        assert_eq!(names, ["near", "far"]);
        assert_eq!(peers.placement().active[&TaskId::new("a", 0)], "owner".into());
        assert_eq!(peers.warm(now).len(), 3);
    }
}
