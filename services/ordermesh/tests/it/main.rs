//! End to end: the public API of a whole mesh, and the real binary as a child process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod binary;
mod catalog;
mod customers;
mod fraud;
mod fulfilment;
mod inputs;
mod kills;
mod lists;
mod process;
mod shop;
mod validation;
mod watches;
