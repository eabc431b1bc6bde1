//! What one task of a process does in the course of time: it plays the role that it was given last, heals what can heal, and
//! stops for a person to look at what cannot.
//!
//! ```text
//! idle ──► opened, caught up ──► standby ◄──(deposed, told to)──► active
//!   ▲                               │                               │
//!   └──────── store closed ◄────────┴───────────────────────────────┘
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::batch::panic_text;
use crate::config::Backoff;
use crate::handle::Request;
use crate::restore::Plan;
use crate::role::Order;
use crate::status::Board;
use crate::task::Task;
use crate::{CallError, Role, TaskError, TaskState};

/// A task's place in its process.
pub(crate) struct Seat {
    pub(crate) service: &'static str,
    pub(crate) partition: u32,
    pub(crate) inbox: mpsc::Receiver<Request>,
    pub(crate) orders: Arc<watch::Sender<Order>>,
    pub(crate) board: Arc<Board>,
}

/// Runs a task to its end. What panics in a handler is a fault of its input; a panic anywhere else is a broken invariant: the
/// task has failed, and who watches it hears of that at once, for a process whose owner is dead must not look alive.
pub(crate) async fn supervise(plan: Plan, seat: Seat, shutdown: CancellationToken) {
    let (name, board) = (plan.name.clone(), seat.board.clone());
    // What the panic has left half done is dropped with the task; what is in the log and the store is as after a crash.
    let ended = AssertUnwindSafe(heal(plan, seat, shutdown)).catch_unwind().await;
    if let Err(panic) = ended {
        let reason = format!("a panic: {}", panic_text(&*panic));
        tracing::error!(task = %name, reason, "the task cannot go on");
        board.state(TaskState::Failed(reason));
    }
}

/// Plays roles, again and again as long as what ends one can heal.
async fn heal(mut plan: Plan, mut seat: Seat, shutdown: CancellationToken) {
    let mut backoff = Backoff::new(&plan.config);
    loop {
        let result = play(&mut plan, &mut seat, &shutdown).await;
        let name = plan.name.clone();
        match result {
            Ok(()) => {
                seat.board.state(TaskState::Closed);
                return;
            }
            Err(TaskError::Fenced { epoch }) => {
                tracing::warn!(task = %name, epoch, "another owner has claimed the task")
            }
            Err(TaskError::Store(error)) => {
                tracing::error!(task = %name, %error, "the store cannot be used at present")
            }
            Err(TaskError::Corrupted(error)) => {
                tracing::error!(task = %name, %error, "the store is damaged and is rebuilt");
                if let Err(error) = plan.storage.wipe(&name) {
                    tracing::error!(task = %name, %error, "the damaged store cannot be removed");
                }
            }
            Err(error) => {
                tracing::error!(task = %name, %error, "the task cannot go on");
                seat.board.state(TaskState::Failed(error.to_string()));
                return;
            }
        }
        seat.board.state(TaskState::Restoring);
        tokio::select! {
            () = shutdown.cancelled() => return seat.board.state(TaskState::Closed),
            () = backoff.pause() => {}
        }
    }
}

/// Plays one role after the other, as ordered, until the token is cancelled or something fails.
pub(crate) async fn play(plan: &mut Plan, seat: &mut Seat, shutdown: &CancellationToken) -> Result<(), TaskError> {
    let mut orders = seat.orders.subscribe();
    let mut task: Option<Task> = None;
    while !shutdown.is_cancelled() {
        let mut order = *orders.borrow_and_update();
        let stop = shutdown.child_token();
        let (left, result) = {
            let mut part = std::pin::pin!(act(plan, seat, task.take(), order.role, &stop));
            loop {
                tokio::select! {
                    biased;
                    changed = orders.changed(), if !stop.is_cancelled() => {
                        let newest = *orders.borrow_and_update();
                        if changed.is_err() || newest.role != order.role {
                            stop.cancel();
                        } else {
                            order = newest;
                        }
                    }
                    done = &mut part => break done,
                }
            }
        };
        task = left;
        match result {
            Err(TaskError::Fenced { epoch }) if !plan.alone => {
                tracing::info!(task = %plan.name, epoch, "deposed: stands by from now on");
                seat.demote(order);
            }
            Err(TaskError::Overtaken { position, earliest, .. }) => {
                tracing::info!(task = %plan.name, %position, %earliest, "trimmed while it was read: goes to the snapshot");
            }
            Ok(()) if !stop.is_cancelled() => break, // Nobody can call any more.
            other => other?,
        }
    }
    task.map_or(Ok(()), Task::close)
}

