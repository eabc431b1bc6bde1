//! End to end: the public API of a whole mesh, and the real binary as a child process.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::inconsistent_digit_grouping, reason = "amounts are in cents: 800_00 is 800.00")]

mod anything;
mod binary;
mod catalog;
mod customers;
mod dead_letters;
mod deadlines;
mod fraud;
mod fulfilment;
mod history;
mod inputs;
mod instances;
mod kafka;
mod kills;
mod lists;
mod logs;
mod notifications;
mod payments;
mod process;
mod producers;
mod refusals;
mod schemas;
mod scrape;
mod security;
mod shop;
mod state;
mod validation;
mod watches;
