//! Which timers are set and which remembered answers expire first: an index in memory over rows of the store. Finding the
//! next one in the store itself would walk over the tombstones of all that have fired.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use state_store::{Change, Store};

use crate::keys;

/// Answers are forgotten in sweeps of at least this distance.
const SWEEP_MS: i64 = 10_000;

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_due: BTreeSet<(i64, Bytes)>,
    due_of: BTreeMap<Bytes, i64>,
    /// When the next remembered answers may be forgotten.
    expiry_due_ms: Option<i64>,
    /// Answers that expired before this are gone.
    swept_ms: i64,
}

impl Timers {
    /// Builds the index from a store.
    pub(crate) fn load(store: &dyn Store) -> Result<Self, state_store::Error> {
        let mut timers = Self { swept_ms: i64::MIN, ..Self::default() };
        for (key, value) in store.scan(&[keys::TIMER], Some(&[keys::TIMER + 1]), usize::MAX)? {
            timers.set(&key, Some(&value));
        }
        timers.find_next_expiry(store, i64::MIN)?;
        Ok(timers)
    }

    /// Follows the changes of a commit.
    pub(crate) fn absorb(&mut self, changes: &[Change]) {
        for (key, value) in changes {
            match key.first() {
                Some(&keys::TIMER) => self.set(key, value.as_deref()),
                Some(&keys::REQUEST_EXPIRY) if value.is_some() => self.remembers(key),
                _ => {}
            }
        }
    }

    /// An answer is remembered from now on. It may expire before what the last sweep came to, and before all others: then the
    /// clock has been set back.
    fn remembers(&mut self, key: &Bytes) {
        let Some((expires_ms, _)) = keys::parse_request_expiry(key) else { return };
        let due_ms = expires_ms.saturating_add(SWEEP_MS);
        self.swept_ms = self.swept_ms.min(expires_ms);
        self.expiry_due_ms = Some(self.expiry_due_ms.map_or(due_ms, |earlier_ms| earlier_ms.min(due_ms)));
    }

    fn set(&mut self, key: &Bytes, value: Option<&[u8]>) {
        if let Some(before) = self.due_of.remove(key) {
            self.by_due.remove(&(before, key.clone()));
        }
        if let Some(due_ms) = value.and_then(keys::parse_ordered) {
            self.due_of.insert(key.clone(), due_ms);
            self.by_due.insert((due_ms, key.clone()));
        }
    }

    /// When the next thing is due, in milliseconds since the Unix epoch.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        let timer = self.by_due.first().map(|(due_ms, _)| *due_ms);
        timer.into_iter().chain(self.expiry_due_ms).min()
    }

    /// Timers that are due at `now_ms`, earliest first.
    pub(crate) fn due(&self, now_ms: i64) -> impl Iterator<Item = &(i64, Bytes)> {
        self.by_due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms)
    }

    /// From when on answers are to be forgotten, if it is time.
    pub(crate) fn sweep_from(&self, now_ms: i64) -> Option<i64> {
        self.expiry_due_ms.is_some_and(|due_ms| due_ms <= now_ms).then_some(self.swept_ms)
    }

    /// After a sweep up to `now_ms` has been applied: finds out when the next is due.
    pub(crate) fn find_next_expiry(&mut self, store: &dyn Store, now_ms: i64) -> Result<(), state_store::Error> {
        let from = keys::request_expiry_key(self.swept_ms, "");
        let next = store.scan(&from, Some(&[keys::REQUEST_EXPIRY + 1]), 1)?;
        let next_ms =
            next.first().and_then(|(key, _)| keys::parse_request_expiry(key)).map(|(expires_ms, _)| expires_ms);
        // What is left below `now_ms` did not fit into the sweep and is due at once.
        self.swept_ms = next_ms.unwrap_or(now_ms).min(now_ms);
        self.expiry_due_ms = next_ms.map(|ms| if ms <= now_ms { ms } else { ms.saturating_add(SWEEP_MS) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use state_store::MemoryStore;

    use super::*;

    fn remember(timers: &mut Timers, store: &mut MemoryStore, expires_ms: i64) {
        let changes = [(Bytes::from(keys::request_expiry_key(expires_ms, "id")), Some(Bytes::new()))];
        timers.absorb(&changes);
        store.apply(&changes, b"").unwrap();
    }

    #[test]
    fn an_answer_is_swept_at_its_time_although_the_clock_stood_ahead_before() {
        const AHEAD_MS: i64 = 1_000_000_000;
        let (mut store, mut timers) = (MemoryStore::default(), Timers::default());
        remember(&mut timers, &mut store, 50);
        assert_eq!(timers.sweep_from(AHEAD_MS), Some(0));
        store.apply(&[(keys::request_expiry_key(50, "id").into(), None)], b"").unwrap();
        timers.find_next_expiry(&store, AHEAD_MS).unwrap();
        // One more of the time when the clock stood ahead, and one of the time behind it.
        remember(&mut timers, &mut store, 2 * AHEAD_MS);
        remember(&mut timers, &mut store, 100);
        assert_eq!(timers.next_due_ms(), Some(100 + SWEEP_MS));
        assert_eq!(timers.sweep_from(100 + SWEEP_MS), Some(100), "not from where the last sweep came to");
    }
}
