//! The tasks of a process with their roles: where membership gives its orders, and routing looks who owns what.

use std::sync::Arc;

use tokio::sync::watch;

use crate::role::Order;
use crate::status::{Board, Changes};
use crate::{Clock, InputPosition, RestoreProgress, Role, TaskState, TaskStatus};

/// One task, as the roster knows it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) service: &'static str,
    pub(crate) partition: u32,
    pub(crate) name: Arc<str>,
    pub(crate) orders: Arc<watch::Sender<Order>>,
    pub(crate) board: Arc<Board>,
}

/// All tasks of a process. Clones are cheap and speak of the same tasks.
#[derive(Debug, Clone)]
pub struct Roster {
    pub(crate) entries: Arc<[Entry]>,
    pub(crate) changes: Changes,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Roster {
    /// Gives a task a role; returns at once, [`Roster::watch`] tells when it plays it. A task that gives up being active
    /// finishes what is in flight, publishes what is certified, and only then becomes what it is told to be. `Active` for a
    /// task that was deposed claims it anew; a role that the task has already changes nothing.
    ///
    /// Returns whether there is such a task.
    pub fn assign(&self, service: &str, partition: u32, role: Role) -> bool {
        let Some(entry) = self.entry(service, partition) else { return false };
        entry.orders.send_modify(|order| {
            order.number += 1;
            order.role = role;
        });
        entry.board.given(role);
        true
    }

    /// Every task as it is now.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        let now_ms = self.clock.monotonic_ms();
        self.entries.iter().map(|entry| entry.board.status(now_ms)).collect()
    }

    /// One task as it is now.
    #[must_use]
    pub fn status_of(&self, service: &str, partition: u32) -> Option<TaskStatus> {
        Some(self.entry(service, partition)?.board.status(self.clock.monotonic_ms()))
    }

    /// How far the tasks that this process owns have read their inputs.
    #[must_use]
    pub fn input_positions(&self) -> Vec<InputPosition> {
        self.entries.iter().flat_map(|entry| entry.board.input_positions()).collect()
    }

    /// How far all restores that are under way have come together; none if there are none. For people: looked at now and then.
    #[must_use]
    pub fn restoring(&self) -> Option<RestoreProgress> {
        let is_restoring = |entry: &Entry| entry.board.watch().borrow().state() == TaskState::Restoring;
        // Those that are done count too: the sum shall not run backwards.
        let all = self.entries.iter().map(|entry| entry.board.restore());
        let sum = all.reduce(|a, b| RestoreProgress { done: a.done + b.done, of: a.of + b.of });
        sum.filter(|_| self.entries.iter().any(is_restoring))
    }

    /// Changes its value whenever the role, the state, the epoch or the owner of a task here is another than before.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.0.subscribe()
    }

    /// Returns when every task plays the role that it was given.
    ///
    /// # Errors
    /// The first task that cannot, and why.
    pub async fn running(&self) -> Result<(), String> {
        for entry in self.entries.iter() {
            let mut facts = entry.board.watch();
            let reached = facts.wait_for(|facts| facts.state() != TaskState::Restoring).await;
            match reached.map(|facts| facts.state()) {
                Ok(TaskState::Failed(reason)) => return Err(format!("task {}: {reason}", entry.name)),
                Ok(_) => {}
                Err(_) => return Err(format!("task {} ended unexpectedly", entry.name)),
            }
        }
        Ok(())
    }

    /// Returns when a task has failed for good, with its name and why. The process should stop.
    pub async fn failed(&self) -> String {
        let waits = self.entries.iter().map(|entry| {
            let mut facts = entry.board.watch();
            Box::pin(async move {
                let failed = facts.wait_for(|facts| matches!(facts.state(), TaskState::Failed(_))).await;
                match failed.map(|facts| facts.state()) {
                    Ok(TaskState::Failed(reason)) => format!("task {}: {reason}", entry.name),
                    _ => std::future::pending().await,
                }
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(waits).await.0
    }

    fn entry(&self, service: &str, partition: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.service == service && entry.partition == partition)
    }
}
