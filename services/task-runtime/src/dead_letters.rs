//! Records that could not be processed: what a dead letter says about itself, how a service sets one aside, and how one is
//! brought back to the task that could not process it.
//!
//! A dead letter keeps the partition, key, value, time and headers of its record. It is replayed over `<service>-replays`, to
//! the same partition, hence to the same task: nobody else who reads the source topic sees the record again, and its task
//! takes it behind everything that it has taken before. Whoever writes that topic decides about the order of replays.

use std::collections::BTreeMap;

use bytes::Bytes;
use event_log::{Header, Offset, Record, TopicName, partition_for_key};

use crate::changelog::Output;
use crate::definition::RecordHandler;
use crate::{Context, Definition, Input, ProcessError, SOURCE_HEADER, TRACE_HEADER};

/// Why the record could not be processed.
pub(crate) const REASON_HEADER: &str = "ordermesh-dead-letter-reason";
/// Where it came from: topic, partition, offset, separated by slashes.
pub(crate) const PLACE_HEADER: &str = "ordermesh-dead-letter-source";
/// On a letter that holds less than its record: how many bytes the value had.
pub(crate) const CUT_HEADER: &str = "ordermesh-dead-letter-cut";
/// On a replayed record: the topic whose handler is to take it.
pub(crate) const REPLAY_HEADER: &str = "ordermesh-replay-topic";
/// On a replayed record: the offset that it had on that topic, where its handlers look for it.
pub(crate) const REPLAY_OFFSET_HEADER: &str = "ordermesh-replay-offset";

/// What a record of a dead-letter topic says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why it could not be processed, for people.
    pub reason: String,
    /// Topic that it came from, or what its service calls it.
    pub topic: String,
    /// Partition that it came from.
    pub partition: u32,
    /// Offset that it had there; 0 for what a service set aside by itself.
    pub offset: u64,
    /// Topic whose handler takes it when it is replayed: differs from `topic` when it was replayed before.
    pub handled_as: String,
    /// Size of the record's value, in bytes, if the letter holds less than that.
    pub cut_from_bytes: Option<u64>,
    /// The record's own headers, by name.
    pub headers: Vec<(Bytes, Bytes)>,
}

impl DeadLetter {
    /// Reads the headers of a dead letter; what they do not say is left empty.
    #[must_use]
    pub fn of(letter: &Record) -> Self {
        let text = |name: &str| letter.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let place = text(PLACE_HEADER).unwrap_or_default();
        let mut parts = place.rsplitn(3, '/');
        let offset = parts.next().and_then(|offset| offset.parse().ok()).unwrap_or(0);
        let partition = parts.next().and_then(|partition| partition.parse().ok()).unwrap_or(0);
        let topic = parts.next().unwrap_or_default().to_owned();
        let ours = [REASON_HEADER, PLACE_HEADER, CUT_HEADER, REPLAY_HEADER, SOURCE_HEADER];
        let is_theirs = |header: &&Header| ours.iter().all(|own| header.name != own.as_bytes());
        Self {
            reason: text(REASON_HEADER).unwrap_or_default(),
            handled_as: text(REPLAY_HEADER).unwrap_or_else(|| topic.clone()),
            topic,
            partition,
            offset,
            cut_from_bytes: text(CUT_HEADER).and_then(|bytes| bytes.parse().ok()),
            headers: letter.headers.iter().filter(is_theirs).map(|h| (h.name.clone(), h.value.clone())).collect(),
        }
    }
}

