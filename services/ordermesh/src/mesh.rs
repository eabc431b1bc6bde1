//! What makes several processes one mesh: who does what, where calls go, and how that is shown.

mod arrival;
mod conductor;
mod config;
mod digests;
mod door;
mod owners;
mod seat;
mod topology;

pub use arrival::{Join, Membership};
pub use config::{PeersConfig, PeersTlsConfig};

pub(crate) use arrival::Arrival;
pub(crate) use seat::{Seat, addresses, exchange};
