//! What an operator can choose about payments.

use serde::{Deserialize, Serialize};

/// Configuration of payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most payments of one order; more are refused. They are one row, which a single commit must hold.
    pub payments_per_order_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { payments_per_order_max: 100 }
    }
}

impl Config {
    /// Whether payments can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=1_000).contains(&self.payments_per_order_max) {
            let given = self.payments_per_order_max;
            return Err(format!("payments.payments_per_order_max must be 1 to 1000, not {given}"));
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
        assert!(Config { payments_per_order_max: 0 }.check().is_err());
        assert!(Config { payments_per_order_max: 1_001 }.check().is_err());
    }
}
