//! Load for a running mesh, and figures that can be trusted.
//!
//! What always holds: a latency counts from the instant at which its order was *meant* to start, so that a server that
//! stalls cannot slow the driver down and hide its own stall; an order that could not be started or that failed is
//! counted, never dropped; and every result names the machine, the commit and the settings that it stands for.
//! The driver uses only the public gRPC API.

pub mod arrivals;
pub mod bare;
pub mod campaign;
pub mod disk;
pub mod first;
pub mod idle;
pub mod machine;
pub mod order;
pub mod process;
pub mod report;
pub mod run;
pub mod scrape;
pub mod setup;
pub mod summary;
pub mod tally;
pub mod watch;
