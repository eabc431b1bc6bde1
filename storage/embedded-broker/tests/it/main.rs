//! The embedded log from outside: what the port promises, after closing, crashing and damage too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contract;
mod damage;
mod directory;
mod kill;
mod model;
mod resources;
mod sample;
