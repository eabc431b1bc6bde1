//! What an operator can choose about inventory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a released or shipped line is remembered at least, so that a reserve that comes after it is refused. A reserve
    /// that comes back from the dead letters is refused when it is older than this.
    #[serde(with = "humantime_serde")]
    pub closed_lines_kept: Duration,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { closed_lines_kept: Duration::from_secs(24 * 3600), list_rows_max: 2_000 }
    }
}

impl Config {
    /// Whether inventory can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        // A minute is far longer than a request can be under way, a year is far longer than anyone replays.
        if !(60..=366 * 24 * 3600).contains(&self.closed_lines_kept.as_secs()) {
            return Err("inventory.closed_lines_kept must be 1 minute to 1 year".to_owned());
        }
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("inventory.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        let kept = |seconds| Config { closed_lines_kept: Duration::from_secs(seconds), ..Config::default() };
        assert!(kept(0).check().is_err());
        assert!(kept(u64::MAX).check().is_err());
        assert!(Config { list_rows_max: 0, ..Config::default() }.check().is_err());
    }
}
