//! What a task tells about itself: to membership and routing, which react to changes, and to people.
//!
//! Two kinds of facts: those that change seldom and wake whoever watches ([`Facts`]), and numbers that change with every
//! commit, which are looked at when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use event_log::TopicName;
use tokio::sync::watch;

use crate::Role;
use crate::changelog::Chain;

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It has had no role here yet.
    Created,
    /// Its store is opened and caught up with the changelog; as an active one it also claims.
    Restoring,
    /// It does what its role says.
    Running,
    /// It had a role here, and has none now.
    Suspended,
    /// It has ended on request.
    Closed,
    /// It cannot go on, and neither should the process: a person must look.
    Failed(String),
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Rows of a snapshot and entries of the changelog that are in the store.
    pub done: u64,
    /// All of them, as far as is known.
    pub of: u64,
}

/// How far a task has read one of its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPosition {
    /// The service.
    pub service: &'static str,
    /// The input.
    pub topic: TopicName,
    /// The partition of both.
    pub partition: u32,
    /// Offset of the next record: everything before it is in commits, in what is held for the next one, or has no effect.
    pub next_offset: u64,
}

/// One task of this process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The service.
    pub service: &'static str,
    /// The partition.
    pub partition: u32,
    /// The role that it was given, or standby after it was deposed.
    pub role: Role,
    /// Where it is in its life.
    pub state: TaskState,
    /// The newest epoch that this process knows of; 0 if none.
    pub epoch: u64,
    /// Instance that claimed it, as the changelog says.
    pub owner: Option<String>,
    /// The life of the changelog.
    pub incarnation: Option<u128>,
    /// Next entry of the changelog: everything before it is in the store.
    pub applied_offset: u64,
    /// End of the changelog, as this process saw it last.
    pub end_offset: u64,
    /// Entries between the two.
    pub lag_records: u64,
    /// For how long there have been any, in milliseconds.
    pub lag_ms: u64,
    /// The restore that is under way.
    pub restore: Option<RestoreProgress>,
    /// Offset of the newest snapshot that counts.
    pub snapshot_offset: Option<u64>,
}

impl TaskStatus {
    /// Whether this process owns the task, as far as it knows.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.role == Role::Active && self.state == TaskState::Running
    }

    /// Whether it could take over at once: a standby that has caught up.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.role == Role::Standby && self.state == TaskState::Running
    }
}

/// What changes seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The role that it was given.
    pub(crate) role: Role,
    /// The role that it plays: the one that it was given before, until it has seen the order.
    played: Role,
    /// Where it is in what it plays.
    state: TaskState,
    pub(crate) epoch: u64,
    pub(crate) owner: Option<String>,
    pub(crate) incarnation: Option<u128>,
}

impl Facts {
    /// Where it is on the way to the role that it was given. Orders may follow one another faster than they are carried out,
    /// so that this cannot be kept: it follows from what is ordered and what is done.
    pub(crate) fn state(&self) -> TaskState {
        match (&self.state, self.role) {
            (TaskState::Closed | TaskState::Failed(_), _) => self.state.clone(),
            (TaskState::Restoring, Role::Idle) => TaskState::Suspended,
            (TaskState::Restoring, _) => TaskState::Restoring,
            (state, role) if role == Role::Idle || role == self.played => state.clone(),
            _ => TaskState::Restoring,
        }
    }
}

/// Counts the changes of all tasks of a process, so that one watcher sees them all.
#[derive(Debug, Clone)]
pub(crate) struct Changes(pub(crate) Arc<watch::Sender<u64>>);

