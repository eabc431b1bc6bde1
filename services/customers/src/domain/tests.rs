//! The rules as tables, and the laws that hold for every interleaving.

mod credit;
mod profile;
