//! The words of this crate: tasks, members, and which member should run which task.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Name of an instance, unique in its mesh. It stays the same when the instance starts again.
pub type InstanceId = Arc<str>;

/// One service's processing of one partition.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The service.
    pub service: Arc<str>,
    /// The partition.
    pub partition: u32,
}

impl TaskId {
    /// The task of this service and partition.
    pub fn new(service: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { service: service.into(), partition }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.partition)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an instance does for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing.
    Idle,
    /// It follows the owner's changelog, to be warm when it is needed.
    Standby,
    /// It processes, as long as its claim stands.
    Active,
}

/// An instance as the others see it. None of this changes while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where the other instances reach it, such as `10.0.0.7:50052`.
    pub address: String,
    /// Instances of one zone may fail together; standbys prefer another one. Empty when not said.
    pub zone: String,
    /// Version of its program, for people.
    pub build: String,
    /// Services whose tasks it can run.
    pub services: BTreeSet<Arc<str>>,
}

/// All members by name.
pub type Members = BTreeMap<InstanceId, Member>;

/// Which member should run each task, and which should follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The owner to be of each task.
    pub active: BTreeMap<TaskId, InstanceId>,
    /// Its standbys, the first to take over first.
    pub standbys: BTreeMap<TaskId, Vec<InstanceId>>,
}

impl Placement {
    /// What this member should do for this task.
    #[must_use]
    pub fn role(&self, task: &TaskId, member: &str) -> Role {
        if self.active.get(task).is_some_and(|active| &**active == member) {
            return Role::Active;
        }
        match self.rank(task, member) {
            Some(_) => Role::Standby,
            None => Role::Idle,
        }
    }

    /// How many standbys come before this one; `None` when it is no standby of the task.
    #[must_use]
    pub fn rank(&self, task: &TaskId, member: &str) -> Option<usize> {
        self.standbys.get(task)?.iter().position(|standby| &**standby == member)
    }

    /// Number of tasks that the member should own.
    #[must_use]
    pub fn active_count(&self, member: &str) -> usize {
        self.active.values().filter(|active| &***active == member).count()
    }
}

/// What a membership says at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// Grows with each new suggestion, on all instances alike.
    pub generation: u64,
    /// Who is there.
    pub members: Members,
    /// Who should do what.
    pub placement: Placement,
}

/// Suggestions as they change.
pub type Suggestions = watch::Receiver<Suggestion>;
