//! One commit in the making: the pure step from state and inputs to new state, outputs and answers. No I/O but reads of the
//! store, no clock, no order that depends on a hash.

mod finish;
mod setting;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use event_log::{Header, StoredRecord, TopicName, TopicPartition};
use state_store::Store;
use xxhash_rust::xxh3::Xxh3;

use crate::changelog::Output;
use crate::dead_letters::{CUT_HEADER, PLACE_HEADER, REASON_HEADER};
use crate::definition::{CommandHandler, RecordHandler, TimerHandler};
use crate::overlay::Overlay;
use crate::progress::{Progress, Verdict, judge};
use crate::{
    CallError, Command, Context, Input, ProcessError, Reply, Source, TRACE_HEADER, TaskError, Timer, Work, keys,
};

pub(crate) use finish::{Finished, Held, Holding};
pub(crate) use setting::Setting;

/// Longest trace context that is handed on, in bytes: W3C's has 55, and later versions may add to it. What comes from outside may be of
/// any length, and would make records that the log does not take.
const TRACEPARENT_BYTES_MAX: usize = 128;

/// What has been computed for the next commit.
pub(crate) struct Batch<'a> {
    setting: &'a Setting,
    progress: &'a Progress,
    store: &'a dyn Store,
    overlay: Overlay,
    emitted: Vec<Output>,
    positions: BTreeMap<usize, u64>,
    watermarks: BTreeMap<(usize, Arc<str>, u128), u64>,
    /// The owner's clock.
    clock_ms: i64,
    /// Latest event time seen, and what it may be at the most.
    stream_time_ms: i64,
    stream_time_max_ms: i64,
    /// Records that were read since the last commit.
    records: usize,
    items: usize,
    bytes: usize,
    /// A command was executed: its answer may rest on what is held.
    answers: bool,
    /// A timer was looked at: what has moved it or taken it back must be committed for it to rest.
    fires: bool,
    spans: Vec<tracing::Span>,
    skipped: u64,
    lost: u64,
    dead: u64,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("items", &self.items).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    /// Goes on from what is held. `clock_ms` is the owner's clock: stream time runs no further ahead of it than the setting allows,
    /// also where an earlier batch had to believe in a clock that was set right since.
    pub(crate) fn new(
        setting: &'a Setting,
        progress: &'a Progress,
        store: &'a dyn Store,
        held: Held,
        clock_ms: i64,
    ) -> Self {
        let stream_time_max_ms = clock_ms.saturating_add(setting.clock_skew_max_ms);
        Self {
            setting,
            progress,
            store,
            overlay: held.overlay,
            emitted: Vec::new(),
            positions: held.positions,
            watermarks: held.watermarks,
            clock_ms,
            stream_time_ms: progress.stream_time_ms.max(held.stream_time_ms).min(stream_time_max_ms),
            stream_time_max_ms,
            records: held.records,
            items: 0,
            bytes: held.bytes,
            answers: false,
            fires: false,
            spans: held.spans,
            skipped: 0,
            lost: 0,
            dead: 0,
        }
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Bytes of the commit so far, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Processes the next record of an input, by its index in the definition. A record that its sender has sent before only
    /// moves the position.
    ///
    /// # Errors
    /// The store failed, or the input has lost records.
    pub(crate) fn record(&mut self, input: usize, stored: &StoredRecord) -> Result<(), TaskError> {
        if !self.arrives(input, stored)? {
            return Ok(());
        }
        let (topic, handler) = &self.setting.definition.inputs[input];
        let record = &stored.record;
        self.saw(record.timestamp_ms);
        let key = record.key.as_deref().unwrap_or_default();
        let parent = record.header(TRACE_HEADER);
        let handler: RecordHandler = handler.clone();
        let topic = topic.clone();
        let done = self.work("process", topic.as_str(), key, record.timestamp_ms, parent, |context| {
            handler(context, &Input { topic: &topic, offset: stored.offset, record })
        });
        match done {
            Err(ProcessError::Store(error)) => return Err(TaskError::from_store(error)),
            Err(ProcessError::Poison(reason)) => self.bury(&topic, stored, &reason),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Sends the next record of an input to the dead letters, without a look at it.
    ///
    /// # Errors
    /// The input has lost records.
    pub(crate) fn set_aside(&mut self, input: usize, stored: &StoredRecord, reason: &str) -> Result<(), TaskError> {
        if self.arrives(input, stored)? {
            let (topic, _) = &self.setting.definition.inputs[input];
            self.saw(stored.record.timestamp_ms);
            self.bury(topic, stored, reason);
        }
        Ok(())
    }

    /// Moves the position behind a record. Whether it is to be processed.
    fn arrives(&mut self, input: usize, stored: &StoredRecord) -> Result<bool, TaskError> {
        let (topic, _) = &self.setting.definition.inputs[input];
        self.positions.insert(input, stored.offset.0 + 1);
        self.items += 1;
        self.records += 1;
        let is_next = self.take(input, topic, stored)?;
        self.skipped += u64::from(!is_next);
        Ok(is_next)
    }

    /// Whether the record is the next of its sender; records from outside the mesh always are. A sender sends in order and once
    /// the one before is in the log, so that one whose predecessors are missing tells of a loss: what was acknowledged is gone.
    fn take(&mut self, input: usize, topic: &TopicName, stored: &StoredRecord) -> Result<bool, TaskError> {
        let Some(source) = Source::of(&stored.record) else { return Ok(true) };
        let committed =
            self.progress.inputs.get(topic.as_str()).and_then(|input| input.watermarks.get_key_value(source.task));
        let task = committed.map_or_else(|| Arc::from(source.task), |(task, _)| task.clone());
        let key = (input, task, source.incarnation);
        let before = || committed.and_then(|(_, lives)| lives.get(&source.incarnation)).copied();
        let taken = self.watermarks.get(&key).copied().or_else(before);
        match judge(taken, &source, self.setting.shortcut) {
            Verdict::Duplicate => return Ok(false),
            Verdict::Take => {}
            Verdict::Ahead => {
                let lost = TaskError::InputLost {
                    partition: TopicPartition::new(topic.clone(), self.setting.partition),
                    offset: stored.offset,
                    sender: source.task.to_owned(),
                    first: taken.map_or(1, |taken| taken.saturating_add(1)),
                    last: source.sequence - 1,
                };
                if !self.setting.accept_input_loss {
                    return Err(lost);
                }
                tracing::error!(error = %lost, "the task goes on without what is lost, as it is told to");
                self.lost += source.sequence - 1 - taken.unwrap_or(0);
            }
        }
        self.watermarks.insert(key, source.sequence);
        Ok(true)
    }

    /// Executes a command. The answer may leave the task when this batch is certified, not before.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn command(&mut self, command: &Command) -> Result<Result<Bytes, CallError>, state_store::Error> {
        self.items += 1;
        self.answers = true;
        let fingerprint = fingerprint(command);
        if let Some(id) = &command.request_id
            && let Some(remembered) = self.overlay.get(self.store, &keys::request_key(id))?
        {
            return Ok(recall(&remembered, fingerprint));
        }
        let Some(handler) = self.setting.definition.commands.get(command.name) else {
            return Ok(Err(CallError::Poison(format!("there is no command {}", command.name))));
        };
        let handler: CommandHandler = handler.clone();
        self.saw(command.time_ms);
        let parent = command.traceparent.as_ref();
        let done = self
            .work("command", command.name, &command.key, command.time_ms, parent, |context| handler(context, command));
        match done {
            Err(ProcessError::Store(error)) => Err(error),
            Err(ProcessError::Poison(reason)) => Ok(Err(CallError::Poison(reason))),
            Ok(Reply(reply)) => {
                if let Some(id) = &command.request_id {
                    self.remember(id, fingerprint, &reply, command.time_ms);
                }
                Ok(Ok(reply))
            }
        }
    }

    /// Fires a timer, unless work of this batch has moved it or taken it back.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn timer(&mut self, full_key: &[u8], due_ms: i64, late_ms: i64) -> Result<(), state_store::Error> {
        self.items += 1;
        self.fires = true;
        let set = self.overlay.get(self.store, full_key)?;
        if set.as_deref().and_then(keys::parse_timer_row).is_none_or(|(set_for_ms, _)| set_for_ms != due_ms) {
            return Ok(());
        }
        self.overlay.savepoint();
        self.overlay.set(full_key.to_vec(), None);
        self.saw(due_ms);
        let Some((name, key)) = keys::parse_timer(full_key) else { return Ok(()) };
        let Some(handler) = self.setting.definition.timers.get(name) else {
            tracing::warn!(timer = name, "dropped a timer that this version does not know");
            return Ok(());
        };
        let handler: TimerHandler = handler.clone();
        let timer = Timer { key, due_ms, late_ms };
        match self.work("timer", name, key, due_ms, None, |context| handler(context, &timer)) {
            Err(ProcessError::Store(error)) => Err(error),
            Err(ProcessError::Poison(reason)) => {
                tracing::error!(timer = name, key = %key.escape_ascii(), reason, "timer cannot be processed");
                // The rollback has brought the timer back; without this it would fire for ever.
                self.overlay.set(full_key.to_vec(), None);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Forgets answers whose time is over at `now_ms`, a bounded number at a time. There are none when the clock was set back
    /// behind where the last sweep came to.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn forget(&mut self, from_ms: i64, now_ms: i64, limit: usize) -> Result<(), state_store::Error> {
        if from_ms > now_ms {
            return Ok(());
        }
        self.fires = true;
        let from = keys::request_expiry_key(from_ms, "");
        let to = keys::request_expiry_key(now_ms.saturating_add(1), "");
        for (key, _) in self.overlay.scan(self.store, &from, Some(&to), limit)? {
            if let Some((_, id)) = keys::parse_request_expiry(&key) {
                self.overlay.set(keys::request_key(id), None);
            }
            self.overlay.set(key.to_vec(), None);
            self.items += 1;
        }
        self.saw(now_ms);
        Ok(())
    }

    /// Something has this event time. The work on it is given that time in any case.
    fn saw(&mut self, time_ms: i64) {
        self.stream_time_ms = self.stream_time_ms.max(time_ms.min(self.stream_time_max_ms));
    }

    /// Runs one handler, all or nothing. A panic in a handler is a fault of that input: it must not take the task along.
    fn work<R>(
        &mut self,
        operation: &'static str,
        name: &str,
        key: &[u8],
        now_ms: i64,
        parent: Option<&Bytes>,
        handler: impl FnOnce(&mut Context<'_>) -> Result<R, ProcessError>,
    ) -> Result<R, ProcessError> {
        let setting = self.setting;
        let (span, traceparent) = if setting.tracer.is_enabled() {
            let (service, partition) = (setting.definition.service, setting.partition);
            let work = Work { service, partition, operation, name, key };
            let span = setting.tracer.work(work, parent.map(|p| &p[..]));
            let own = setting.tracer.traceparent(&span);
            (span, own)
        } else {
            (tracing::Span::none(), parent.filter(|parent| parent.len() <= TRACEPARENT_BYTES_MAX).cloned())
        };
        if operation != "timer" {
            self.overlay.savepoint();
        }
        let emitted_before = self.emitted.len();
        let mut context = Context {
            store: self.store,
            overlay: &mut self.overlay,
            emitted: &mut self.emitted,
            outputs: &setting.outputs,
            dead_letters: &setting.dead_letters,
            partitions: setting.partitions,
            partition: setting.partition,
            now_ms,
            clock_ms: self.clock_ms,
            stream_time_ms: self.stream_time_ms,
            traceparent,
            record_bytes_max: setting.record_bytes_max,
        };
        let run = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| handler(&mut context))));
        let done = run.unwrap_or_else(|panic| Err(ProcessError::Poison(format!("a panic: {}", panic_text(&*panic)))));
        let done = done.and_then(|done| Ok((done, self.overlay.weigh()?)));
        match &done {
            Ok((_, bytes)) => self.bytes += bytes + emitted_bytes(&self.emitted[emitted_before..]),
            Err(_) => {
                self.overlay.rollback();
                self.emitted.truncate(emitted_before);
            }
        }
        if !span.is_none() {
            self.spans.push(span);
        }
        done.map(|(done, _)| done)
    }

    /// Sends a record that cannot be processed to the dead letters, with the reason and where it came from. What is too large
    /// for that is cut.
    fn bury(&mut self, topic: &TopicName, stored: &StoredRecord, reason: &str) {
        let service = self.setting.definition.service;
        tracing::warn!(service, %topic, partition = self.setting.partition, offset = %stored.offset, reason, "dead letter");
        self.dead += 1;
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let place = format!("{topic}/{}/{}", self.setting.partition, stored.offset);
        let header = |name: &'static str, value: String| {
            let header = Header::new(name, value);
            (header.name, header.value)
        };
        let mut headers = vec![header(REASON_HEADER, reason), header(PLACE_HEADER, place)];
        let StoredRecord { record, .. } = stored;
        let (mut key, mut value) = (record.key.clone(), record.value.clone());
        let limit = self.setting.record_bytes_max;
        if record.approximate_size() + REASON_BYTES_MAX > limit {
            // With the reason it could be more than the log takes, and the task would stop at its own dead letter. The
            // whole record is still where it came from.
            headers.push(header(CUT_HEADER, value.as_ref().map_or(0, Bytes::len).to_string()));
            key = key.filter(|key| key.len() <= limit / 4);
            value = value.map(|value| value.slice(..value.len().min(limit / 2)));
        } else {
            let theirs = record.headers.iter().filter(|h| h.name != crate::SOURCE_HEADER.as_bytes());
            headers.extend(theirs.map(|h| (h.name.clone(), h.value.clone())));
        }
        self.emitted.push(Output {
            topic: self.setting.dead_letters.clone(),
            partition: self.setting.partition,
            sequence: 0,
            key,
            value,
            headers,
            timestamp_ms: record.timestamp_ms,
        });
        self.bytes += stored.record.approximate_size();
    }

    fn remember(&mut self, id: &str, fingerprint: u128, reply: &Bytes, time_ms: i64) {
        let mut value = Vec::with_capacity(16 + reply.len());
        value.extend_from_slice(&fingerprint.to_be_bytes());
        value.extend_from_slice(reply);
        self.bytes += value.len() + 2 * id.len();
        self.overlay.set(keys::request_key(id), Some(value.into()));
        let expires_ms = time_ms.saturating_add(self.setting.request_memory_ms);
        self.overlay.set(keys::request_expiry_key(expires_ms, id), Some(Bytes::new()));
    }
}

const REASON_BYTES_MAX: usize = 2_048;

fn recall(remembered: &Bytes, fingerprint: u128) -> Result<Bytes, CallError> {
    match remembered.split_first_chunk::<16>() {
        Some((first, _)) if u128::from_be_bytes(*first) == fingerprint => Ok(remembered.slice(16..)),
        _ => Err(CallError::RequestIdReused),
    }
}

fn fingerprint(command: &Command) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(command.name.as_bytes());
    hasher.update(&[0]);
    hasher.update(&command.payload);
    hasher.digest128()
}

fn emitted_bytes(emitted: &[Output]) -> usize {
    let size = |o: &Output| 64 + o.key.as_ref().map_or(0, Bytes::len) + o.value.as_ref().map_or(0, Bytes::len);
    emitted.iter().map(size).sum()
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
