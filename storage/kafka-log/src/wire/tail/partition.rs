//! The tail of one partition. No I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use event_log::{FetchedBatch, Offset, StoredRecord};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Group;

/// What nobody has read yet may be so large; then the tail waits for its readers.
const UNREAD_BYTES_MAX: u64 = 512 * 1024;
/// What the first reader has read is kept for the others: so much of it, and so long.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;
const KEPT_FOR: Duration = Duration::from_secs(2);

/// What is known of the end of one partition: all its records from `base` to `next`.
#[derive(Debug)]
pub(super) struct Tail {
    /// With whom it is asked for.
    pub(super) group: Group,
    /// With whom it was asked for before, and still is until a request of its group has it.
    pub(super) leaving: Option<Group>,
    /// When something last came.
    moved: Option<Instant>,
    base: Offset,
    next: Offset,
    /// Readers have been so far: it exists, though it is not here yet.
    exists: Offset,
    high_watermark: Offset,
    as_of: Instant,
    chunks: VecDeque<Chunk>,
    /// Bytes that ever came, and how many of these the first reader has read.
    came: u64,
    read: u64,
    /// How far the first reader is.
    read_to: Offset,
    asked: Instant,
    /// Whether a request under way waits for `next`.
    followed: bool,
    waiting: Vec<(u64, Arc<Notify>)>,
}

/// What one answer brought.
#[derive(Debug)]
struct Chunk {
    records: Vec<StoredRecord>,
    next: Offset,
    /// Value of `came` with these records.
    until: u64,
    brought: Instant,
}

impl Tail {
    pub(super) fn new(group: Group, at: Offset, now: Instant) -> Self {
        Self {
            group,
            leaving: None,
            moved: None,
            base: at,
            next: at,
            exists: at,
            high_watermark: at,
            as_of: now,
            chunks: VecDeque::new(),
            came: 0,
            read: 0,
            read_to: at,
            asked: now,
            followed: false,
            waiting: Vec::new(),
        }
    }

    /// Whether what follows this offset is here, or will come.
    pub(super) fn covers(&self, offset: Offset) -> bool {
        (self.base..=self.next.max(self.exists)).contains(&offset)
    }

    /// Where the records that are here end.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Notes that somebody has read up to here.
    pub(super) fn exists_up_to(&mut self, offset: Offset) {
        self.exists = self.exists.max(offset);
    }

    /// Notes where a reader is. True if the tail had waited for readers, and needs not any more.
    pub(super) fn asked(&mut self, offset: Offset, now: Instant) -> bool {
        self.asked = now;
        if offset <= self.read_to {
            return false;
        }
        let waited = self.wanted().is_none();
        self.read_to = offset;
        let unread = self.chunks.partition_point(|chunk| chunk.next <= offset);
        let read = unread.checked_sub(1).and_then(|last| self.chunks.get(last));
        self.read = read.map_or(self.read, |chunk| self.read.max(chunk.until));
        waited && self.wanted().is_some()
    }

    /// Where the next request is to go on; none while nobody reads what there is.
    pub(super) fn wanted(&self) -> Option<Offset> {
        (self.came - self.read <= UNREAD_BYTES_MAX).then_some(self.next)
    }

    /// Whether a request under way waits for what comes next.
    pub(super) fn is_followed(&self) -> bool {
        self.followed
    }

    /// Notes that a request does, or that none does. Readers are told, since those that asked for themselves need not.
    pub(super) fn follow(&mut self, followed: bool) {
        if followed && !self.followed {
            self.wake();
        }
        self.followed = followed;
    }

    /// Records from an offset on, about so many bytes; none if there are none yet.
    pub(super) fn from(&self, offset: Offset, bytes: usize) -> Option<FetchedBatch> {
        let first = self.chunks.partition_point(|chunk| chunk.next <= offset);
        let mut records: Vec<StoredRecord> = Vec::new();
        let mut size = 0;
        'all: for chunk in self.chunks.range(first..) {
            let skip = chunk.records.partition_point(|stored| stored.offset < offset);
            for stored in &chunk.records[skip..] {
                size += stored.record.approximate_size();
                if size > bytes && !records.is_empty() {
                    break 'all;
                }
                records.push(stored.clone());
            }
        }
        let (high_watermark, as_of) = (self.high_watermark, self.as_of);
        (!records.is_empty()).then_some(FetchedBatch { records, high_watermark, as_of })
    }

    /// Takes what follows `next`.
    pub(super) fn take(
        &mut self,
        records: Vec<StoredRecord>,
        next: Offset,
        (high_watermark, as_of): (Offset, Instant),
    ) {
        (self.high_watermark, self.as_of) = (high_watermark, as_of);
        if next <= self.next {
            return;
        }
        self.next = next;
        if !records.is_empty() {
            self.came += records.iter().map(|stored| stored.record.approximate_size() as u64).sum::<u64>();
            let now = Instant::now();
            self.chunks.push_back(Chunk { records, next, until: self.came, brought: now });
            self.let_go(now);
        }
        self.wake();
    }

    /// Whether it is asked for with this group, for good or until another has it.
    pub(super) fn is_asked_with(&self, group: &Group) -> bool {
        self.group == *group || self.leaving.as_ref() == Some(group)
    }

    /// Whether something comes that soon after the last.
    pub(super) fn is_moving(&mut self, now: Instant, within: Duration) -> bool {
        self.moved.replace(now).is_some_and(|moved| now.duration_since(moved) < within)
    }

    /// Whether nothing has come for so long.
    pub(super) fn is_still(&self, now: Instant, since: Duration) -> bool {
        self.moved.is_none_or(|moved| now.duration_since(moved) > since)
    }

    /// Lets go of what was kept for long enough.
    pub(super) fn let_go(&mut self, now: Instant) {
        while let Some(oldest) = self.chunks.front() {
            let is_read = oldest.until <= self.read;
            let is_kept = self.read - oldest.until.min(self.read) < KEPT_BYTES_MAX
                && now.duration_since(oldest.brought) < KEPT_FOR;
            if !is_read || is_kept {
                break;
            }
            self.base = oldest.next;
            self.chunks.pop_front();
        }
    }

    /// Lets go of what the log does not have any more.
    pub(super) fn remove_below(&mut self, offset: Offset) {
        self.base = self.base.max(offset.min(self.next));
        while self.chunks.front().is_some_and(|oldest| oldest.next <= offset) {
            self.chunks.pop_front();
        }
    }

    pub(super) fn is_unasked(&self, now: Instant, since: Duration) -> bool {
        self.waiting.is_empty() && now.duration_since(self.asked) > since
    }

    /// Adds a reader to those that are woken. False if it is among them.
    pub(super) fn enlist(&mut self, reader: u64, woken: &Arc<Notify>) -> bool {
        let is_new = self.waiting.iter().all(|(number, _)| *number != reader);
        if is_new {
            self.waiting.push((reader, woken.clone()));
        }
        is_new
    }

    pub(super) fn leave(&mut self, reader: u64, now: Instant) {
        self.asked = now;
        self.waiting.retain(|(number, _)| *number != reader);
    }

    pub(super) fn wake(&self) {
        for (_, reader) in &self.waiting {
            reader.notify_one();
        }
    }
}
