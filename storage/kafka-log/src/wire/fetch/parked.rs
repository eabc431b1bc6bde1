//! Requests that wait at a broker although no fetch waits for them any more.
//!
//! A fetch over several brokers ends with the first that has something, or when somebody else waits for the same. The
//! requests at the others wait on, and the next fetch from the same offsets takes them over. An answer that came in between is taken as well: records at an offset do not
//! change, so it only knows a little less of what came later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use event_log::{Offset, TopicPartition};
use kafka_protocol::messages::FetchResponse;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::wire::meters::Meters;
use crate::wire::tail::Tails;

/// How many there may be, and how long they are kept for the fetch that they belong to.
const PARKED_MAX: usize = 512;
const PARKED_FOR: Duration = Duration::from_secs(6);

/// When a request was sent, and its answer.
pub(super) type Answer = (Instant, Result<FetchResponse, crate::wire::Error>);
/// What makes two requests the same: the broker, the partitions with their offsets, the limit of bytes.
pub(super) type Key = (String, Vec<(TopicPartition, Offset)>, usize);
/// A request under way, and until when it is kept.
type Waiting = (oneshot::Receiver<Answer>, Instant);

/// What fetches leave to each other.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tails: Tails,
    pub(super) meters: Meters,
    parked: Mutex<HashMap<Key, Waiting>>,
    turn: AtomicUsize,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let meters = Meters::new();
        let tails = Tails::new(meters.clone());
        Self { tails, meters, parked: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    /// A number that grows with each request.
    pub(super) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The request that waits for the same already.
    pub(super) fn take(&self, key: &Key) -> Option<oneshot::Receiver<Answer>> {
        let (waiting, _) = self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(key)?;
        Some(waiting)
    }

    fn park(&self, key: Key, waiting: oneshot::Receiver<Answer>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        parked.retain(|_, (_, until)| *until > now);
        if parked.len() < PARKED_MAX {
            parked.insert(key, (waiting, now + PARKED_FOR));
        }
    }
}

/// A request that is parked when nobody waits for it any more.
pub(super) struct Poll<'a> {
    shared: &'a Shared,
    request: Option<(Key, oneshot::Receiver<Answer>)>,
}

impl<'a> Poll<'a> {
    pub(super) fn new(shared: &'a Shared, request: (Key, oneshot::Receiver<Answer>)) -> Self {
        Self { shared, request: Some(request) }
    }

    pub(super) async fn answer(mut self) -> Answer {
        let (_, waiting) = self.request.as_mut().expect("it is taken only when it ends");
        let answer = waiting.await;
        self.request = None;
        let gone =
            || crate::wire::Error::Io { broker: "a broker".to_owned(), source: std::io::ErrorKind::Interrupted.into() };
        answer.unwrap_or_else(|_| (Instant::now(), Err(gone())))
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        if let Some((key, waiting)) = self.request.take() {
            self.shared.park(key, waiting);
        }
    }
}
