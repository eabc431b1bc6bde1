//! What an operator can choose about manufacturing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Configuration of manufacturing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Pieces that the automatic workshop of each partition makes in a second; 0 turns it off.
    pub items_per_second: u32,
    /// How long reports are remembered for an order that is not known.
    #[serde(with = "humantime_serde")]
    pub early_reports_kept: Duration,
    /// Most products whose reports are remembered for one order that is not known.
    pub early_products_max: usize,
    /// How long it is remembered at least that a known order has no work order, so that reports of it are refused, and so that
    /// an order which was cancelled since opens none when its dead letter is replayed within this time.
    #[serde(with = "humantime_serde")]
    pub idle_orders_kept: Duration,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            items_per_second: 0,
            early_reports_kept: Duration::from_secs(24 * 3600),
            early_products_max: 100,
            idle_orders_kept: Duration::from_secs(24 * 3600),
            list_rows_max: 2_000,
        }
    }
}

impl Config {
    /// Whether manufacturing can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.items_per_second > 1_000_000 {
            let given = self.items_per_second;
            return Err(format!("manufacturing.items_per_second must be 0 to 1000000, not {given}"));
        }
        if !(1..=366 * 24 * 3600).contains(&self.early_reports_kept.as_secs()) {
            return Err("manufacturing.early_reports_kept must be 1 second to 1 year".to_owned());
        }
        // Each is a part of one row, which a single commit must hold.
        if !(1..=1_000).contains(&self.early_products_max) {
            let given = self.early_products_max;
            return Err(format!("manufacturing.early_products_max must be 1 to 1000, not {given}"));
        }
        // A minute is far longer than a report can be under way.
        if !(60..=366 * 24 * 3600).contains(&self.idle_orders_kept.as_secs()) {
            return Err("manufacturing.idle_orders_kept must be 1 minute to 1 year".to_owned());
        }
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("manufacturing.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
        }
        Ok(())
    }

    pub(crate) fn early_reports_kept_ms(&self) -> i64 {
        i64::try_from(self.early_reports_kept.as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { items_per_second: 1_000_001, ..Config::default() }.check().is_err());
        assert!(Config { early_reports_kept: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { early_products_max: 0, ..Config::default() }.check().is_err());
        assert!(Config { idle_orders_kept: Duration::from_secs(59), ..Config::default() }.check().is_err());
        assert!(Config { list_rows_max: 0, ..Config::default() }.check().is_err());
    }
}
