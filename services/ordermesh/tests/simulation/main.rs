//! Runs the whole mesh, with the real services behind their real gRPC methods, in simulated time under seeded faults, and holds
//! it to the invariants of an order system after every step and after every seed.
//!
//! ```text
//! cargo test -p ordermesh --test simulation                              some seeds and all planted bugs
//! cargo test --release -p ordermesh --test simulation -- --seeds 20000   as many as there is patience for
//! ... -- --from 4711 --seeds 1 --trace                                   one run, line by line
//! ... -- --bug release-unheld --seeds 500                                which seeds a planted bug is found by
//! ```
//!
//! What always holds: the same seed gives the same run to the byte, on any machine. The faults and the judge of the commit
//! protocol are `testkit::simulation`; here are the shop, its callers, and the laws ([`laws`]).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bugs;
mod clients;
mod desk;
mod history;
mod keeper;
mod laws;
mod librarian;
mod outside;
mod postman;
mod rows;
mod shop;
mod watcher;

use std::process::ExitCode;

/// Seeds without arguments.
const SEEDS: u64 = 40;

fn main() -> ExitCode {
    testkit::simulation::campaign::<shop::Shop>(SEEDS)
}
