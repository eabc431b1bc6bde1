//! The newest events of one partition, and who still has to read which of them. No I/O.
//!
//! A reader is a number: the offset of the first event that is for it and that it has not taken. Events wake only those
//! whom they concern, so that a thousand readers of single keys cost nothing while other keys change.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::{Event, FeedError, FeedPosition, Interest, Taken};

/// What an event counts beside its bytes.
const EVENT_BYTES: usize = 160;

/// Held for a reader as long as it keeps up.
pub(super) type Held = Option<Box<dyn std::any::Any + Send + Sync>>;

/// One partition, as far as it is in memory.
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    /// Events that stand at or behind this offset and have a higher number than `from_sequence` are all here, up to `at`.
    from: u64,
    from_sequence: u64,
    /// What has been read of the log; none while nobody reads it.
    at: Option<FeedPosition>,
    /// Another number whenever gathering begins or ends. A follower that was told to stop may still be on its way here with
    /// what it has read: it knows the number that it began with, and is not listened to when there is another.
    turn: u64,
    /// Number of the last record that has been read.
    passed: watch::Sender<u64>,
    pub(super) follower: Option<AbortHandle>,
    readers: Readers,
    /// Value of `from` when readers were last looked through for those who are too slow.
    swept: u64,
}

#[derive(Default)]
struct Readers {
    by_id: HashMap<u64, Reader>,
    by_key: HashMap<Bytes, Vec<u64>>,
    by_group: HashMap<Bytes, Vec<u64>>,
    of_all: Vec<u64>,
    next_id: u64,
}

struct Reader {
    interest: Interest,
    /// It has seen everything up to this number before it came here.
    after: u64,
    /// Offset of the first event that it has to look at.
    first: Option<u64>,
    ended: Option<FeedError>,
    wake: Arc<Notify>,
    held: Held,
}

impl Reader {
    fn offer(&mut self, event: &Event) {
        if self.first.is_none() && event.sequence > self.after && self.interest.wants(event) {
            self.first = Some(event.offset);
            self.wake.notify_one();
        }
    }

