//! Who should run which task: the members of a mesh, a placement of tasks on them, and what follows from it for one
//! instance.
//!
//! Everything here only *suggests*. Who owns a task is decided by the claims in its changelog, so that a wrong or late
//! suggestion costs time and never data. That is why nothing here needs a lease, a lock or a clock that agrees.

mod assign;
mod duty;
mod exchange;
mod fixed;
mod group;
mod peers;
mod placement;

pub use assign::{Assignor, Situation};
pub use duty::{Duty, duties};
pub use exchange::{Exchange, ExchangeConfig, PeerServer};
pub use fixed::Static;
pub use group::{Group, GroupConfig, GroupError, InputRead, Readers};
pub use peers::{Life, Peers, Report, RestoreReport, TaskReport};
pub use placement::{InstanceId, Member, Members, Placement, Role, Suggestion, Suggestions, TaskId};
