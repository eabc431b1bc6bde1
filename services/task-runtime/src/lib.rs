//! Consume, process, commit: the runtime that every service of the mesh stands on.
//!
//! A [`Definition`] says what a service does with records, commands and timers; a task is that definition on one partition.
//! The task's changelog is the only truth: what it says by the reader rule ([`changelog::Chain`]) is the state, for the
//! owner, for a later owner, for a standby and for tools. Nothing leaves a task (no reply, no output, no read of new state)
//! before the commit that it belongs to is certified. The protocol is explained in `docs/commit-protocol.md`.
//!
//! The runtime knows bytes: what a key, a value or a reply means is the service's affair.

mod attempts;
mod batch;
pub mod changelog;
mod clock;
mod command;
mod config;
mod context;
mod dead_letters;
#[cfg(feature = "simulation")]
mod decorated;
mod definition;
#[cfg(feature = "driver")]
pub mod driver;
mod error;
mod feed;
mod handle;
mod keys;
mod land;
mod life;
mod metrics;
mod outbox;
mod overlay;
mod owner;
mod planted;
mod progress;
mod restore;
mod role;
mod roster;
mod runtime;
mod schema;
mod snapshot;
mod source;
mod standby;
mod status;
mod storage;
mod task;
mod topics;
mod tracer;
mod verify;
mod view;
mod waiters;

pub use clock::{Clock, SystemClock};
pub use command::{Command, Committed, Reply};
pub use config::Config;
pub use context::Context;
pub use dead_letters::{DeadLetter, Replay};
#[cfg(feature = "simulation")]
pub use decorated::{TakesCommand, TakesRecord};
pub use definition::{Definition, Input, StoreId, Timer};
pub use error::{CallError, ProcessError, TaskError};
pub use event_log::{Access, Availability, Outage, Record, SharedLog, StoredRecord};
pub use feed::{
    Content, Decode, Event, Feed, FeedConfig, FeedError, FeedPosition, Feeds, Interest, Place, Subscription, Taken,
};
pub use handle::{Consistency, Handle, Position, Tasks};
pub use planted::Shortcut;
pub use role::{Assignment, Role};
pub use roster::Roster;
#[cfg(feature = "simulation")]
pub use runtime::simulated;
pub use runtime::{Runtime, Start};
pub use schema::{Frame, SCHEMA_HEADER, Schema};
pub use snapshot::Announced;
pub use source::{SOURCE_HEADER, Source};
pub use status::{InputPosition, RestoreProgress, TaskState, TaskStatus};
#[cfg(feature = "simulation")]
pub use storage::Disks;
pub use storage::Storage;
pub use topics::topics;
pub use tracer::{NoTracer, SharedTracer, TRACE_HEADER, Tracer, Work};
pub use verify::{Rebuilt, StateDigest, rebuild, stored};
pub use view::View;