    /// The first reason is the one that it is told.
    fn end(&mut self, why: FeedError) {
        self.ended.get_or_insert(why);
        self.held = None;
        self.wake.notify_one();
    }
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max,
            from: 0,
            from_sequence: 0,
            at: None,
            turn: 0,
            passed: watch::Sender::new(0),
            follower: None,
            readers: Readers::default(),
            swept: 0,
        }
    }

    /// Whether somebody who stands at this position can go on here: what follows it is, or will be, in memory.
    pub(super) fn covers(&self, position: &FeedPosition) -> bool {
        self.at.is_some_and(|at| at.incarnation == position.incarnation)
            && position.offset >= self.from
            && position.sequence >= self.from_sequence
    }

    /// What is being read now.
    pub(super) fn position(&self) -> Option<FeedPosition> {
        self.at
    }

    /// Begins to gather at this position. Readers of what was gathered before are ended. Returns the turn of the follower that
    /// is to bring what is gathered.
    pub(super) fn begin(&mut self, at: FeedPosition) -> u64 {
        self.end(&FeedError::AnotherLife);
        self.events.clear();
        (self.from, self.from_sequence, self.swept, self.at) = (at.offset, at.sequence, at.offset, Some(at));
        // Whoever begins has seen all up to its own number; others wait until the log says where it stands.
        self.passed.send_replace(0);
        self.turn
    }

    /// Takes what was read from the log, which now is read up to `at`. `base` is what the log had counted to before the first
    /// record, once that is known: readers who have seen less miss records, which nobody can bring them. Returns whether it is still this follower's
    /// turn; if not, nothing has changed.
    pub(super) fn push(&mut self, turn: u64, base: Option<u64>, events: Vec<Event>, at: FeedPosition) -> bool {
        if turn != self.turn {
            return false;
        }
        if let Some(base) = base {
            self.from_sequence = base;
            self.end_those_before(base, events.first().map_or(at.offset, |event| event.offset));
        }
        for event in events {
            self.readers.offer(&event);
            self.bytes += size(&event);
            self.events.push_back(Arc::new(event));
        }
        while self.bytes > self.bytes_max && self.events.len() > 1 {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= size(&gone);
            (self.from, self.from_sequence) = (gone.offset + 1, gone.sequence);
        }
        self.at = Some(at);
        self.passed.send_replace(at.sequence);
        let middle = self.events.get(self.events.len() / 2).map_or(at.offset, |event| event.offset);
        if self.from > self.swept {
            // Each reader is looked at once while the ring turns over halfway, whatever the size of the pieces.
            self.swept = middle;
            self.cut_off_the_slow();
        }
        true
    }

    /// A follower can read no more: ends everybody, if it is still its turn.
    pub(super) fn fail(&mut self, turn: u64, why: &FeedError) {
        if turn == self.turn {
            // The follower that says so ends by itself.
            self.follower = None;
            self.end(why);
        }
    }

    /// Ends everybody.
    fn end(&mut self, why: &FeedError) {
        self.turn += 1;
        for reader in self.readers.by_id.values_mut() {
            reader.end(why.clone());
        }
        self.at = None;
        // Whoever waits for a number looks again, and finds that it has ended.
        self.passed.send_replace(u64::MAX);
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        self.events.clear();
        self.bytes = 0;
    }

    /// Enlists a reader that stands at a position that is covered.
    pub(super) fn enlist(&mut self, position: &FeedPosition, interest: Interest, held: Held) -> (u64, Arc<Notify>) {
        let wake = Arc::new(Notify::new());
        let after = position.sequence;
        let first = self.events.iter().find(|event| event.sequence > after && interest.wants(event));
        let first = first.map(|event| event.offset);
        let reader = Reader { interest, after, first, ended: None, wake: wake.clone(), held };
        (self.readers.add(reader), wake)
    }

    /// Takes a reader off the list. Without readers nothing is gathered.
    pub(super) fn leave(&mut self, id: u64) {
        self.readers.remove(id);
        if self.readers.by_id.is_empty() {
            self.end(&FeedError::AnotherLife);
        }
    }

    /// Whether there is something for a reader, or it has ended.
    pub(super) fn has_news(&self, id: u64) -> bool {
        self.readers.by_id.get(&id).is_none_or(|reader| reader.first.is_some() || reader.ended.is_some())
    }

    pub(super) fn passed(&self) -> watch::Receiver<u64> {
        self.passed.subscribe()
    }

    /// The next events for a reader: at most about `bytes_max` bytes, and none numbered above `upto`.
    pub(super) fn take(&mut self, id: u64, upto: u64, bytes_max: usize) -> Result<Taken, FeedError> {
        let Some(reader) = self.readers.by_id.get_mut(&id) else { return Err(FeedError::AnotherLife) };
        if let Some(ended) = &reader.ended {
            return Err(ended.clone());
        }
        let Some(at) = self.at else { return Err(FeedError::AnotherLife) };
        let mut taken = Taken { events: Vec::new(), position: at };
        let Some(first) = reader.first else { return Ok(taken) };
        if first < self.from {
            reader.end(FeedError::Behind);
            return Err(FeedError::Behind);
        }
        // Records that nobody sees may stand before the next event. A position behind them would not account for them: who
        // began there would miss their numbers. So it goes on behind the last event that was looked at.
        let (mut bytes, mut seen, mut offset) = (0, reader.after, 0);
        let begin = self.events.partition_point(|event| event.offset < first);
        for event in self.events.range(begin..) {
            if event.sequence > upto || bytes >= bytes_max {
                reader.first = Some(event.offset);
                let sequence = if event.sequence > upto { upto } else { seen };
                taken.position = FeedPosition { sequence, offset, ..at };
                return Ok(taken);
            }
            (seen, offset) = (event.sequence, event.offset + 1);
            if event.sequence > reader.after && reader.interest.wants(event) {
                bytes += event.content.body.len();
                taken.events.push(event.clone());
            }
        }
        reader.first = None;
        Ok(taken)
    }

    fn end_those_before(&mut self, sequence: u64, earliest: u64) {
        for reader in self.readers.by_id.values_mut().filter(|reader| reader.after < sequence) {
            tracing::error!(sequence, seen = reader.after, offset = earliest, "records are missing for a reader");
            reader.end(FeedError::Expired { earliest });
        }
    }

    fn cut_off_the_slow(&mut self) {
        let from = self.from;
        let slow = |reader: &&mut Reader| reader.ended.is_none() && reader.first.is_some_and(|first| first < from);
        for reader in self.readers.by_id.values_mut().filter(slow) {
            reader.end(FeedError::Behind);
        }
    }
}

impl Readers {
    fn add(&mut self, reader: Reader) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.list(&reader.interest).push(id);
        self.by_id.insert(id, reader);
        id
    }

    fn remove(&mut self, id: u64) {
        let Some(reader) = self.by_id.remove(&id) else { return };
        let list = self.list(&reader.interest);
        list.retain(|other| *other != id);
        if list.is_empty() {
            match (&reader.interest.key, &reader.interest.group) {
                (Some(key), _) => drop(self.by_key.remove(key)),
                (None, Some(group)) => drop(self.by_group.remove(group)),
                (None, None) => {}
            }
        }
    }

    /// Who is told of events that fit the narrowest condition of this interest.
    fn list(&mut self, interest: &Interest) -> &mut Vec<u64> {
        match (&interest.key, &interest.group) {
            (Some(key), _) => self.by_key.entry(key.clone()).or_default(),
            (None, Some(group)) => self.by_group.entry(group.clone()).or_default(),
            (None, None) => &mut self.of_all,
        }
    }

    fn offer(&mut self, event: &Event) {
        let of_key = self.by_key.get(&event.key).into_iter().flatten();
        let of_group = self.by_group.get(&event.content.group).into_iter().flatten();
        for id in of_key.chain(of_group).chain(&self.of_all) {
            if let Some(reader) = self.by_id.get_mut(id) {
                reader.offer(event);
            }
        }
    }
}

fn size(event: &Event) -> usize {
    EVENT_BYTES + event.key.len() + event.content.group.len() + event.content.body.len()
}
