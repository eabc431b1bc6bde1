//! The driver against a server of its own, over real connections: no mesh is needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bare;
mod fake;
mod measuring;
mod preparing;
mod watching;
