//! The client-facing edge of the mesh: one address for the whole public API.
//!
//! A call goes to the owner of its key, or to all partitions when it is a list. Requests and answers pass as bytes: the
//! gateway reads single fields of them and never decodes or changes them, so that it needs no release when a message grows.
//! It keeps no state, and whatever comes in is answered with a gRPC status, within limits of memory and time.

mod config;
mod deadline;
mod forward;
mod guard;
mod key;
mod list;
mod message;
mod owners;
mod quota;
mod scan;
mod service;
mod streams;
mod table;
mod upstream;

pub use config::{Config, RateLimitConfig};
pub use owners::{Claim, Current, Hint, LocalOwner, NoOwner, Owner, Owners};
pub use service::{Gateway, Setup};
pub use upstream::Upstream;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The descriptors of the API cannot be read.
    #[error("the descriptors of the API cannot be read")]
    Descriptors(#[source] prost_reflect::DescriptorError),
    /// The descriptors do not declare the annotations that route calls.
    #[error("the descriptors of the API do not declare the option {0}")]
    Extension(String),
    /// A method is not annotated as it must be.
    #[error("{method} cannot be routed: {reason}")]
    Method {
        /// The method.
        method: String,
        /// What is missing.
        reason: String,
    },
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
}
