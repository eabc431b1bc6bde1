//! The gateway behind a real server on a free port, in front of an owner that a test scripts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod deadlines;
mod fixture;
mod limits;
mod lists;
mod operations;
mod quotas;
mod remote;
mod retries;
mod routing;
mod takeover;
