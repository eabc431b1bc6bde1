//! What tests of services need: a driver for processors without a log, one service with real tasks on a log in memory,
//! and a whole mesh.

#[cfg(feature = "mesh")]
mod instances;
#[cfg(feature = "mail-server")]
mod mail_server;
#[cfg(feature = "mesh")]
mod mesh;
#[cfg(feature = "registry-server")]
mod registry_server;
mod running;
#[cfg(feature = "simulation")]
pub mod simulation;
mod troubled_log;

#[cfg(feature = "mesh")]
pub use instances::Instances;
#[cfg(feature = "mail-server")]
pub use mail_server::{MailServer, MailTls, Misbehaviour, ReceivedMail};
#[cfg(feature = "mesh")]
pub use mesh::Mesh;
#[cfg(feature = "registry-server")]
pub use registry_server::{RegistryServer, RegistryTrouble};
pub use running::Running;
pub use task_runtime::driver::{Driver, Emitted};
pub use troubled_log::TroubledLog;
