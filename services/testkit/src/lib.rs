//! What tests of services need: a driver for processors without a broker, and a whole mesh in one process.

pub use task_runtime::driver::{Driver, Emitted};
