//! What an operator can choose about validation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::Check;
use crate::domain::fraud::Windows;
use crate::domain::velocity;

/// Configuration of validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The checks that must pass. Others are recorded and decide nothing.
    pub required_checks: Vec<RequiredCheck>,
    /// Time from an order's creation until it fails for want of verdicts. It begins anew when the mesh was away as it ended.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Longest inactivity within a fraud session.
    #[serde(with = "humantime_serde")]
    pub fraud_gap: Duration,
    /// How long a session is kept after its end and the gap, for orders that come late: one that comes later than that
    /// starts a session of its own.
    #[serde(with = "humantime_serde")]
    pub fraud_grace: Duration,
    /// What the orders of a session must stay below, in whole units of each currency (2000 is EUR 2,000.00).
    pub fraud_limit_major_units: u32,
    /// Length of the windows in which the orders of a customer are counted.
    #[serde(with = "humantime_serde")]
    pub velocity_window: Duration,
    /// How long a window is remembered after its end, for orders that come late. One that comes later counts nowhere.
    #[serde(with = "humantime_serde")]
    pub velocity_grace: Duration,
    /// Most orders of a customer in one window without a fraud alert.
    pub velocity_orders_max: u32,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

/// A check, as configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RequiredCheck {
    /// The order itself.
    Details,
    /// What the customer orders altogether.
    Fraud,
    /// Whether each line can be supplied.
    Inventory,
    /// Whether the customer may spend the total.
    Credit,
}

/// Longest time that can be configured; far above any use.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

impl Default for Config {
    fn default() -> Self {
        Self {
            required_checks: vec![
                RequiredCheck::Details,
                RequiredCheck::Fraud,
                RequiredCheck::Inventory,
                RequiredCheck::Credit,
            ],
            timeout: Duration::from_secs(300),
            fraud_gap: Duration::from_secs(3600),
            fraud_grace: Duration::from_secs(3600),
            fraud_limit_major_units: 2_000,
            velocity_window: Duration::from_secs(30),
            velocity_grace: Duration::from_secs(60),
            velocity_orders_max: 2,
            list_rows_max: 2_000,
        }
    }
}

impl Config {
    /// Whether validation can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.required_checks.is_empty() {
            return Err("validation.required_checks must name at least one check".to_owned());
        }
        let durations = [
            ("timeout", self.timeout),
            ("fraud_gap", self.fraud_gap),
            ("fraud_grace", self.fraud_grace),
            ("velocity_window", self.velocity_window),
            ("velocity_grace", self.velocity_grace),
        ];
        for (name, duration) in durations {
            if duration < Duration::from_millis(1) || duration > DURATION_MAX {
                return Err(format!("validation.{name} must be between 1ms and 1 year"));
            }
        }
        if self.fraud_limit_major_units == 0 {
            return Err("validation.fraud_limit_major_units must be above 0".to_owned());
        }
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("validation.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
        }
        Ok(())
    }

    pub(crate) fn required(&self) -> Vec<Check> {
        let mut checks: Vec<_> = self.required_checks.iter().map(|check| check.domain()).collect();
        checks.sort_unstable();
        checks.dedup();
        checks
    }

    pub(crate) fn timeout_ms(&self) -> i64 {
        millis(self.timeout)
    }

    pub(crate) fn velocity(&self) -> velocity::Rule {
        velocity::Rule {
            window_ms: millis(self.velocity_window),
            grace_ms: millis(self.velocity_grace),
            orders_max: u64::from(self.velocity_orders_max),
        }
    }

    pub(crate) fn windows(&self) -> Windows {
        Windows { gap_ms: millis(self.fraud_gap), grace_ms: millis(self.fraud_grace) }
    }
}

impl RequiredCheck {
    fn domain(self) -> Check {
        match self {
            Self::Details => Check::Details,
            Self::Fraud => Check::Fraud,
            Self::Inventory => Check::Inventory,
            Self::Credit => Check::Credit,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        assert!(Config { required_checks: Vec::new(), ..Config::default() }.check().is_err());
        assert!(Config { timeout: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { fraud_gap: Duration::MAX, ..Config::default() }.check().is_err());
        assert!(Config { velocity_window: Duration::from_nanos(1), ..Config::default() }.check().is_err());
        assert!(Config { list_rows_max: 0, ..Config::default() }.check().is_err());
        assert!(Config { fraud_limit_major_units: 0, ..Config::default() }.check().is_err());
    }

    #[test]
    fn a_check_that_is_named_twice_is_required_once() {
        let checks = vec![RequiredCheck::Inventory, RequiredCheck::Details, RequiredCheck::Inventory];
        let config = Config { required_checks: checks, ..Config::default() };
        assert_eq!(config.required(), [Check::Details, Check::Inventory]);
    }
}
