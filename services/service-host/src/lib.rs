//! What every process of the mesh needs and no service should build by itself: refusals and their one translation to
//! gRPC statuses, tokens, checks of fields, time.
//!
//! Nothing here knows a rule of the domain.

mod clock;
pub mod config;
mod error;
mod faults;
pub mod headers;
pub mod owner;
mod problems;
pub mod reply;
pub mod status;
pub mod token;
pub mod validate;

pub use clock::Clock;
pub use config::HostConfig;
pub use error::{Chain, Code, Problem, ServiceError, Violation, report};
pub use faults::FieldFaults;
pub use owner::{Answer, Call, Deadline, Listed, Look, Owner, Page};
pub use token::{ConsistencyToken, PageToken};
