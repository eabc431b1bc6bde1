//! Callers that wait for a key to reach a condition: any number of them, within a limit.

use std::collections::BTreeMap;

use crate::CallError;
use crate::handle::{Position, Sight, WaitFn};
use crate::view::View;

/// Waits by the key that they look at.
#[derive(Default)]
pub(crate) struct Waiters {
    by_key: BTreeMap<Vec<u8>, Vec<WaitFn>>,
    count: usize,
    /// Waits that came since abandoned ones were swept, refused ones too: they pay for the next sweep.
    since_sweep: usize,
    /// Waits that the last sweep has left.
    swept_to: usize,
}

impl Waiters {
    /// Keeps a wait that is not over.
    ///
    /// # Errors
    /// There are as many as the limit already: the wait, to be refused.
    pub(crate) fn add(
        &mut self,
        key: Vec<u8>,
        wait: WaitFn,
        limit: usize,
        view: &View<'_>,
        at: Position,
    ) -> Result<(), WaitFn> {
        self.since_sweep += 1;
        if self.since_sweep > (self.swept_to / 2).max(64).min(limit) {
            self.sweep(view, at);
        }
        if self.count >= limit {
            return Err(wait);
        }
        self.by_key.entry(key).or_default().push(wait);
        self.count += 1;
        Ok(())
    }

    /// Looks again at the waits for this key.
    pub(crate) fn changed(&mut self, key: &[u8], view: &View<'_>, at: Position) {
        let Some(waits) = self.by_key.get_mut(key) else { return };
        let before = waits.len();
        waits.retain_mut(|wait| !wait(Sight::State(view, at)));
        self.count -= before - waits.len();
        if waits.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// Ends all waits with an error.
    pub(crate) fn fail_all(&mut self, error: &CallError) {
        for mut wait in std::mem::take(&mut self.by_key).into_values().flatten() {
            wait(Sight::Refused(error.clone()));
        }
        self.count = 0;
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether anyone waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether anyone waits for this key.
    pub(crate) fn awaits(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    fn sweep(&mut self, view: &View<'_>, at: Position) {
        // A wait whose caller has gone away says that it is over; one that is alive looks once more, which is harmless.
        let keys: Vec<_> = self.by_key.keys().cloned().collect();
        for key in keys {
            self.changed(&key, view, at);
        }
        (self.since_sweep, self.swept_to) = (0, self.count);
    }
}
