//! The composition: which roles there are, and how log, stores, tasks, gateway and server become one process.
//!
//! The only crate that knows all others. It decides nothing itself: what a part does is the part's affair.

#[cfg(all(feature = "simulation", not(debug_assertions)))]
compile_error!("the feature `simulation` breaks the promises of the mesh on purpose: it is for debug builds only");

mod config;
mod data;
mod described;
mod instance;
mod mesh;
mod readiness;
mod roles;
mod sample;
mod security;
mod state;

pub use config::{BrokerConfig, Config, MeshConfig, StoreConfig, Sync, TasksConfig};
pub use data::{DataDirectory, DataError};
pub use described::SchemaError;
pub use instance::{Instance, Setup, StartError, Stopped};
pub use mesh::{Join, Membership, PeersConfig, PeersTlsConfig};
pub use roles::{definitions, key_name};
pub use sample::{Sample, load_sample};
pub use security::{Security, SecurityError};
pub use state::{Changelogs, Verified, VerifyError, verify_state};
