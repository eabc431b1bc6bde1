//! Gives the tasks of this process their roles, and tells the other instances of them.
//!
//! It acts on whatever changes: a suggestion, what another instance tells, what a task here has become. It does nothing that
//! it could not do again, so that it needs no memory but of the orders that it gave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use membership::{
    Duty, Exchange, InstanceId, Life, Peers, RestoreReport, Role, Suggestion, Suggestions, TaskId, TaskReport, duties,
};
use task_runtime::{RestoreProgress, Roster, TaskState, TaskStatus};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often it looks when nothing seems to change: silence is no change.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// A standby that lags by more than this would let callers wait if it took over.
const WARM_LAG_RECORDS: u64 = 1_000;

/// Runs the tasks of one process as membership suggests.
#[derive(Debug)]
pub(super) struct Conductor {
    me: InstanceId,
    address: String,
    roster: Roster,
    exchange: Exchange,
    /// `None` in a process that is a mesh by itself, and whose tasks are all active.
    suggestions: Option<Suggestions>,
    /// Services that this instance is there for.
    services: BTreeSet<Arc<str>>,
    ordered: BTreeMap<TaskId, Role>,
    leaving: watch::Sender<bool>,
}

impl Conductor {
    pub(super) fn new(
        me: InstanceId,
        address: String,
        services: BTreeSet<Arc<str>>,
        roster: Roster,
        exchange: Exchange,
        suggestions: Option<Suggestions>,
    ) -> Self {
        let (ordered, leaving) = (BTreeMap::new(), watch::Sender::new(false));
        Self { me, address, roster, exchange, suggestions, services, ordered, leaving }
    }

    /// Set to true, it hands everything over to others.
    pub(super) fn leaving(&self) -> watch::Sender<bool> {
        self.leaving.clone()
    }

    /// Conducts until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut leaving = self.leaving.subscribe();
        let (mut tasks, mut peers) = (self.roster.watch(), self.exchange.changes());
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tasks.borrow_and_update();
            peers.borrow_and_update();
            let is_leaving = *leaving.borrow_and_update();
            self.tell(is_leaving);
            // Telling changes what is known of this instance; that is no news to itself.
            peers.borrow_and_update();
            if let Some(suggestion) = self.suggestions.as_mut().map(|all| all.borrow_and_update().clone()) {
                self.order(&suggestion, is_leaving);
            }
            let suggested = async {
                match &mut self.suggestions {
                    Some(suggestions) => suggestions.changed().await.is_ok(),
                    None => false,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                true = suggested => {}
                Ok(()) = leaving.changed() => {}
                Ok(()) = tasks.changed() => {}
                Ok(()) = peers.changed() => {}
                _ = ticks.tick() => {}
            }
        }
    }

    fn tell(&self, is_leaving: bool) {
        let told = self.roster.status().into_iter().filter_map(|status| {
            let report = report(&status);
            (report.role != Role::Idle).then(|| (task(&status), report))
        });
        self.exchange.tell(&self.address, told.collect(), is_leaving);
    }

    fn order(&mut self, suggestion: &Suggestion, is_leaving: bool) {
        if suggestion.generation == 0 && !is_leaving {
            return;
        }
        let statuses: BTreeMap<TaskId, TaskStatus> = self
            .roster
            .status()
            .into_iter()
            .filter(|status| self.services.contains(status.service))
            .map(|status| (task(&status), status))
            .collect();
        let mine = statuses.iter().map(|(task, status)| (task.clone(), report(status).role)).collect();
        let wanted = self.exchange.look(|peers, now| {
            let duty = Duty { me: &self.me, is_leaving, suggestion, peers, now };
            let mut wanted = duties(&duty, &mine);
            for (task, role) in &mut wanted {
                if *role == Role::Active && self.was_just_deposed(task, &statuses[task], peers, now) {
                    *role = Role::Standby;
                }
            }
            wanted
        });
        for (task, role) in wanted {
            let status = &statuses[&task];
            // A task that was deposed has become a standby by itself, and waits to be told again.
            let was_deposed = role == Role::Active && status.role != task_runtime::Role::Active;
            if self.ordered.get(&task) != Some(&role) || was_deposed {
                tracing::info!(task = %task, role = ?role, epoch = status.epoch, "role is given");
                self.roster.assign(status.service, status.partition, runtime_role(role));
                self.ordered.insert(task, role);
            }
        }
    }

    /// Whether the changelog names another owner who lives and has not yet told of its claim.
    fn was_just_deposed(&self, task: &TaskId, status: &TaskStatus, peers: &Peers, now: Instant) -> bool {
        let Some(owner) = status.owner.as_deref().filter(|owner| *owner != &*self.me) else { return false };
        if status.role == task_runtime::Role::Active || peers.life(owner, now) != Life::Alive {
            return false;
        }
        // One that tells nothing of the task has started anew since, and will not.
        let mut reports = peers.reports(now).filter(|(report, _)| &*report.instance == owner);
        reports.any(|(report, _)| report.tasks.get(task).is_some_and(|told| told.epoch < status.epoch))
    }
}

fn task(status: &TaskStatus) -> TaskId {
    TaskId::new(status.service, status.partition)
}

fn report(status: &TaskStatus) -> TaskReport {
    let role = match status.role {
        _ if status.is_owner() => Role::Active,
        task_runtime::Role::Idle => Role::Idle,
        _ if matches!(status.state, TaskState::Closed | TaskState::Failed(_)) => Role::Idle,
        task_runtime::Role::Active | task_runtime::Role::Standby => Role::Standby,
    };
    TaskReport {
        role,
        epoch: status.epoch,
        applied: status.applied_offset,
        lag: status.lag_records,
        is_warm: status.is_owner() || status.is_warm() && status.lag_records <= WARM_LAG_RECORDS,
        restore: status
            .restore
            .filter(|restore| restore.of > 0)
            .map(|RestoreProgress { done, of }| RestoreReport { done, all: of }),
    }
}

fn runtime_role(role: Role) -> task_runtime::Role {
    match role {
        Role::Active => task_runtime::Role::Active,
        Role::Standby => task_runtime::Role::Standby,
        Role::Idle => task_runtime::Role::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_told_with_how_far_it_is_and_only_while_it_is_under_way() {
        let status = |restore| TaskStatus {
            service: "orders",
            partition: 0,
            role: task_runtime::Role::Standby,
            state: TaskState::Restoring,
            epoch: 3,
            owner: None,
            incarnation: None,
            applied_offset: 0,
            end_offset: 0,
            lag_records: 0,
            lag_ms: 0,
            restore,
            snapshot_offset: None,
        };
        let told = report(&status(Some(RestoreProgress { done: 2, of: 8 })));
        assert_eq!((told.restore, told.is_warm), (Some(RestoreReport { done: 2, all: 8 }), false));
        // It has not yet looked how much there is.
        assert_eq!(report(&status(Some(RestoreProgress { done: 0, of: 0 }))).restore, None);
        assert_eq!(report(&status(None)).restore, None);
    }
}
