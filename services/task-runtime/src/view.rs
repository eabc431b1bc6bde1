//! Applied state, as reads see it.

use std::cell::Cell;

use bytes::Bytes;
use state_store::Store;

use crate::{Role, StoreId, keys, progress};

/// Read access to the certified state of one task at one position.
pub struct View<'a> {
    store: &'a dyn Store,
    role: Role,
    lag_ms: u64,
    /// Set when a read meets damage, so that the task learns of it whatever the reader makes of the error.
    met_damage: Option<&'a Cell<bool>>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("rows", &self.store.approximate_len()).finish()
    }
}

impl<'a> View<'a> {
    /// A view of a store that nobody rebuilds.
    #[cfg(feature = "driver")]
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Self { store, role: Role::Active, lag_ms: 0, met_damage: None }
    }

    /// The owner's view.
    pub(crate) fn of_owner(store: &'a dyn Store, met_damage: &'a Cell<bool>) -> Self {
        Self { store, role: Role::Active, lag_ms: 0, met_damage: Some(met_damage) }
    }

    /// The view of a standby.
    pub(crate) fn of_standby(store: &'a dyn Store, met_damage: &'a Cell<bool>, lag_ms: u64) -> Self {
        Self { store, role: Role::Standby, lag_ms, met_damage: Some(met_damage) }
    }

    fn noted<T>(&self, read: Result<T, state_store::Error>) -> Result<T, state_store::Error> {
        if let (Err(error), Some(met_damage)) = (&read, self.met_damage)
            && error.is_damage()
        {
            met_damage.set(true);
        }
        read
    }

    /// Who answers: the owner or a standby.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// For how long a standby has known of entries that are not in this view, in milliseconds; 0 for the owner.
    #[must_use]
    pub fn lag_ms(&self) -> u64 {
        self.lag_ms
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The store is damaged; the task will rebuild it.
    pub fn get(&self, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, state_store::Error> {
        self.noted(self.store.get(&keys::state_key(store, key)))
    }

    /// Up to `limit` pairs of a store whose keys begin with `prefix` and, if given, stand behind `after`, in key order.
    ///
    /// # Errors
    /// The store is damaged; the task will rebuild it.
    pub fn scan(
        &self,
        store: StoreId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, state_store::Error> {
        let prefix = keys::state_key(store, prefix);
        let mut from = prefix.clone();
        if let Some(after) = after {
            // The smallest key behind `after` is `after` with a zero byte.
            from = keys::state_key(store, after);
            from.push(0);
            from = from.max(prefix.clone());
        }
        let rows = self.noted(self.store.scan(&from, keys::prefix_end(&prefix).as_deref(), limit))?;
        Ok(rows.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }

    /// Number of the last record that the task has sent, or will send, to a partition of one of its outputs: this state
    /// accounts for all of them. 0 when there is none.
    ///
    /// # Errors
    /// The store is damaged; the task will rebuild it.
    pub fn sent(&self, topic: &str, partition: u32) -> Result<u64, state_store::Error> {
        self.noted(progress::sent(self.store, topic, partition))
    }
}