impl Seat {
    /// An active task was deposed. An order that came meanwhile is newer than what that tells.
    fn demote(&self, deposed: Order) {
        let demoted = self.orders.send_if_modified(|order| {
            let is_current = order.number == deposed.number;
            if is_current {
                order.role = Role::Standby;
            }
            is_current
        });
        if demoted {
            self.board.given(Role::Standby);
        }
    }

    /// Refuses calls for ever: they are told to come back, or where to go.
    async fn refuse_all(&mut self) {
        let (service, partition) = (self.service, self.partition);
        while let Some(request) = self.inbox.recv().await {
            let (epoch, owner) = self.board.newest_claim();
            request.refuse(if self.orders.borrow().role == Role::Active {
                CallError::Moving { service, partition }
            } else {
                CallError::NotOwner { service, partition, epoch, owner }
            });
        }
        std::future::pending::<()>().await;
    }

    /// Finishes `work` unless the token is cancelled before. Calls wait for it when nobody else could answer them;
    /// otherwise they wait a moment and are sent away.
    async fn meanwhile<T>(
        &mut self,
        grace: Option<Duration>,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let refuse = async {
            match grace {
                Some(grace) => tokio::time::sleep(grace).await,
                None => std::future::pending().await,
            }
            self.refuse_all().await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            done = work => Some(done),
            () = refuse => None,
        }
    }
}

/// Plays one role until the token is cancelled. What is left of the task can go on in another role.
async fn act(
    plan: &mut Plan,
    seat: &mut Seat,
    task: Option<Task>,
    role: Role,
    stop: &CancellationToken,
) -> (Option<Task>, Result<(), TaskError>) {
    seat.board.plays(role);
    if role == Role::Idle {
        return (None, idle(seat, task, stop).await);
    }
    let grace = (!plan.alone).then_some(plan.config.moving_grace);
    let mut task = match task {
        Some(task) => task,
        None => match seat.meanwhile(grace, stop, plan.open()).await {
            Some(Ok(task)) => task,
            Some(Err(error)) => return (None, Err(error)),
            None => return (None, Ok(())),
        },
    };
    if role == Role::Standby {
        let result = task.stand_by(&mut seat.inbox, stop).await;
        if let Err(TaskError::LogRegressed { .. }) = result {
            task.bear_witness();
            return (None, result);
        }
        // After an error the store may be behind what was read: it is opened anew.
        return (result.is_ok().then_some(task), result);
    }
    // What was read and is not applied is lost when this is interrupted: the store is opened anew then.
    let claimed = seat.meanwhile(grace, stop, task.become_owner(&mut plan.random)).await;
    let result = match claimed {
        None => return (None, Ok(())),
        Some(Ok(())) => {
            seat.board.state(TaskState::Running);
            task.run(&mut seat.inbox, stop).await
        }
        Some(Err(error)) => Err(error),
    };
    if let Err(TaskError::Overtaken { .. }) = result {
        // Only another owner trims what this one has not read. Whose claim it was stands in what is gone.
        return (None, Err(TaskError::Fenced { epoch: task.chain.epoch + 1 }));
    }
    if let Err(TaskError::LogRegressed { .. }) = result {
        task.bear_witness();
        return (None, result);
    }
    let goes_on = matches!(result, Ok(()) | Err(TaskError::Fenced { .. }));
    (goes_on.then_some(task), result)
}

async fn idle(seat: &mut Seat, task: Option<Task>, stop: &CancellationToken) -> Result<(), TaskError> {
    if let Some(task) = task {
        task.close()?;
        seat.board.state(TaskState::Suspended);
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = seat.refuse_all() => {}
    }
    Ok(())
}
