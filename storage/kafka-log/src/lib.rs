//! The event log on Apache Kafka, Redpanda and what speaks like them: the adapter for several processes.
//!
//! ```no_run
//! # async fn connect() -> Result<(), kafka_log::ConnectError> {
//! let config = kafka_log::Config::new(["kafka-1:9092", "kafka-2:9092"]);
//! let log: event_log::SharedLog = std::sync::Arc::new(kafka_log::KafkaLog::connect(config).await?);
//! # Ok(()) }
//! ```
//!
//! Appends go through rskafka (`append`), one connection for each partition. All that it does not have (topics with their
//! properties, several partitions in one append or fetch, quotas) goes through `kafka-protocol` ([`wire`]) on connections of
//! its own, so that no reader ever stands in front of an append.
//!
//! What always holds: every call ends in bounded time, whatever the brokers do; an append is sent once and its outcome is
//! told as it is, known or not; a connection on which something went wrong is never used again; an append waits neither
//! for a reader nor for a timer; what cannot be read exactly (transactions, damage) is refused, not skipped.
//!
//! Limits: headers are a map (a repeated name keeps its first value; names are UTF-8 and come back sorted). Topics that a
//! transactional producer has written to are refused, and so are clients that a quota slows down: rskafka would send a
//! delayed append again.

mod append;
mod config;
mod error;
mod log;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;

pub use config::{Config, Mechanism, Sasl, Tls};
pub use credentials::Secret;
pub use error::ConnectError;
pub use log::KafkaLog;
