//! What an operator can choose about dead letters.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a letter is kept after it was replayed. One that waits is kept for ever: a person must look.
    #[serde(with = "humantime_serde")]
    pub replayed_kept: Duration,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { replayed_kept: Duration::from_secs(7 * 24 * 3600), list_rows_max: 500 }
    }
}

impl Config {
    /// Whether dead letters can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        // Shorter, and a repeated call would not find what it did.
        if !(3600..=366 * 24 * 3600).contains(&self.replayed_kept.as_secs()) {
            return Err("dead_letters.replayed_kept must be 1 hour to 1 year".to_owned());
        }
        if !(1..=10_000).contains(&self.list_rows_max) {
            return Err(format!("dead_letters.list_rows_max must be 1 to 10000, not {}", self.list_rows_max));
        }
        Ok(())
    }

    pub(crate) fn replayed_kept_ms(&self) -> i64 {
        i64::try_from(self.replayed_kept.as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { replayed_kept: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { list_rows_max: 0, ..Config::default() }.check().is_err());
    }
}
