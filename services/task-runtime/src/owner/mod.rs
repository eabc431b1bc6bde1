//! The owner of a task: take what has arrived, compute one commit of it, append, certify, apply, answer, publish. The next
//! commit gathers while one is in flight.
//!
//! ```text
//! inbox, fetched records, due timers -> Batch -> changelog -> certify -> store, replies, waits -> outbox -> topics
//! ```

mod commit;
mod inputs;
mod reads;
mod snapshots;
mod timers;

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::batch::Held;
use crate::handle::Request;
use crate::task::Task;
use crate::waiters::Waiters;
use crate::{CallError, Command, Committed, TaskError};

use commit::{Activity, InFlight};
use inputs::Inputs;
use reads::Reads;
pub(crate) use snapshots::Making;
pub(crate) use timers::Timers;

/// Calls that are taken from the inbox at once.
const INBOX_BATCH: usize = 256;

type Waiting = (Command, oneshot::Sender<Result<Committed, CallError>>);

/// What comes and goes while a task runs.
#[derive(Default)]
pub(crate) struct Running {
    commands: VecDeque<Waiting>,
    inputs: Inputs,
    held: Held,
    /// Until what is held has to be committed, and whether that time has come.
    patience: Option<BoxFuture<'static, ()>>,
    overdue: bool,
    reads: Reads,
    waiters: Waiters,
    /// Inputs since the last commit, as the metrics say.
    gathered: usize,
    in_flight: Option<InFlight>,
    activity: Option<BoxFuture<'static, Result<Activity, TaskError>>>,
    sleep: Option<(i64, BoxFuture<'static, ()>)>,
    /// Until the task looks by itself whether it still owns its partition.
    proof: Option<BoxFuture<'static, ()>>,
    /// Calls and waits, as the metrics say.
    told_waiting: (usize, usize),
}

impl Running {
    /// Nothing is held any more: it is in a commit, or is to be computed anew.
    fn let_go(&mut self) {
        self.held = Held::default();
        self.patience = None;
        self.overdue = false;
    }

    /// Holds what need not be committed yet; changes for no longer than `patience`, counted from the first of them.
    fn hold(&mut self, held: Held, patience: Duration) {
        if held.has_changes() {
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        }
        self.held = held;
    }
}

impl Task {
    /// Runs until the token is cancelled, another owner claims the task, or something fails that the task cannot heal.
    pub(crate) async fn run(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        shutdown: &CancellationToken,
    ) -> Result<(), TaskError> {
        // A lag is what standbys have.
        self.metrics.lag(0);
        self.start_inputs().await?;
        self.outbox.send();
        let result = self.work(inbox, shutdown).await;
        let why = self.why_it_ends(result.as_ref().err());
        self.running.waiters.fail_all(&why);
        self.running.reads.fail_all(&why);
        // What was never computed has not happened. The callers of a commit whose fate is not known here are answered by the
        // drop of their senders: stopped, outcome unknown.
        for (_, reply) in self.running.commands.drain(..) {
            let _ = reply.send(Err(why.clone()));
        }
        self.running = Running::default();
        self.making = Making::default();
        self.outbox.stop_sending();
        self.metrics.at_rest();
        result
    }

    /// What is told to callers who wait for something that will not come from here.
    fn why_it_ends(&self, error: Option<&TaskError>) -> CallError {
        match error {
            _ if self.alone => CallError::Stopped { task: self.name.to_string() },
            Some(TaskError::Fenced { .. }) => self.not_owner(),
            _ => CallError::Moving { service: self.setting.definition.service, partition: self.setting.partition },
        }
    }

    async fn work(
        &mut self,
        inbox: &mut mpsc::Receiver<Request>,
        shutdown: &CancellationToken,
    ) -> Result<(), TaskError> {
        loop {
            self.trust_store()?;
            if self.running.activity.is_none() {
                self.start_snapshot()?;
                self.start_commit()?;
                if self.running.activity.is_none() && (self.running.overdue || self.making.announce.is_some()) {
                    self.start_recording();
                }
                self.start_catch_up();
            }
            self.start_fetch();
            self.start_sleep();
            self.start_proof();
            self.tell_waiting(inbox.len());
            let (running, making) = (&mut self.running, &mut self.making);
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
                brought = running.inputs.brought() => {
                    let brought = brought?;
                    self.queue(brought);
                }
                request = inbox.recv(), if room => match request {
                    Some(request) => self.receive(request, inbox),
                    None => return self.drain().await,
                },
                made = ready(&mut making.job) => {
                    making.job = None;
                    self.made(made)?;
                }
                () = ready(&mut making.trim) => making.trim = None,
                () = slept(&mut running.sleep) => running.sleep = None,
                () = ready(&mut running.patience) => {
                    running.patience = None;
                    running.overdue = true;
                }
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
            // Whoever asked may have gone away.
            Request::Digest { reply } => drop(reply.send(self.digest(crate::Role::Active))),
        }
    }

    fn start_sleep(&mut self) {
        let due = self.timers.next_ms();
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

    /// Tells who waits, when it is others than before.
    fn tell_waiting(&mut self, in_inbox: usize) {
        let running = &mut self.running;
        let waiting = (in_inbox + running.commands.len(), running.waiters.count());
        if std::mem::replace(&mut running.told_waiting, waiting) != waiting {
            self.metrics.waiting(waiting.0, waiting.1);
        }
    }

    fn start_proof(&mut self) {
        let interval = self.config.ownership_check;
        self.running.proof.get_or_insert_with(|| Box::pin(tokio::time::sleep(interval)));
    }
}

/// Waits for a future that may not be there; never if it is not.
pub(crate) async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
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
