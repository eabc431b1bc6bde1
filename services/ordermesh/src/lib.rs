//! The composition: which roles there are, and how log, stores, tasks, gateway and server become one process, with its command
//! line. A program of one's own is the same with more roles: [`program`] takes them as [`Addition`]s.
//!
//! The only crate that knows all others. It decides nothing itself: what a part does is the part's affair.

#[cfg(all(feature = "simulation", not(debug_assertions)))]
compile_error!("the feature `simulation` breaks the promises of the mesh on purpose: it is for debug builds only");

mod additions;
mod cli;
mod config;
mod connect;
mod data;
mod described;
mod dev;
mod health;
mod instance;
mod mesh;
mod producers;
mod program;
mod readiness;
mod roles;
mod sample;
mod schema;
mod security;
mod serve;
mod state;
mod topology;
mod verify;

pub use additions::{Addition, Additions};
pub use config::{BrokerConfig, Config, MeshConfig, StoreConfig, Sync, TasksConfig};
pub use data::{DataDirectory, DataError};
pub use described::SchemaError;
pub use instance::{Instance, Setup, StartError, Stopped};
pub use mesh::{Join, Membership, PeersConfig, PeersTlsConfig};
pub use program::program;
pub use roles::{definitions, key_name};
pub use sample::{Sample, load_sample};
pub use security::{Security, SecurityError};
pub use state::{Changelogs, Verified, VerifyError, verify_state};
