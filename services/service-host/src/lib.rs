//! What every process of the mesh needs and no service should build by itself: refusals and their one translation to
//! gRPC statuses, tokens, checks of fields, time, configuration, telemetry, the server and its end.
//!
//! Nothing here knows a rule of the domain.

pub mod access;
mod api;
mod call;
mod clock;
pub mod config;
pub mod diagnostics;
mod dial;
mod error;
mod faults;
pub mod files;
pub mod grpc_timeout;
pub mod headers;
pub mod input;
mod live;
pub mod metrics;
pub mod owner;
mod problems;
#[cfg(test)]
mod recorded;
pub mod reply;
pub mod server;
pub mod shutdown;
pub mod status;
mod sweep;
pub mod telemetry;
mod timestamp;
pub mod tls;
pub mod token;
pub mod trace_context;
mod tracer;
pub mod validate;
pub mod watch;

pub use access::AccessTokens;
pub use api::Api;
pub use call::CallDeadline;
pub use clock::Clock;
pub use config::HostConfig;
pub use credentials::FileError;
pub use diagnostics::Health;
pub use dial::{AddressError, Dialer, PeerChannel, SecretError, is_this_machine};
pub use error::{Chain, Code, Problem, Violation};
pub use faults::{FieldFaults, FieldLimits};
pub use live::{Renew, renew_all};
pub use owner::{Addresses, Answer, Call, Deadline, Listed, Look, Owner, Page, ReadBound};
pub use server::{BindError, Drained, PeerAddress, Server};
pub use sweep::Sweep;
pub use telemetry::Telemetry;
pub use timestamp::timestamp;
pub use token::{ConsistencyToken, PageToken};
pub use tracer::{KeyName, SpanTracer};
pub use watch::{WatchConfig, Watches};
