//! From a batch to a certified commit: build, append, apply, answer, publish. And catching up with what others wrote.

use std::time::Instant;

use bytes::Bytes;
use state_store::Change;
use tokio::sync::oneshot;

use super::reads::Ask;
use crate::batch::{Batch, Holding};
use crate::changelog::{Body, Read, VoidReason, encode_commit};
use crate::land::Landed;
use crate::task::Task;
use crate::view::View;
use crate::{CallError, Committed, TaskError};

/// Remembered answers that one commit forgets.
const FORGET_MAX: usize = 1_000;

/// Answers that leave when their commit is certified.
type Replies = Vec<(oneshot::Sender<Result<Committed, CallError>>, Result<Bytes, CallError>)>;

/// A commit on its way.
pub(super) struct InFlight {
    number: u64,
    body: Body,
    body_hash: u128,
    parts: u64,
    replies: Replies,
    span: tracing::Span,
    started: Instant,
    swept_to_ms: Option<i64>,
}

/// What an append or a catch-up came to.
pub(super) enum Activity {
    Landed(Landed),
    Read(Vec<(u64, Bytes)>),
}

impl Task {
    /// Computes one commit of everything that has arrived, and starts to append it. What has no effect needs none.
    pub(super) fn start_commit(&mut self) -> Result<(), TaskError> {
        while self.running.activity.is_none() && self.has_work() && !self.outbox.is_full() {
            self.compute()?;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        let running = &self.running;
        let is_due = || self.timers.next_ms().is_some_and(|at_ms| at_ms <= self.clock.monotonic_ms());
        !running.commands.is_empty() || !running.inputs.queued.is_empty() || is_due()
    }

    fn compute(&mut self) -> Result<(), TaskError> {
        let now = self.moment();
        let running = &mut self.running;
        let started = self.metrics.now();
        let held = std::mem::take(&mut running.held);
        let mut batch = Batch::new(&self.setting, &self.progress, &*self.store, held, now.wall_ms);
        let mut replies = Vec::new();
        let (items_max, bytes_max) = (self.config.batch_items_max, self.config.batch_bytes_max);
        let has_room = |batch: &Batch<'_>| batch.items() < items_max && batch.bytes() < bytes_max;
        for (due_ms, late_ms, key) in self.timers.due(now) {
            if !has_room(&batch) {
                break;
            }
            batch.timer(key, due_ms, late_ms).map_err(TaskError::from_store)?;
        }
        let sweep = self.timers.sweep(now);
        if let Some((from_ms, upto_ms)) = sweep {
            batch.forget(from_ms, upto_ms, FORGET_MAX).map_err(TaskError::from_store)?;
        }
        // However many commands wait, records get half of the room: what commands have set off must come to its end.
        let shared = if running.inputs.queued.is_empty() { 1 } else { 2 };
        while has_room(&batch) && batch.items() * shared < items_max && batch.bytes() * shared < bytes_max {
            let Some((command, reply)) = running.commands.pop_front() else { break };
            if reply.is_closed() {
                // Nobody waits any more and nothing has happened yet: the caller's deadline was the answer.
                continue;
            }
            let answer = batch.command(&command).map_err(TaskError::from_store)?;
            replies.push((reply, answer));
        }
        while has_room(&batch) {
            let Some((input, record)) = running.inputs.next() else { break };
            match self.attempts.take(&self.setting.definition.inputs[input].0, record.offset) {
                Ok(()) => {
                    let processed = batch.record(input, &record);
                    self.attempts.done();
                    processed?;
                }
                Err(reason) => batch.set_aside(input, &record, &reason)?,
            }
        }
        let items = batch.items();
        let is_awaited = || !running.waiters.is_empty() && batch.changed_keys().any(|key| running.waiters.awaits(key));
        let quiet_records_max = self.config.quiet_records_max;
        let holding = if running.overdue || self.config.patience.is_zero() || is_awaited() {
            Holding { quiet_records_max, ..Holding::NONE }
        } else {
            Holding { quiet_records_max, records_max: items_max, bytes_max: bytes_max / 2 }
        };
        let finished = batch.finish(holding);
        self.metrics.batch(items, &finished);
        running.gathered += items;
        let mut body = match finished.outcome {
            Ok(body) => body,
            Err(held) => {
                running.hold(held, self.config.patience);
                self.tell_inputs();
                self.hold_answers(replies);
                if let Some((_, upto_ms)) = sweep {
                    self.timers.find_next_expiry(&*self.store, upto_ms, now).map_err(TaskError::from_store)?;
                }
                return Ok(());
            }
        };
        body.published = self.outbox.take_unrecorded();
        body.snapshot = self.making.announce.take();
        let span = self.commit_span(&finished.spans);
        self.append(body, replies, span, started, sweep.map(|(_, upto_ms)| upto_ms));
        Ok(())
    }

    fn commit_span(&self, work: &[tracing::Span]) -> tracing::Span {
        if work.is_empty() {
            return tracing::Span::none();
        }
        let (service, partition) = (self.setting.definition.service, self.setting.partition);
        self.setting.tracer.commit(service, partition, self.chain.epoch, work)
    }

    /// Appends a commit of what is held and of what has been published, if there is any of it.
    pub(super) fn start_recording(&mut self) {
        let held = std::mem::take(&mut self.running.held);
        if held.is_empty() && !self.outbox.has_unrecorded() && self.making.announce.is_none() {
            self.running.let_go();
            return;
        }
        let started = self.metrics.now();
        let now_ms = self.clock.now_ms();
        let finished = Batch::new(&self.setting, &self.progress, &*self.store, held, now_ms).finish(Holding::NONE);
        let span = self.commit_span(&finished.spans);
        let mut body = finished.outcome.unwrap_or_default();
        body.published = self.outbox.take_unrecorded();
        body.snapshot = self.making.announce.take();
        self.append(body, Vec::new(), span, started, None);
    }

    fn append(
        &mut self,
        body: Body,
        replies: Replies,
        span: tracing::Span,
        started: Instant,
        swept_to_ms: Option<i64>,
    ) {
        self.running.let_go();
        self.metrics.gathered(std::mem::take(&mut self.running.gathered));
        let number = self.chain.number + 1;
        let (entries, body_hash) = encode_commit(
            self.chain.incarnation.unwrap_or(0),
            self.chain.epoch,
            self.identity.life,
            number,
            self.chain.hash,
            &body.encode(),
            self.config.record_bytes_max,
        );
        let replies = self.leak(&body, replies, body_hash);
        let parts = entries.len() as u64;
        self.bytes_since += entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
        let land = self.changelog.clone().land(entries, self.next_offset, self.chain.clone());
        self.running.in_flight = Some(InFlight { number, body, body_hash, parts, replies, span, started, swept_to_ms });
        self.running.activity = Some(Box::pin(async move { Ok(Activity::Landed(land.await?)) }));
    }

    /// Lets something out before the commit is certified: planted bugs.
    fn leak(&mut self, body: &Body, replies: Replies, body_hash: u128) -> Replies {
        if self.config.shortcut.publishes_early() {
            self.outbox.absorb(&mut body.clone(), self.next_offset, self.next_offset, body_hash, &self.progress);
            self.outbox.send();
        }
        if !self.config.shortcut.replies_early() {
            return replies;
        }
        let position = self.position();
        for (reply, answer) in replies {
            let _ = reply.send(answer.map(|reply| Committed { reply, position }));
        }
        Replies::new()
    }

    /// Reads what stands in the log behind what is applied, if a read waits for it.
    pub(super) fn start_catch_up(&mut self) {
        if self.running.activity.is_some() {
            return;
        }
        if let Some(upto) = self.running.reads.held_upto() {
            let (changelog, from) = (self.changelog.clone(), self.next_offset);
            self.running.activity =
                Some(Box::pin(async move { Ok(Activity::Read(changelog.read(from, upto).await?)) }));
        }
    }

    pub(super) fn finish(&mut self, done: Activity) -> Result<(), TaskError> {
        match done {
            Activity::Landed(Landed::AsExpected) => {
                let mut commit = self.running.in_flight.take().expect("an append has its commit");
                let first = self.next_offset;
                self.next_offset += commit.parts;
                self.chain.advance(commit.number, commit.body_hash);
                let body = std::mem::take(&mut commit.body);
                self.apply(body, first, self.next_offset - 1, commit.body_hash)?;
                self.certified(commit)?;
            }
            Activity::Landed(Landed::Abandoned) => {
                self.running.in_flight = None;
                self.rewind_inputs();
            }
            Activity::Landed(Landed::Among(entries)) => {
                self.follow(entries)?;
                if self.running.in_flight.is_some() {
                    let lost = "the commit that the log had taken is not there";
                    return Err(self.changelog.unreadable(self.next_offset, &lost));
                }
            }
            Activity::Read(entries) => self.follow(entries)?,
        }
        self.board.applied(self.next_offset);
        self.tell_inputs();
        self.serve_held();
        self.start_check();
        Ok(())
    }

    /// Reads entries by the reader rule: our own commit may be among them, once, several times or not at all.
    fn follow(&mut self, entries: Vec<(u64, Bytes)>) -> Result<(), TaskError> {
        let mut first = None;
        for (offset, entry) in entries {
            let read = self.chain.read_with(&entry, self.config.shortcut);
            let read = read.map_err(|error| self.changelog.unreadable(offset, &error))?;
            match read {
                Read::Committed(_) => {
                    self.next_offset = offset + 1;
                    let mut commit = self.running.in_flight.take().expect("only we commit in our epoch, one at a time");
                    let body = std::mem::take(&mut commit.body);
                    self.apply(body, first.take().unwrap_or(offset), offset, commit.body_hash)?;
                    self.certified(commit)?;
                }
                Read::Claimed => {
                    self.next_offset = offset + 1;
                    self.last_counted = Some(offset);
                    self.board.read(&self.chain);
                    self.certify_nothing();
                    return Err(TaskError::Fenced { epoch: self.chain.epoch });
                }
                Read::Partial => {
                    first.get_or_insert(offset);
                    self.next_offset = offset + 1;
                }
                Read::Void(VoidReason::OtherOwner) => {
                    let lost = "another owner commits without having claimed: the log has lost a claim";
                    return Err(self.changelog.unreadable(offset, &lost));
                }
                Read::Void(reason) => {
                    tracing::debug!(partition = %self.changelog.partition, offset, ?reason, "void entry");
                    self.next_offset = offset + 1;
                }
            }
        }
        Ok(())
    }

    /// Makes a counted commit the state. `first` and `last` are the offsets of its first and last part.
    fn apply(&mut self, mut body: Body, first: u64, last: u64, body_hash: u128) -> Result<(), TaskError> {
        let mut changes = std::mem::take(&mut body.changes);
        let own = changes.len();
        let announced = body.snapshot.take();
        self.progress.absorb(&body, &mut changes);
        self.outbox.absorb(&mut body, first, last, body_hash, &self.progress);
        self.last_counted = Some(last);
        let announces = announced.is_some();
        announced.into_iter().for_each(|announced| self.note_snapshot(announced, last));
        self.store.apply(&changes, &self.checkpoint().encode()).map_err(TaskError::from_store)?;
        self.timers.absorb(&changes[..own], self.moment());
        self.wake(&changes[..own]);
        self.flush_in_time();
        if announces {
            self.start_trim();
        }
        Ok(())
    }

    fn wake(&mut self, changes: &[Change]) {
        if self.running.waiters.is_empty() {
            return;
        }
        let at = self.position();
        let view = View::of_owner(&*self.store, &self.met_damage);
        for (key, _) in changes {
            self.running.waiters.changed(key, &view, at);
        }
    }

    /// The commit counts: now it may be answered and published.
    fn certified(&mut self, commit: InFlight) -> Result<(), TaskError> {
        let position = self.position();
        for (reply, answer) in commit.replies {
            // The caller may have given up; the effect stays, and a repeat with the same request id finds it.
            let _ = reply.send(answer.map(|reply| Committed { reply, position }));
        }
        self.outbox.send();
        self.metrics.committed(commit.started, self.outbox.waiting());
        drop(commit.span);
        if let Some(upto_ms) = commit.swept_to_ms {
            self.timers.find_next_expiry(&*self.store, upto_ms, self.moment()).map_err(TaskError::from_store)?;
        }
        Ok(())
    }

    /// Another owner has come: what is in flight stands behind its claim, if at all, and never counts. So nothing has happened,
    /// and the callers may go to that owner with it.
    fn certify_nothing(&mut self) {
        let Some(commit) = self.running.in_flight.take() else { return };
        let why = self.not_owner();
        for (reply, _) in commit.replies {
            let _ = reply.send(Err(why.clone()));
        }
    }

    /// Answers that change nothing (remembered ones, refusals) come from state, so they are given like a strong read.
    fn hold_answers(&mut self, replies: Replies) {
        for (reply, answer) in replies {
            let run = Box::new(move |state: Result<(&View<'_>, crate::Position), CallError>| {
                let _ = reply.send(state.and_then(|(_, position)| answer.map(|reply| Committed { reply, position })));
            });
            self.ask(Ask::Read { bound: None, run });
        }
        self.start_check();
    }
}
