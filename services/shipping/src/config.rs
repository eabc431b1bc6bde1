//! What an operator can choose about shipping.

use serde::{Deserialize, Serialize};

/// Configuration of shipping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most rows that one page of a list looks at, so that a filter that matches little cannot hold up a task.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { list_rows_max: 2_000 }
    }
}

impl Config {
    /// Whether shipping can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("shipping.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
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
        assert!(Config { list_rows_max: 0 }.check().is_err());
    }
}
