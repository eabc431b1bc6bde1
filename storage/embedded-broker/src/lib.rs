//! The embedded broker: the event log of one process, in segment files that hold Kafka v2 record batches verbatim.
//!
//! The engine (`engine`, `partition`, `segment` and below) knows batches and offsets; doors lead to it. The direct door
//! ([`EmbeddedLog`]) is the event-log port in the same process. A door for the Kafka protocol is to stand beside it and
//! to serve the same batches as bytes.
//!
//! What always holds: what was acknowledged under [`SyncPolicy::Group`] survives power loss, under [`SyncPolicy::Os`] the
//! death of the process; a batch is in the log whole or not at all; no byte that fails its checksum is ever served; readers
//! see only what is acknowledged or about to be. (Kafka acknowledges before fsync and relies on replicas; Redpanda, like
//! group sync, after it.)
//!
//! Limits: a topic with [`Cleanup::Compact`](event_log::Cleanup::Compact) keeps all its records, since nothing compacts it
//! yet. Records that are too old go when a segment is sealed or the log is opened, a whole sealed segment at a time.
//!
//! ```text
//! <directory>/lock                              held by the process that uses the directory; its number
//!             meta.json                         the table of topics, with the format of the directory
//!             topics/<topic>/<partition>/       exists once something was appended
//!                 <first offset>.log            batches, one behind the other; the last file grows
//!                 <first offset>.idx            vouches for a synced prefix of it: extent and sparse positions
//!                 start-offset                  first offset left, once records were removed
//! ```

mod batch;
mod config;
mod direct;
mod disk;
mod engine;
mod error;
#[cfg(test)]
mod faults;
mod files;
mod index;
mod meters;
mod partition;
mod recovery;
mod segment;
mod start;
mod sync;
mod table;
mod tail;
mod wake;

pub use config::{Clock, Config, SyncPolicy};
pub use direct::EmbeddedLog;
pub use error::Error;
pub use meters::Stats;
