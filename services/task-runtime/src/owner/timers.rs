//! Which timers are set and which remembered answers expire first: an index in memory over rows of the store. Finding the
//! next one in the store itself would walk over the tombstones of all that have fired.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use state_store::{Change, Store};

use crate::clock::Moment;
use crate::keys;

/// Answers are forgotten in sweeps of at least this distance.
const SWEEP_MS: i64 = 10_000;

/// The index. Timers are set for a time of the wall clock, and fire by the monotonic one: as long after their owner heard of them as
/// it was until then on the wall clock at that moment. Whoever sets the wall clock later moves no timer. Nor does one fire later than
/// if it had been set only now: an owner whose clock is behind that of the one who set it would wait for as much longer.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// When each fires on the monotonic clock, and what it was set for.
    by_time: BTreeSet<(i64, i64, Bytes)>,
    times: BTreeMap<Bytes, (i64, i64)>,
    /// When the next remembered answers may be forgotten, on the monotonic clock.
    expiry_fires_ms: Option<i64>,
    /// Answers that expired before this time of the wall clock are gone.
    swept_ms: i64,
    loaded: Moment,
}

impl Timers {
    /// Builds the index from a store.
    pub(crate) fn load(store: &dyn Store, now: Moment) -> Result<Self, state_store::Error> {
        let mut timers = Self { swept_ms: i64::MIN, loaded: now, ..Self::default() };
        for (key, value) in store.scan(&[keys::TIMER], Some(&[keys::TIMER + 1]), usize::MAX)? {
            timers.set(&key, Some(&value), now);
        }
        timers.find_next_expiry(store, i64::MIN, now)?;
        Ok(timers)
    }

    /// Follows the changes of a commit.
    pub(crate) fn absorb(&mut self, changes: &[Change], now: Moment) {
        for (key, value) in changes {
            match key.first() {
                Some(&keys::TIMER) => self.set(key, value.as_deref(), now),
                Some(&keys::REQUEST_EXPIRY) if value.is_some() => self.remembers(key, now),
                _ => {}
            }
        }
    }

    /// An answer is remembered from now on. It may expire before what the last sweep came to, and before all others: then the
    /// clock has been set back.
    fn remembers(&mut self, key: &Bytes, now: Moment) {
        let Some((expires_ms, _)) = keys::parse_request_expiry(key) else { return };
        let fires_ms = self.as_swept(now).monotonic_of(expires_ms.saturating_add(SWEEP_MS));
        self.swept_ms = self.swept_ms.min(expires_ms);
        self.expiry_fires_ms = Some(self.expiry_fires_ms.map_or(fires_ms, |earlier_ms| earlier_ms.min(fires_ms)));
    }

    fn set(&mut self, key: &Bytes, value: Option<&[u8]>, now: Moment) {
        if let Some((fires_ms, due_ms)) = self.times.remove(key) {
            self.by_time.remove(&(fires_ms, due_ms, key.clone()));
        }
        if let Some((due_ms, set_ms)) = value.and_then(keys::parse_timer_row) {
            let whole_ms = due_ms.saturating_sub(set_ms).max(0);
            let fires_ms = now.monotonic_of(due_ms).min(now.monotonic_ms.saturating_add(whole_ms));
            self.times.insert(key.clone(), (fires_ms, due_ms));
            self.by_time.insert((fires_ms, due_ms, key.clone()));
        }
    }

