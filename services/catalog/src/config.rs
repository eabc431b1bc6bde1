//! What an operator can choose about catalog.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long the outcome of a command can be asked for at least.
    #[serde(with = "humantime_serde")]
    pub outcomes_kept: Duration,
    /// How long it is remembered at least that a book is no longer one of an author, so that older news of it are known
    /// to be old, also when they are replayed within this time.
    #[serde(with = "humantime_serde")]
    pub moved_books_kept: Duration,
    /// Most chapters that a book has at a time.
    pub chapters_max: usize,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            outcomes_kept: Duration::from_secs(24 * 3600),
            moved_books_kept: Duration::from_secs(24 * 3600),
            chapters_max: 100,
            list_rows_max: 2_000,
        }
    }
}

impl Config {
    /// Whether catalog can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        for (name, kept) in [("outcomes_kept", self.outcomes_kept), ("moved_books_kept", self.moved_books_kept)] {
            if !(1..=366 * 24 * 3600).contains(&kept.as_secs()) {
                return Err(format!("catalog.{name} must be 1 second to 1 year"));
            }
        }
        // With titles of 4 KiB a book of 200 chapters still is one record.
        if !(1..=200).contains(&self.chapters_max) {
            return Err(format!("catalog.chapters_max must be 1 to 200, not {}", self.chapters_max));
        }
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("catalog.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
        }
        Ok(())
    }
}

/// A time to keep something, in milliseconds.
pub(crate) fn ms(kept: Duration) -> i64 {
    i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { outcomes_kept: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { moved_books_kept: Duration::from_secs(u64::MAX), ..Config::default() }.check().is_err());
        assert!(Config { chapters_max: 0, ..Config::default() }.check().is_err());
        assert!(Config { chapters_max: 201, ..Config::default() }.check().is_err());
        assert!(Config { list_rows_max: 0, ..Config::default() }.check().is_err());
    }
}
