//! The log on a real Kafka: what the port promises, and what happens when brokers do not do what they should.
//!
//! Most of these need brokers, and say so: `tools/kafka.sh` starts them, `ORDERMESH_TEST_KAFKA_DIR` names the directory that
//! it was given (see docs/operating.md). Those that begin with `three_nodes` need three of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broker;
mod chain;
mod contract;
mod faults;
mod proxy;
mod readers;
mod refusals;
mod secure;
mod three_nodes;
mod together;
