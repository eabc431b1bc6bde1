//! Schemas: what the values on topics are, kept where every process of the mesh finds it, and never broken.
//!
//! Each topic of messages has one message. Its *schema* is that message with everything that it is made of, without comments
//! and options; a fingerprint tells two schemas apart, and stands in every record. All schemas that a topic was written with
//! stand in the topic `schemas`, in the log of the mesh. A process that would break one of them does not start: see
//! [`compatibility`]. Where a schema registry is configured they are registered there too: see [`RegistryConfig`].

mod catalogue;
pub mod compatibility;
mod grpc;
mod history;
mod keep;
mod registry;
mod text;
mod types;

pub use catalogue::{Catalogue, Described, UnknownMessage};
pub use grpc::ShowSchemas;
pub use history::{Build, History, Refusal, Version};
pub use keep::{KeepError, Keeper, TOPIC};
pub use registry::{Config, Registering, Registration, RegistryConfig, RegistryError, Standing};
pub use text::source;
