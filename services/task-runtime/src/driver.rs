//! Runs a definition without a log, a thread or a clock: the same step as in production, one input at a time, each with a
//! commit of its own. For tests of processors.

use std::time::Duration;

use bytes::Bytes;
use event_log::{Header, Offset, Record, StoredRecord};
use state_store::{MemoryStore, Store};

use crate::batch::{Batch, Finished, Held, Holding, Setting};
use crate::clock::Moment;
use crate::owner::Timers;
use crate::progress::Progress;
use crate::view::View;
use crate::{CallError, Command, Config, Definition, StoreId};

/// A record that a definition has emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Topic that it goes to.
    pub topic: String,
    /// Key.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
    /// Headers.
    pub headers: Vec<Header>,
    /// Event time in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// One task of a definition, driven by hand. Its mesh has one partition.
#[derive(Debug)]
pub struct Driver {
    setting: Setting,
    progress: Progress,
    store: MemoryStore,
    timers: Timers,
    emitted: Vec<Emitted>,
    next_offset: u64,
    now_ms: i64,
}

impl Driver {
    /// A fresh task at time 0.
    #[must_use]
    pub fn new(definition: Definition) -> Self {
        Self {
            setting: setting(definition),
            progress: Progress::default(),
            store: MemoryStore::default(),
            timers: Timers::default(),
            emitted: Vec::new(),
            next_offset: 0,
            now_ms: 0,
        }
    }

    /// Goes on with the same state as a process does that is started anew, with another configuration of the same service.
    #[must_use]
    pub fn restart_as(self, definition: Definition) -> Self {
        Self { setting: setting(definition), ..self }
    }

    /// Time of the next inputs, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Moves the time and fires the timers that are due on the way, earliest first, each at its own time.
    pub fn advance_to(&mut self, now_ms: i64) {
        loop {
            let next = self.timers.due(moment(now_ms)).next().map(|(due_ms, _, key)| (due_ms, key.clone()));
            let Some((due_ms, key)) = next else { break };
            self.now_ms = self.now_ms.max(due_ms);
            self.fire(&key, due_ms);
        }
        self.now_ms = now_ms;
    }

    /// Moves the time while nobody owns the task: timers that come due meanwhile fire at its end, earliest first and late.
    pub fn be_away_until(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let due: Vec<_> = self.timers.due(moment(now_ms)).map(|(due_ms, _, key)| (due_ms, key.clone())).collect();
        for (due_ms, key) in due {
            self.fire(&key, due_ms);
        }
    }

    fn fire(&mut self, key: &[u8], due_ms: i64) {
        let late_ms = self.now_ms.saturating_sub(due_ms);
        self.step(|batch| batch.timer(key, due_ms, late_ms).expect("a store in memory does not fail"));
    }

    /// Processes a record of an input topic, with the present time. Poison lands in the dead letters.
    ///
    /// # Panics
    /// The topic is not an input of the definition.
    pub fn record(&mut self, topic: &str, key: &[u8], value: impl Into<Bytes>) {
        self.record_with(topic, Some(key), value, &[]);
    }

    /// The same with any headers, or without a key.
    ///
    /// # Panics
    /// The topic is not an input of the definition.
    pub fn record_with(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: impl Into<Bytes>,
        headers: &[(&'static str, &str)],
    ) {
        self.record_of(self.now_ms, topic, key, value, headers);
    }

    /// The same, with another time than the present one: it has waited, or another clock has stamped it.
    ///
    /// # Panics
    /// The topic is not an input of the definition.
    pub fn record_of(
        &mut self,
        timestamp_ms: i64,
        topic: &str,
        key: Option<&[u8]>,
        value: impl Into<Bytes>,
        headers: &[(&'static str, &str)],
    ) {
        let input = self.setting.definition.inputs.iter().position(|(name, _)| name.as_str() == topic);
        let input = input.unwrap_or_else(|| panic!("{topic} is not an input"));
        let (key, value) = (key.map(Bytes::copy_from_slice), Some(value.into()));
        let headers = headers.iter().map(|(name, value)| Header::new(name, (*value).to_owned())).collect();
        let record = Record { key, value, headers, timestamp_ms };
        let stored = StoredRecord { offset: Offset(self.next_offset), record };
        self.next_offset += 1;
        self.step(|batch| batch.record(input, &stored).expect("a store in memory does not fail"));
    }

    /// Executes a command with the present time.
    ///
    /// # Errors
    /// As the runtime would answer.
    pub fn command(
        &mut self,
        name: &'static str,
        key: &[u8],
        request_id: Option<&str>,
        payload: impl Into<Bytes>,
        attachment: impl Into<Bytes>,
    ) -> Result<Bytes, CallError> {
        let command = Command {
            name,
            key: Bytes::copy_from_slice(key),
            request_id: request_id.map(str::to_owned),
            payload: payload.into(),
            attachment: attachment.into(),
            time_ms: self.now_ms,
            traceparent: None,
        };
        self.step(|batch| batch.command(&command).expect("a store in memory does not fail"))
    }

    /// Takes what has been emitted since the last call, in order.
    pub fn emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }

    /// Read access to the state.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View::new(&self.store)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, store: StoreId, key: &[u8]) -> Option<Bytes> {
        self.view().get(store, key).expect("a store in memory does not fail")
    }

    /// When the next timer is due, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<i64> {
        self.timers.next_ms()
    }

    fn step<R>(&mut self, work: impl FnOnce(&mut Batch<'_>) -> R) -> R {
        let mut batch = Batch::new(&self.setting, &self.progress, &self.store, Held::default(), self.now_ms);
        let result = work(&mut batch);
        let Finished { outcome, .. } = batch.finish(Holding::NONE);
        let mut body = outcome.unwrap_or_default();
        let mut changes = std::mem::take(&mut body.changes);
        self.timers.absorb(&changes, moment(self.now_ms));
        self.progress.absorb(&body, &mut changes);
        self.store.apply(&changes, b"").expect("a store in memory does not fail");
        for output in body.outputs {
            self.emitted.push(Emitted {
                topic: output.topic.as_str().to_owned(),
                key: output.key.unwrap_or_default(),
                value: output.value.unwrap_or_default(),
                headers: output.headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
                timestamp_ms: output.timestamp_ms,
            });
        }
        result
    }
}

fn setting(definition: Definition) -> Setting {
    // Tests that bring something late move the time back: no clock is wrong here.
    let config = Config { clock_skew_max: Duration::MAX, ..Config::default() };
    Setting::new(definition, 0, 1, &config)
}

/// Nobody sets the clocks of a driver against each other.
fn moment(now_ms: i64) -> Moment {
    Moment { wall_ms: now_ms, monotonic_ms: now_ms }
}
