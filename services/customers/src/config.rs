//! What an operator can choose about customers.

use serde::{Deserialize, Serialize};

/// Configuration of customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { list_rows_max: 2_000 }
    }
}

impl Config {
    /// Whether customers can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("customers.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
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
        for list_rows_max in [0, 100_001] {
            assert!(Config { list_rows_max }.check().is_err());
        }
    }
}
