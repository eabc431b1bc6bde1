//! The owner of a task: take what has arrived, compute one commit of it, append, certify, apply, answer, publish. The next
//! commit gathers while one is in flight.
//!
//! ```text
//! inbox, fetched records, due timers -> Batch -> changelog -> certify -> store, replies, waits -> outbox -> topics
//! ```

mod commit;
mod inputs;
mod reads;
mod timers;

use std::collections::VecDeque;
use std::sync::Arc;

use event_log::SharedLog;
use futures::StreamExt;
use futures::future::BoxFuture;
use state_store::Store;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::batch::{Quiet, Setting};
use crate::changelog::{Chain, OwnerId};
use crate::handle::{Position, Request};
use crate::land::Changelog;
use crate::metrics::TaskMetrics;
use crate::outbox::Outbox;
use crate::progress::{Checkpoint, Progress};
use crate::view::View;
use crate::waiters::Waiters;
use crate::{CallError, Clock, Command, Committed, Config, TaskError};

use commit::{Activity, InFlight};
use inputs::Inputs;
use reads::Reads;
pub(crate) use timers::Timers;

/// Calls that are taken from the inbox at once.
const INBOX_BATCH: usize = 256;

type Waiting = (Command, oneshot::Sender<Result<Committed, CallError>>);

/// A restored and claimed task, ready to run.
pub(crate) struct Owner {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<Config>,
    pub(crate) setting: Arc<Setting>,
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changelog: Changelog,
    pub(crate) identity: OwnerId,
    pub(crate) metrics: TaskMetrics,
    pub(crate) store: Box<dyn Store>,
    pub(crate) progress: Progress,
    pub(crate) chain: Chain,
    /// Next entry of the changelog: everything before it is applied.
    pub(crate) next_offset: u64,
    /// Offset of the last entry that counted.
    pub(crate) last_counted: Option<u64>,
    /// The state began with a store, not with the first entry of the changelog.
    pub(crate) resumed: bool,
    /// During a restore: first part of a commit whose other parts have not been read yet.
    pub(crate) partial_from: Option<u64>,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers,
    pub(crate) running: Running,
}

/// What comes and goes while a task runs.
#[derive(Default)]
pub(crate) struct Running {
    commands: VecDeque<Waiting>,
    inputs: Inputs,
    quiet: Quiet,
    reads: Reads,
    waiters: Waiters,
    in_flight: Option<InFlight>,
    activity: Option<BoxFuture<'static, Result<Activity, TaskError>>>,
    sleep: Option<(i64, BoxFuture<'static, ()>)>,
    /// Until the task looks by itself whether it still owns its partition.
    proof: Option<BoxFuture<'static, ()>>,
    flush_at: Option<tokio::time::Instant>,
}

impl Owner {
    /// Runs until the token is cancelled, another owner claims the task, or something fails that the task cannot heal.
    pub(crate) async fn run(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        shutdown: &CancellationToken,
    ) -> Result<(), TaskError> {
        self.start_inputs().await?;
        self.outbox.send();
        let result = self.work(inbox, shutdown).await;
        let stopped = CallError::Stopped { task: self.name.to_string() };
        self.running.waiters.fail_all(&stopped);
        self.running.reads.fail_all(&stopped);
        // Commands that wait are answered by the drop of their senders: stopped, outcome unknown.
        self.running = Running::default();
        result
    }

    /// Closes the store, so that the next start has nothing to replay.
    pub(crate) fn close(self) -> Result<(), TaskError> {
        self.store.close().map_err(TaskError::from_store)
    }

    async fn work(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        shutdown: &CancellationToken,
    ) -> Result<(), TaskError> {
        loop {
            if self.running.activity.is_none() {
                self.start_commit()?;
                self.start_catch_up();
            }
            self.start_fetch();
            self.start_sleep();
            self.start_proof();
            let running = &mut self.running;
            let room = running.commands.len() < self.config.calls_waiting_max;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain().await,
                done = ready(&mut running.activity) => {
                    running.activity = None;
                    self.finish(done?)?;
                }
                Some(sent) = self.outbox.sending.next() => {
                    self.outbox.sent(sent)?;
                    self.outbox.send();
                }
                checked = ready(&mut running.reads.check) => {
                    running.reads.check = None;
                    self.checked(checked)?;
                }
                fetched = ready(&mut running.inputs.fetch) => {
                    running.inputs.fetch = None;
                    running.inputs.queue(fetched?);
                }
                request = inbox.recv(), if room => match request {
                    Some(request) => self.receive(request, inbox),
                    None => return self.drain().await,
                },
                () = slept(&mut running.sleep) => running.sleep = None,
                () = ready(&mut running.proof) => {
                    running.proof = None;
                    self.prove();
                }
            }
        }
    }

    /// Finishes what is in flight and publishes what is certified; nothing new is taken.
    async fn drain(&mut self) -> Result<(), TaskError> {
        while let Some(activity) = self.running.activity.take() {
            let done = activity.await?;
            self.finish(done)?;
        }
        while !self.outbox.is_empty() {
            let Some(sent) = self.outbox.sending.next().await else { break };
            self.outbox.sent(sent)?;
            self.outbox.send();
        }
        self.start_recording();
        if let Some(activity) = self.running.activity.take() {
            let done = activity.await?;
            self.finish(done)?;
        }
        Ok(())
    }

    fn receive(&mut self, first: Request, inbox: &mut mpsc::Receiver<Request>) {
        self.route(first);
        for _ in 1..INBOX_BATCH {
            if self.running.commands.len() >= self.config.calls_waiting_max {
                break;
            }
            let Ok(request) = inbox.try_recv() else { break };
            self.route(request);
        }
        self.start_check();
    }

    fn route(&mut self, request: Request) {
        match request {
            Request::Execute { command, reply } => self.running.commands.push_back((command, reply)),
            Request::Read { consistency, run } => self.read(consistency, run),
            Request::Wait { store_key, check } => self.wait(store_key, check),
        }
    }

    fn start_sleep(&mut self) {
        let due = self.timers.next_due_ms();
        match (&self.running.sleep, due) {
            (Some((at, _)), Some(due)) if *at == due => {}
            (_, Some(due)) if self.running.activity.is_none() && !self.outbox.is_full() => {
                let clock = self.clock.clone();
                self.running.sleep = Some((due, Box::pin(async move { clock.sleep_until(due).await })));
            }
            // While a commit is in flight or the outbox is full, a timer that is due has to wait for that anyway: sleeping
            // until a moment that has passed would be spinning.
            _ => self.running.sleep = None,
        }
    }

    fn start_proof(&mut self) {
        let interval = self.config.ownership_check;
        self.running.proof.get_or_insert_with(|| Box::pin(tokio::time::sleep(interval)));
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            next_offset: self.next_offset,
            chain: self.chain.clone(),
            stream_time_ms: self.progress.stream_time_ms,
            last_counted: self.last_counted,
            unpublished: self.outbox.unpublished(),
        }
    }

    fn position(&self) -> Position {
        Position { incarnation: self.chain.incarnation.unwrap_or(0), offset: self.next_offset }
    }

    fn view(&self) -> View<'_> {
        View::new(&*self.store)
    }
}

/// Waits for a future that may not be there; never if it is not.
async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn slept(sleep: &mut Option<(i64, BoxFuture<'static, ()>)>) {
    match sleep {
        Some((_, future)) => future.await,
        None => std::future::pending().await,
    }
}
