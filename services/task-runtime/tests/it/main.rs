//! The runtime on a log in memory.

mod chain_of_tasks;
