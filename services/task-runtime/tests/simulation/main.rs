//! Runs three chained services in simulated time under seeded faults, thousands of lives in seconds, and judges every step.
//!
//! ```text
//! cargo test -p task-runtime --test simulation                              200 seeds and all planted bugs
//! cargo test --release -p task-runtime --test simulation -- --seeds 20000   as many as there is patience for
//! ... -- --from 4711 --seeds 1 --trace                                      one run, line by line
//! ... -- --bug TrustTheAck --seeds 500                                      which seeds a planted bug is found by
//! ```
//!
//! What always holds: the same seed gives the same run to the byte, on any machine. The faults and the judge of the protocol
//! are `testkit::simulation`; here are the services, their callers, and the laws of exactly-once.

mod bugs;
mod calls;
mod chain;
mod clients;
mod mesh;

use std::process::ExitCode;

/// Seeds without arguments.
const SEEDS: u64 = 200;

fn main() -> ExitCode {
    testkit::simulation::campaign::<chain::Chain>(SEEDS)
}
