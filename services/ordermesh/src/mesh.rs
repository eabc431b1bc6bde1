//! What makes several processes one mesh: who does what, where calls go, and how that is shown.

mod conductor;
mod config;
mod digests;
mod door;
mod owners;
mod seat;
mod topology;

pub use config::{PeersConfig, PeersTlsConfig};
pub use seat::{Join, Membership};

pub(crate) use seat::{Seat, addresses, exchange};
