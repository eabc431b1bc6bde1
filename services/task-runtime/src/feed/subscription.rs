//! One reader of one partition: it catches up by itself from where it stands, and then reads along with everybody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::follow::Base;
use super::ring::Held;
use super::{Channel, Event, Feed, FeedError, FeedPosition, Interest, follow};

/// Distance from the end of the log from which on a reader that is alone reads for everybody.
const NEAR_THE_END: u64 = 1_000;
/// How long a reader that reads by itself waits at the end of the log before it looks whether it can join the others.
const WAIT_AT_END: Duration = Duration::from_millis(100);

/// Some events, and the position behind them.
#[derive(Debug)]
pub struct Taken {
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// Everything up to here that the reader wants has now been given to it.
    pub position: FeedPosition,
}

/// A reader. Dropping it ends it.
pub struct Subscription {
    feed: Feed,
    partition: u32,
    interest: Interest,
    at: FeedPosition,
    /// End of the log when the reader began.
    end: u64,
    /// Reading by itself, it found nothing more.
    is_at_end: bool,
    /// Its number in the ring, once it reads there, and what wakes it.
    enlisted: Option<(u64, Arc<Notify>)>,
    held: Held,
}

impl Subscription {
    pub(super) fn new(feed: Feed, partition: u32, at: FeedPosition, interest: Interest, end: u64) -> Self {
        Self { feed, partition, interest, at, end, is_at_end: false, enlisted: None, held: None }
    }

    /// Keeps something until the reader ends or is found too slow, whichever comes first.
    pub fn hold(&mut self, held: impl std::any::Any + Send + Sync) {
        self.held = Some(Box::new(held));
    }

    /// Returns when there may be something to take. Dropping the future loses nothing.
    pub async fn changed(&self) {
        let Some((id, wake)) = &self.enlisted else { return };
        // One permit may be left of an event that was taken meanwhile, so that it is looked again.
        while !self.channel().ring().has_news(*id) {
            wake.notified().await;
        }
    }

    /// Returns when the feed has been read up to this number, whether or not anything of it was for this reader, or when
    /// the reader has to read by itself, or has ended.
    pub async fn passed(&mut self, sequence: u64) {
        if self.at.sequence >= sequence || self.enlist().is_none() {
            return;
        }
        let mut passed = self.channel().ring().passed();
        // The sender lives as long as the feed.
        let _ = passed.wait_for(|passed| *passed >= sequence).await;
    }

    /// The next events: about `bytes_max` bytes at the most, and none that is numbered above `upto`.
    ///
    /// # Errors
    /// [`FeedError`]; then the reader has ended.
    pub async fn take(&mut self, upto: u64, bytes_max: usize) -> Result<Taken, FeedError> {
        let taken = match self.enlist() {
            Some(id) => self.channel().ring().take(id, upto, bytes_max)?,
            None => self.read_alone(upto).await?,
        };
        // Who reads for all may not have come to where this reader began.
        let FeedPosition { sequence, offset, .. } = taken.position;
        self.at.sequence = self.at.sequence.max(sequence);
        self.at.offset = self.at.offset.max(offset);
        Ok(Taken { position: self.at, ..taken })
    }

    fn channel(&self) -> &Channel {
        &self.feed.0.partitions[self.partition as usize]
    }

    /// Its number in the ring, if what follows its position is there.
    fn enlist(&mut self) -> Option<u64> {
        if let Some((id, _)) = &self.enlisted {
            return Some(*id);
        }
        let feed = self.feed.clone();
        let mut ring = feed.0.partitions[self.partition as usize].ring();
        if !ring.covers(&self.at) {
            let another_life = ring.position().is_some_and(|at| at.incarnation != self.at.incarnation);
            let is_free = ring.position().is_none() || another_life;
            if !is_free || self.at.offset.saturating_add(NEAR_THE_END) < self.end {
                return None;
            }
            let turn = ring.begin(self.at);
            let job = tokio::spawn(follow::run(self.feed.clone(), self.partition, self.at, turn));
            ring.follower = Some(job.abort_handle());
        }
        let enlisted = ring.enlist(&self.at, self.interest.clone(), self.held.take());
        let id = enlisted.0;
        self.enlisted = Some(enlisted);
        Some(id)
    }

    /// Reads old records from the log for this reader alone: one fetch.
    async fn read_alone(&mut self, upto: u64) -> Result<Taken, FeedError> {
        let shared = &*self.feed.0;
        // Waiting for records takes no memory, and so no turn.
        let (_turn, wait) = match self.is_at_end {
            true => (None, WAIT_AT_END),
            false => (Some(shared.catch_ups.acquire().await.expect("nobody closes it")), Duration::ZERO),
        };
        let channel = &shared.partitions[self.partition as usize];
        let mut position = self.at;
        let base = (&mut Base::OfPosition, self.at.sequence);
        let events = follow::read(shared, channel, &mut position, base, wait).await?;
        self.is_at_end = position == self.at;
        let mut taken = Taken { events: Vec::new(), position };
        let mut offset = self.at.offset;
        for event in events {
            if event.sequence > upto {
                // Not behind records that nobody sees: they are not accounted for.
                taken.position = FeedPosition { sequence: upto, offset, ..position };
                break;
            }
            offset = event.offset + 1;
            if self.interest.wants(&event) {
                taken.events.push(Arc::new(event));
            }
        }
        Ok(taken)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some((id, _)) = self.enlisted.take() {
            self.channel().ring().leave(id);
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("feed", &self.feed).field("at", &self.at).finish_non_exhaustive()
    }
}
