//! Tests of the stores through their public interface.

#![expect(clippy::unwrap_used, reason = "these are tests, also where no attribute says so")]

mod child;
mod contract;
mod crash;
mod damage;
mod model;
mod opening;
mod rows;