    /// When the next thing is to be done, on the monotonic clock.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        let timer = self.by_time.first().map(|(fires_ms, _, _)| *fires_ms);
        timer.into_iter().chain(self.expiry_fires_ms).min()
    }

    /// Timers that fire now, earliest first: what they were set for, how late that is, and their keys.
    pub(crate) fn due(&self, now: Moment) -> impl Iterator<Item = (i64, i64, &Bytes)> {
        let fire = self.by_time.iter().take_while(move |(fires_ms, _, _)| *fires_ms <= now.monotonic_ms);
        fire.map(move |(fires_ms, due_ms, key)| (*due_ms, now.monotonic_ms.saturating_sub(*fires_ms), key))
    }

    /// The answers to be forgotten, if it is time: from when on they expired, and up to when. A wall clock that was put ahead lets
    /// nothing be forgotten early.
    pub(crate) fn sweep(&self, now: Moment) -> Option<(i64, i64)> {
        let is_time = self.expiry_fires_ms.is_some_and(|fires_ms| fires_ms <= now.monotonic_ms);
        is_time.then(|| (self.swept_ms, self.as_swept(now).wall_ms))
    }

    /// The moment by which answers are forgotten, and by which it is found out when that is to happen: a sweep that were due by
    /// another clock than it sweeps by would find nothing, and be due again at once.
    fn as_swept(&self, now: Moment) -> Moment {
        Moment { wall_ms: now.wall_unless_ahead_ms(self.loaded), ..now }
    }

    /// After a sweep up to `upto_ms` has been applied: finds out when the next is due.
    pub(crate) fn find_next_expiry(
        &mut self,
        store: &dyn Store,
        upto_ms: i64,
        now: Moment,
    ) -> Result<(), state_store::Error> {
        let from = keys::request_expiry_key(self.swept_ms, "");
        let next = store.scan(&from, Some(&[keys::REQUEST_EXPIRY + 1]), 1)?;
        let next_ms =
            next.first().and_then(|(key, _)| keys::parse_request_expiry(key)).map(|(expires_ms, _)| expires_ms);
        // What is left below `upto_ms` did not fit into the sweep and is due at once.
        self.swept_ms = next_ms.unwrap_or(upto_ms).min(upto_ms);
        let due_ms = next_ms.map(|ms| if ms <= upto_ms { ms } else { ms.saturating_add(SWEEP_MS) });
        self.expiry_fires_ms = due_ms.map(|due_ms| self.as_swept(now).monotonic_of(due_ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use state_store::MemoryStore;

    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    /// So long after the begin, on a wall clock that is so far ahead of what it was.
    fn after(monotonic_ms: i64, ahead_ms: i64) -> Moment {
        Moment { wall_ms: 1_000_000 + monotonic_ms + ahead_ms, monotonic_ms }
    }

    fn remember(timers: &mut Timers, store: &mut MemoryStore, expires_ms: i64, now: Moment) {
        let changes = [(Bytes::from(keys::request_expiry_key(expires_ms, "id")), Some(Bytes::new()))];
        timers.absorb(&changes, now);
        store.apply(&changes, b"").unwrap();
    }

    fn set(timers: &mut Timers, name: &'static str, due_ms: i64, now: Moment) {
        let key = Bytes::from(keys::timer_key("late", name.as_bytes()));
        timers.absorb(&[(key, Some(Bytes::copy_from_slice(&keys::timer_row(due_ms, now.wall_ms))))], now);
    }

    #[test]
    fn a_timer_fires_after_its_time_has_passed_however_the_wall_clock_is_set_meanwhile() {
        for ahead_ms in [DAY_MS, -3_600_000, 0] {
            let mut timers = Timers::load(&MemoryStore::default(), after(0, 0)).unwrap();
            set(&mut timers, "before", after(300_000, 0).wall_ms, after(0, 0));
            set(&mut timers, "after", after(100_000, ahead_ms).wall_ms, after(50, ahead_ms));
            assert_eq!(timers.next_ms(), Some(100_000));
            assert_eq!(timers.due(after(99_999, ahead_ms)).count(), 0);
            assert_eq!(timers.due(after(100_000, ahead_ms)).count(), 1, "the one that was set by the other time");
            assert_eq!(timers.due(after(300_000, ahead_ms)).count(), 2);
        }
    }

    #[test]
    fn a_timer_that_is_due_when_the_task_is_restored_fires_at_once() {
        let mut store = MemoryStore::default();
        let key = Bytes::from(keys::timer_key("late", b"k"));
        store.apply(&[(key, Some(Bytes::copy_from_slice(&keys::timer_row(999_000, 990_000))))], b"").unwrap();
        let timers = Timers::load(&store, after(5, 0)).unwrap();
        let due: Vec<_> = timers.due(after(5, DAY_MS)).map(|(due_ms, late_ms, _)| (due_ms, late_ms)).collect();
        assert_eq!(due, [(999_000, 1_005)], "late by the clock at which it was restored");
    }

    #[test]
    fn answers_are_not_forgotten_early_since_the_wall_clock_was_put_ahead() {
        let mut store = MemoryStore::default();
        let mut timers = Timers::load(&store, after(0, 0)).unwrap();
        remember(&mut timers, &mut store, after(50_000, 0).wall_ms, after(0, 0));
        assert_eq!(timers.next_ms(), Some(50_000 + SWEEP_MS));
        assert_eq!(timers.sweep(after(49_999 + SWEEP_MS, DAY_MS)), None);
        let (_, upto_ms) = timers.sweep(after(50_000 + SWEEP_MS, DAY_MS)).unwrap();
        assert_eq!(upto_ms, after(50_000 + SWEEP_MS, 0).wall_ms);
    }

    #[test]
    fn a_sweep_on_a_wall_clock_that_was_put_ahead_is_not_due_again_before_it_can_forget_more() {
        let mut store = MemoryStore::default();
        let mut timers = Timers::load(&store, after(0, 0)).unwrap();
        let [first_ms, second_ms] = [50_000, 70_000].map(|in_ms| after(in_ms, 0).wall_ms);
        remember(&mut timers, &mut store, first_ms, after(0, 0));
        remember(&mut timers, &mut store, second_ms, after(0, 0));
        let now = after(50_000 + SWEEP_MS, 30_000);
        let (_, upto_ms) = timers.sweep(now).unwrap();
        store.apply(&[(keys::request_expiry_key(first_ms, "id").into(), None)], b"").unwrap();
        timers.find_next_expiry(&store, upto_ms, now).unwrap();
        assert_eq!(timers.next_ms(), Some(70_000 + SWEEP_MS));
        remember(&mut timers, &mut store, second_ms + 1, now);
        assert_eq!(timers.next_ms(), Some(70_000 + SWEEP_MS), "nor is one that is remembered now");
    }

    #[test]
    fn a_timer_that_an_owner_an_hour_ahead_has_set_fires_in_no_more_than_its_whole_time() {
        let mut store = MemoryStore::default();
        let (key, set_ms) = (Bytes::from(keys::timer_key("late", b"k")), after(0, 3_600_000).wall_ms);
        let row = Bytes::copy_from_slice(&keys::timer_row(set_ms + 50, set_ms));
        store.apply(&[(key, Some(row))], b"").unwrap();
        let timers = Timers::load(&store, after(10, 0)).unwrap();
        assert_eq!(timers.next_ms(), Some(60));
        let timers = Timers::load(&store, after(10, 3_600_000)).unwrap();
        assert_eq!(timers.next_ms(), Some(50), "whose clock agrees waits for the rest only");
    }

    #[test]
    fn an_answer_is_swept_at_its_time_although_the_clock_stood_ahead_when_the_task_was_restored() {
        let (mut store, ahead) = (MemoryStore::default(), after(0, DAY_MS));
        let mut timers = Timers::load(&store, ahead).unwrap();
        remember(&mut timers, &mut store, ahead.wall_ms + 50, ahead);
        let (_, upto_ms) = timers.sweep(after(50 + SWEEP_MS, DAY_MS)).unwrap();
        store.apply(&[(keys::request_expiry_key(ahead.wall_ms + 50, "id").into(), None)], b"").unwrap();
        timers.find_next_expiry(&store, upto_ms, after(50 + SWEEP_MS, DAY_MS)).unwrap();
        // One more of the time when the clock stood ahead, and one of the time behind it.
        let right = after(20_000, 0);
        remember(&mut timers, &mut store, upto_ms + DAY_MS, after(20_000, DAY_MS));
        remember(&mut timers, &mut store, right.wall_ms + 100, right);
        assert_eq!(timers.next_ms(), Some(20_100 + SWEEP_MS));
        let (from_ms, upto_ms) = timers.sweep(after(20_100 + SWEEP_MS, 0)).unwrap();
        assert_eq!(from_ms, right.wall_ms + 100, "not from where the last sweep came to");
        assert_eq!(upto_ms, after(20_100 + SWEEP_MS, 0).wall_ms);
    }
}
