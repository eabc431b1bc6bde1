//! What an operator can choose about orders.

use serde::{Deserialize, Serialize};

/// Configuration of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most lines of an order.
    pub lines_max: usize,
    /// Most rows that one page of a list looks at, so that a filter that matches little cannot hold up a task. A page that
    /// reaches it is short and says where the next one goes on.
    pub list_rows_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { lines_max: 100, list_rows_max: 2_000 }
    }
}

impl Config {
    /// Whether orders can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        // One commit holds one record for each line, and line numbers are u32.
        if !(1..=1_000).contains(&self.lines_max) {
            return Err(format!("orders.lines_max must be 1 to 1000, not {}", self.lines_max));
        }
        if !(1..=100_000).contains(&self.list_rows_max) {
            return Err(format!("orders.list_rows_max must be 1 to 100000, not {}", self.list_rows_max));
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
        for lines_max in [0, 1_001] {
            assert!(Config { lines_max, ..Config::default() }.check().is_err());
        }
        for list_rows_max in [0, 100_001] {
            assert!(Config { list_rows_max, ..Config::default() }.check().is_err());
        }
    }
}
