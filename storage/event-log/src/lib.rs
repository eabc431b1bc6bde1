//! The event-log port: what the mesh needs of a broker, and nothing more.
//!
//! A log is a set of topics, a topic a fixed number of partitions, a partition a dense sequence of records that are
//! appended at the end and read from an offset. Every adapter passes the suite in [`contract`].
//!
//! What always holds: an offset that was returned by `append` is the offset at which `fetch` finds the record; offsets of
//! one partition grow without being reused; a record is readable only once it is as durable as the adapter promises.

mod availability;
pub mod contract;
mod error;
mod memory;
mod partitioner;
mod port;
mod record;
mod topic;

pub use availability::{Access, Availability, Outage, WatchedLog};
pub use error::Error;
pub use memory::MemoryLog;
pub use partitioner::partition_for_key;
pub use port::{EventLog, FetchFrom, FetchLimits, Fetched, FetchedBatch, SharedLog};
pub use record::{Header, Record, StoredRecord};
pub use topic::{Cleanup, Offset, Partition, TopicName, TopicPartition, TopicSpec};
