//! The runtime on a log in memory.

mod chain_of_tasks;
mod disk;
mod fixture;
mod losses;
mod receiving;
mod takeover;
