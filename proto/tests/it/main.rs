//! What must hold for every `.proto` file: it is documented, routed, regular, and never takes back what it promised.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compatibility;
mod conventions;
mod documented;

use prost_reflect::DescriptorPool;

/// Everything that was compiled, with options.
fn pool() -> DescriptorPool {
    DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap()
}

/// Names of our own files only.
fn is_ours(file: &str) -> bool {
    file.starts_with("ordermesh/")
}

/// Whether clients rely on the file. Events and rows belong to the services that write them, and what instances tell each
/// other to the instances.
fn is_public(file: &str) -> bool {
    is_ours(file) && !["/events.proto", "/state.proto", "/peers.proto"].iter().any(|ending| file.ends_with(ending))
}
