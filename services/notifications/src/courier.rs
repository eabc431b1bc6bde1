//! Carries e-mails from the outbox of each task that this process owns to the sender, and commits what came of it.
//!
//! Nothing is sent before the decision to send it is committed and this process has proven that it owns the task. A process
//! that dies, or loses the task, between sending and committing the outcome leaves the e-mail pending: the next owner sends it
//! again, with the same Message-ID. What is on the record as sent is never sent again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use service_host::Clock;
use task_runtime::{CallError, Command, Consistency, Handle, Tasks, View};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::domain::delivery::Outcome;
use crate::mail::Mail;
use crate::processors::deliveries::REPORT_DELIVERY;
use crate::sender::{SendError, Sender};
use crate::stores::{NOTIFICATIONS, OUTBOX, SIGNAL, SIGNAL_KEY, parse_outbox_key};
use crate::wire;

/// Pause before a task is looked for again that is not here, or that does not answer.
const ABSENT_PAUSE: Duration = Duration::from_millis(500);
/// Tries to commit an outcome: together with the pauses as long as a task may take to move or to be rebuilt.
const REPORT_TRIES_MAX: u32 = 60;
/// E-mails that are taken from the outbox at once.
const LOOK_MAX: usize = 64;

/// Sends the e-mails of all tasks of this process.
#[derive(Debug, Clone)]
pub struct Courier {
    tasks: Tasks,
    sender: Arc<dyn Sender>,
    clock: Clock,
    sends_at_once_max: usize,
}

/// An e-mail that is due, and the number of its next try.
#[derive(Debug)]
struct Due {
    mail: Mail,
    attempts_before: u32,
}

/// What the outbox of a task shows.
#[derive(Debug)]
struct Outbox {
    due: Vec<Due>,
    next_due_ms: Option<i64>,
    signal: Option<Bytes>,
}

impl Courier {
    /// A courier between the tasks of notifications and a sender.
    pub fn new(tasks: Tasks, sender: Arc<dyn Sender>, clock: Clock, config: &Config) -> Self {
        Self { tasks, sender, clock, sends_at_once_max: config.sends_at_once_max }
    }

    /// Works until `shutdown`; e-mails on their way are waited for, and their outcomes committed.
    pub async fn run(self, shutdown: CancellationToken) {
        let partitions: FuturesUnordered<_> =
            (0..self.tasks.partitions()).map(|partition| self.serve(partition, &shutdown)).collect();
        partitions.collect::<()>().await;
    }

    async fn serve(&self, partition: u32, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            let result = match self.tasks.for_partition(partition) {
                Ok(handle) => self.attend(handle, shutdown).await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::trace!(partition, %error, "outbox is not here");
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(ABSENT_PAUSE) => {}
                }
            }
        }
    }

    /// Sends what is due, then waits until something is.
    async fn attend(&self, handle: &Handle, shutdown: &CancellationToken) -> Result<(), CallError> {
        let now_ms = self.clock.now_ms();
        // A strong read proves that the task is still owned here: a deposed owner sends nothing.
        let (outbox, _) = handle.read(Consistency::Strong, move |view| look(view, now_ms)).await?;
        if outbox.due.is_empty() {
            let seen = outbox.signal;
            let changed = handle.wait(SIGNAL, SIGNAL_KEY, move |view| {
                (view.get(SIGNAL, SIGNAL_KEY).ok().flatten() != seen).then_some(())
            });
            let due = async {
                match outbox.next_due_ms {
                    Some(next_due_ms) => self.clock.sleep_until(next_due_ms).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = changed => { changed?; }
                () = due => {}
            }
            return Ok(());
        }
        self.send_all(handle, outbox.due, shutdown).await
    }

    async fn send_all(&self, handle: &Handle, due: Vec<Due>, shutdown: &CancellationToken) -> Result<(), CallError> {
        let waiting = Mutex::new(due.into_iter());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let lanes: FuturesUnordered<_> = (0..self.sends_at_once_max)
            .map(|_| async {
                while !shutdown.is_cancelled() {
                    let Some(Due { mail, attempts_before }) = next() else { break };
                    let outcome = self.send(&mail).await;
                    self.report(handle, &mail.order_id, attempts_before, outcome).await?;
                }
                Ok(())
            })
            .collect();
        lanes.collect::<Vec<Result<(), CallError>>>().await.into_iter().collect()
    }

    async fn send(&self, mail: &Mail) -> Outcome {
        match self.sender.send(mail).await {
            Ok(()) => {
                metrics::counter!("ordermesh_mails_total", "outcome" => "sent").increment(1);
                Outcome::Sent
            }
            Err(SendError { reason, is_final }) => {
                metrics::counter!("ordermesh_mails_total", "outcome" => "failed").increment(1);
                Outcome::Failed { error: reason, is_final }
            }
        }
    }

    /// Has the task commit what came of a try. It is tried again while the task may come back here, for without it the
    /// e-mail would be sent a second time; a repeated report changes nothing.
    async fn report(
        &self,
        handle: &Handle,
        order_id: &str,
        attempts_before: u32,
        outcome: Outcome,
    ) -> Result<(), CallError> {
        let payload = wire::report(order_id, attempts_before, outcome);
        let mut tries = 0;
        loop {
            let command = Command {
                name: REPORT_DELIVERY,
                key: Bytes::copy_from_slice(order_id.as_bytes()),
                request_id: None,
                payload: payload.clone(),
                attachment: Bytes::new(),
                time_ms: self.tasks.now_ms(),
                traceparent: None,
            };
            tries += 1;
            match handle.execute(command).await {
                Ok(_) => return Ok(()),
                Err(CallError::Overloaded { .. } | CallError::Moving { .. } | CallError::Stopped { .. })
                    if tries < REPORT_TRIES_MAX =>
                {
                    tokio::time::sleep(ABSENT_PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(order_id, %error, "the outcome of an e-mail is not committed: it may be sent again");
                    return Err(error);
                }
            }
        }
    }
}

/// What is due by now, and when the next is. What was set by a clock that is ahead of ours is due as well: it would wait for as much
/// longer, and a try that comes early does no harm. A damaged store shows nothing: its task rebuilds it.
fn look(view: &View<'_>, now_ms: i64) -> Outbox {
    let mut outbox = Outbox { due: Vec::new(), next_due_ms: None, signal: None };
    outbox.signal = view.get(SIGNAL, SIGNAL_KEY).ok().flatten();
    let mut seen = BTreeSet::new();
    for (key, _) in view.scan(OUTBOX, b"", None, LOOK_MAX).unwrap_or_default() {
        let Some((due_ms, order_id)) = parse_outbox_key(&key) else { continue };
        let row = view.get(NOTIFICATIONS, order_id.as_bytes()).ok().flatten();
        let row = row.and_then(|row| wire::notification_row(&row).ok());
        let Some((row, delivery)) = row.and_then(|row| wire::delivery_of(&row).ok().map(|delivery| (row, delivery)))
        else {
            tracing::error!(order_id, "an e-mail in the outbox cannot be read");
            continue;
        };
        if due_ms > now_ms && row.changed_ms <= now_ms {
            outbox.next_due_ms = Some(due_ms);
            break;
        }
        if seen.insert(order_id.to_owned()) {
            outbox.due.push(Due { attempts_before: delivery.attempts(), mail: wire::mail(order_id, row) });
        }
    }
    outbox
}

#[cfg(test)]
mod tests;
