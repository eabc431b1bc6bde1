//! The runtime on a log in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chain_of_tasks;
mod clocks;
mod damage;
mod disk;
mod fixture;
mod holding;
mod limits;
mod losses;
mod measures;
mod meters;
mod panics;
mod poison;
mod receiving;
mod roles;
mod snapshots;
mod takeover;
mod verify;
