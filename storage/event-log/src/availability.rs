//! Whether a log answers: an adapter in front of another that changes nothing and remembers which partitions are in trouble,
//! for health checks, metrics, and callers who would only wait.
//!
//! In trouble is a partition whose appends or reads fail in a way that may pass ([`Error::is_retryable`]), or do not come back at
//! all, from the first such call to the next that succeeds. Callers repeat their calls, so that a trouble which nobody meets
//! again is over: whoever asked has no need to any more. What a partition takes it also gives, but not the other way round: a
//! full disk can be read. Only after an append whose outcome is unknown a read is an answer as well: whoever appended reads, and
//! if the record is there nothing is appended again.

mod watched;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Error, TopicPartition};

pub use watched::WatchedLog;

/// A call that takes so much longer than it may is in trouble although it has not failed.
const SLOW: Duration = Duration::from_secs(2);
/// A trouble that nobody meets again for so long is forgotten. Longer than anybody waits between two tries, and than [`SLOW`].
const FORGET: Duration = Duration::from_secs(6);
/// How often somebody who waits for an outage looks whether there is one, while there is trouble.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// That it takes records.
    Append,
    /// That it gives them, or says where it ends.
    Fetch,
}

/// The log does not answer, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Since when; of several partitions the first.
    pub since: Instant,
    /// Partitions in trouble.
    pub partitions: usize,
    /// What the first of them was told.
    pub reason: String,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    met: Instant,
    reason: String,
    /// It is an append that may have landed.
    outcome_unknown: bool,
}

/// What is known of a log's troubles. Clones speak of the same log.
#[derive(Debug, Clone, Default)]
pub struct Availability(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Saves the lock as long as all is well.
    troubled: AtomicBool,
    /// Told when trouble is met.
    met: Notify,
    troubles: Mutex<BTreeMap<(Access, TopicPartition), Trouble>>,
}

impl Availability {
    /// The outage that has lasted for `least` or longer; none if the log answers.
    #[must_use]
    pub fn outage(&self, least: Duration) -> Option<Outage> {
        if !self.0.troubled.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.retain(|_, trouble| now.duration_since(trouble.met) < FORGET);
        self.0.troubled.store(!troubles.is_empty(), Ordering::Release);
        let lasting = troubles.values().filter(|trouble| now.duration_since(trouble.since) >= least);
        let (mut first, mut partitions) = (None::<&Trouble>, 0);
        for trouble in lasting {
            partitions += 1;
            first = first.filter(|first| first.since <= trouble.since).or(Some(trouble));
        }
        first.map(|first| Outage { since: first.since, partitions, reason: first.reason.clone() })
    }

    /// The outage of one partition that was met again after `least` or later: one failure that nobody has followed up proves
    /// nothing. Whoever needs the partition to take records needs it to give them as well.
    #[must_use]
    pub fn outage_of(&self, partition: &TopicPartition, access: Access, least: Duration) -> Option<Outage> {
        if !self.0.troubled.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |access| troubles.get(&(access, partition.clone()));
        let lasting = |trouble: &&Trouble| {
            now.duration_since(trouble.met) < FORGET && trouble.met.duration_since(trouble.since) >= least
        };
        let append = (access == Access::Append).then(|| of(Access::Append)).flatten();
        let trouble =
            append.into_iter().chain(of(Access::Fetch)).filter(lasting).min_by_key(|trouble| trouble.since)?;
        Some(Outage { since: trouble.since, partitions: 1, reason: trouble.reason.clone() })
    }

    /// Returns when a partition has an outage that has lasted for `least`; never if that does not happen. Costs next to
    /// nothing as long as the log answers.
    pub async fn has_outage(&self, partition: &TopicPartition, access: Access, least: Duration) -> Outage {
        loop {
            let met = self.0.met.notified();
            if !self.0.troubled.load(Ordering::Acquire) {
                met.await;
            }
            if let Some(outage) = self.outage_of(partition, access, least) {
                return outage;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn meets(&self, access: Access, partition: &TopicPartition, since: Instant, reason: &impl ToString, unknown: bool) {
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Trouble { since, met: since, reason: reason.to_string(), outcome_unknown: unknown };
        let trouble = troubles.entry((access, partition.clone())).or_insert_with(new);
        // An old one is forgotten even if nobody has looked meanwhile. Between the two lies the time in which nobody called: a call
        // that hangs has met the trouble all along.
        if since.saturating_duration_since(trouble.met) >= FORGET {
            *trouble = new();
        }
        (trouble.met, trouble.outcome_unknown) = (Instant::now(), unknown);
        if !self.0.troubled.swap(true, Ordering::AcqRel) {
            self.0.met.notify_waiters();
        }
    }

    fn answered(&self, access: Access, partition: &TopicPartition) {
        if self.0.troubled.load(Ordering::Acquire) {
            let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            troubles.remove(&(Access::Fetch, partition.clone()));
            let append = (Access::Append, partition.clone());
            if access == Access::Append || troubles.get(&append).is_some_and(|trouble| trouble.outcome_unknown) {
                troubles.remove(&append);
            }
            self.0.troubled.store(!troubles.is_empty(), Ordering::Release);
        }
    }

    /// Notes what became of a call to one partition. An error for good is an answer.
    fn note<T>(&self, access: Access, partition: &TopicPartition, since: Instant, result: &Result<T, Error>) {
        match result {
            Err(error) if error.is_retryable() => {
                self.meets(access, partition, since, error, matches!(error, Error::UnknownOutcome(_)));
            }
            _ => self.answered(access, partition),
        }
    }
}

#[cfg(test)]
mod tests;