impl Changes {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

/// Where one task writes what it knows of itself.
#[derive(Debug)]
pub(crate) struct Board {
    service: &'static str,
    partition: u32,
    facts: watch::Sender<Facts>,
    changes: Changes,
    applied: AtomicU64,
    end: AtomicU64,
    /// Since when there is something that is not applied; zero if there is nothing.
    behind_since_ms: AtomicI64,
    /// Rows of a snapshot that were loaded before the entries behind it.
    loaded: AtomicU64,
    restored: AtomicU64,
    to_restore: AtomicU64,
    /// One more than the offset; zero for none.
    snapshot: AtomicU64,
    /// Each input with the offset of the next record.
    inputs: Box<[(TopicName, AtomicU64)]>,
}

impl Board {
    pub(crate) fn new(
        service: &'static str,
        partition: u32,
        role: Role,
        changes: Changes,
        inputs: impl Iterator<Item = TopicName>,
    ) -> Self {
        let (played, state) = (Role::Idle, TaskState::Created);
        let facts = Facts { role, played, state, epoch: 0, owner: None, incarnation: None };
        Self {
            service,
            partition,
            facts: watch::channel(facts).0,
            changes,
            applied: AtomicU64::new(0),
            end: AtomicU64::new(0),
            behind_since_ms: AtomicI64::new(0),
            loaded: AtomicU64::new(0),
            restored: AtomicU64::new(0),
            to_restore: AtomicU64::new(0),
            snapshot: AtomicU64::new(0),
            inputs: inputs.map(|topic| (topic, AtomicU64::new(0))).collect(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    /// Changes facts, and wakes the watchers if they are others than before.
    fn update(&self, change: impl FnOnce(&mut Facts)) {
        let changed = self.facts.send_if_modified(|facts| {
            let before = facts.clone();
            change(facts);
            *facts != before
        });
        if changed {
            self.changes.0.send_modify(|number| *number += 1);
        }
    }

    /// A role was given. What has to be restored for it counts as being restored from this moment on.
    pub(crate) fn given(&self, role: Role) {
        self.update(|facts| facts.role = role);
    }

    /// A role is played from now on. Whatever the task has done before, it has to catch up for this one.
    pub(crate) fn plays(&self, role: Role) {
        self.update(|facts| {
            facts.played = role;
            if role != Role::Idle {
                facts.state = TaskState::Restoring;
            } else if facts.state == TaskState::Restoring {
                facts.state = TaskState::Suspended;
            }
        });
    }

    pub(crate) fn state(&self, state: TaskState) {
        self.update(|facts| facts.state = state);
    }

    /// Tells what the changelog says about the ownership.
    pub(crate) fn read(&self, chain: &Chain) {
        self.update(|facts| {
            facts.epoch = chain.epoch;
            facts.incarnation = chain.incarnation;
            if facts.owner.as_deref() != chain.owner.as_ref().map(|owner| &*owner.instance) {
                facts.owner = chain.owner.as_ref().map(|owner| owner.instance.clone());
            }
        });
    }

    /// The newest claim that is known: epoch and owner.
    pub(crate) fn newest_claim(&self) -> (u64, Option<String>) {
        let facts = self.facts.borrow();
        (facts.epoch, facts.owner.clone())
    }

    pub(crate) fn applied(&self, next_offset: u64) {
        self.applied.store(next_offset, Ordering::Relaxed);
    }

    /// The log was seen to end here; `behind` says that what is applied ends before.
    pub(crate) fn saw_end(&self, end: u64, behind: bool, now_ms: i64) {
        self.end.store(end, Ordering::Relaxed);
        if !behind {
            self.behind_since_ms.store(0, Ordering::Relaxed);
        } else if self.behind_since_ms.load(Ordering::Relaxed) == 0 {
            self.behind_since_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
    }

    /// A restore begins behind so many rows of a snapshot that are in the store already.
    pub(crate) fn loaded(&self, rows: u64) {
        self.loaded.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn restoring(&self, done: u64, of: u64) {
        let loaded = self.loaded.load(Ordering::Relaxed);
        self.restored.store(loaded + done, Ordering::Relaxed);
        self.to_restore.store(loaded + of.max(done), Ordering::Relaxed);
    }

    /// How far the restore is that is under way, or was the last.
    pub(crate) fn restore(&self) -> RestoreProgress {
        RestoreProgress { done: self.restored.load(Ordering::Relaxed), of: self.to_restore.load(Ordering::Relaxed) }
    }

    pub(crate) fn snapshot_at(&self, offset: u64) {
        self.snapshot.store(offset + 1, Ordering::Relaxed);
    }

    /// Inputs were read up to here, in the order of the definition.
    pub(crate) fn took(&self, next_offsets: &[u64]) {
        for ((_, next), now) in self.inputs.iter().zip(next_offsets) {
            next.store(*now, Ordering::Relaxed);
        }
    }

    /// How far the inputs are read; nothing unless this process owns the task.
    pub(crate) fn input_positions(&self) -> impl Iterator<Item = InputPosition> {
        let is_owner = {
            let facts = self.facts.borrow();
            facts.role == Role::Active && facts.state() == TaskState::Running
        };
        let inputs = self.inputs.iter().filter(move |_| is_owner);
        inputs.map(|(topic, next)| InputPosition {
            service: self.service,
            topic: topic.clone(),
            partition: self.partition,
            next_offset: next.load(Ordering::Relaxed),
        })
    }

    /// Entries that are known and not applied, and for how long there have been any in milliseconds.
    pub(crate) fn lag(&self, now_ms: i64) -> (u64, u64) {
        let applied = self.applied.load(Ordering::Relaxed);
        let records = self.end.load(Ordering::Relaxed).saturating_sub(applied);
        let since_ms = self.behind_since_ms.load(Ordering::Relaxed);
        let ms = if records == 0 || since_ms == 0 { 0 } else { now_ms.saturating_sub(since_ms) };
        (records, u64::try_from(ms).unwrap_or(0))
    }

    pub(crate) fn status(&self, now_ms: i64) -> TaskStatus {
        let facts = self.facts.borrow().clone();
        let state = facts.state();
        let Facts { role, epoch, owner, incarnation, .. } = facts;
        let (lag_records, lag_ms) = self.lag(now_ms);
        let applied_offset = self.applied.load(Ordering::Relaxed);
        let restore = (state == TaskState::Restoring).then(|| self.restore());
        TaskStatus {
            service: self.service,
            partition: self.partition,
            role,
            state,
            epoch,
            owner,
            incarnation,
            applied_offset,
            end_offset: self.end.load(Ordering::Relaxed).max(applied_offset),
            lag_records,
            lag_ms,
            restore,
            snapshot_offset: self.snapshot.load(Ordering::Relaxed).checked_sub(1),
        }
    }
}