/// A record that is to be processed once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Topic of the replays of the service that could not process it: [`Definition::replays`].
    pub replays: String,
    /// Topic whose handler takes it.
    pub handled_as: String,
    /// Offset that it has on that topic. None when its headers say so, since it was replayed before.
    pub offset: Option<u64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its own headers, by name.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Its event time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Context<'_> {
    /// Sends something that this service gives up to its own dead letters, under a name that [`Definition::letters`] knows.
    ///
    /// # Errors
    /// Poison if it is larger than the log takes.
    pub fn set_aside(
        &mut self,
        name: &str,
        key: &[u8],
        value: impl Into<Bytes>,
        reason: &str,
    ) -> Result<(), ProcessError> {
        let header = |name: &'static str, value: String| (Bytes::from_static(name.as_bytes()), Bytes::from(value));
        let place = format!("{name}/{}/0", self.partition);
        let mut headers = vec![header(REASON_HEADER, reason.to_owned()), header(PLACE_HEADER, place)];
        if let Some(traceparent) = &self.traceparent {
            headers.push((Bytes::from_static(TRACE_HEADER.as_bytes()), traceparent.clone()));
        }
        let (key, value) = (Some(Bytes::copy_from_slice(key)), Some(value.into()));
        self.emit_beside(self.dead_letters.clone(), key, value, headers, self.now_ms)
    }

    /// The partition of a key, as for everything that is emitted.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        partition_for_key(key, self.partitions)
    }

    /// Has a record processed once more by the task of this partition that could not process it.
    ///
    /// # Errors
    /// Poison if its topic is not declared as an output or it is larger than the log takes.
    pub fn replay(&mut self, replay: Replay) -> Result<(), ProcessError> {
        let Some(topic) = self.outputs.iter().find(|topic| topic.as_str() == replay.replays).cloned() else {
            return Err(ProcessError::poison(format!("topic {} is not an output of this service", replay.replays)));
        };
        let header = |name: &'static str, value: String| (Bytes::from_static(name.as_bytes()), Bytes::from(value));
        let mut headers = vec![header(REPLAY_HEADER, replay.handled_as)];
        headers.extend(replay.offset.map(|offset| header(REPLAY_OFFSET_HEADER, offset.to_string())));
        headers.extend(replay.headers);
        self.emit_beside(topic, replay.key, replay.value, headers, replay.timestamp_ms)
    }

    /// Emits to the task's own partition of a topic, whatever the key.
    fn emit_beside(
        &mut self,
        topic: TopicName,
        key: Option<Bytes>,
        value: Option<Bytes>,
        headers: Vec<(Bytes, Bytes)>,
        timestamp_ms: i64,
    ) -> Result<(), ProcessError> {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let of_headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (size, limit) = (length(&key) + length(&value) + of_headers, self.record_bytes_max);
        if size > limit {
            return Err(ProcessError::poison(format!("a record of {size} bytes for {topic} exceeds {limit} bytes")));
        }
        let partition = self.partition;
        self.emitted.push(Output { topic, partition, sequence: 0, key, value, headers, timestamp_ms });
        Ok(())
    }
}

impl Definition {
    /// Topic over which records come back that this service could not process.
    #[must_use]
    pub fn replays(&self) -> TopicName {
        TopicName::new(&format!("{}-replays", self.service))
    }

    /// Takes what this service has set aside under a name, when it is replayed.
    #[must_use]
    pub fn letters<F>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Input<'_>) -> Result<(), ProcessError> + Send + Sync + 'static,
    {
        self.letters.push((TopicName::new(name), std::sync::Arc::new(handler)));
        self
    }

    /// Reads replays too, with the handlers of the topics that the records came from. To be called when all inputs are
    /// declared.
    #[must_use]
    pub fn replayable(self) -> Self {
        let handlers: BTreeMap<TopicName, RecordHandler> =
            self.inputs.iter().chain(&self.letters).map(|(topic, handler)| (topic.clone(), handler.clone())).collect();
        let replays = self.replays();
        self.input(replays.as_str(), move |ctx, input| {
            let name = input.record.header(REPLAY_HEADER).map(|name| String::from_utf8_lossy(name).into_owned());
            let name = name.ok_or_else(|| ProcessError::poison("the replay does not say of which topic it is"))?;
            let handler = handlers.iter().find(|(topic, _)| topic.as_str() == name);
            let (topic, handler) =
                handler.ok_or_else(|| ProcessError::poison(format!("nothing here reads {name} any more")))?;
            let at =
                input.record.header(REPLAY_OFFSET_HEADER).and_then(|at| std::str::from_utf8(at).ok()?.parse().ok());
            handler(ctx, &Input { topic, offset: at.map_or(input.offset, Offset), record: input.record })
        })
    }
}
