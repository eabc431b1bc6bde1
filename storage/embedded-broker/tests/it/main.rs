//! The embedded log from outside: what the port promises, after closing, crashing and damage too.

mod contract;
