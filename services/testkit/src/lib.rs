//! What tests of services need: a driver for processors without a log, and one service with real tasks on a log in memory.

mod running;

pub use running::Running;
pub use task_runtime::driver::{Driver, Emitted};
