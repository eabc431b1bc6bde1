//! Schemas against a log and against a registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log;
mod registering;

use schemas::{Build, Catalogue, Described, Version};
use task_runtime::Schema;

/// Compiles a file of the package `shop`.
fn compiled(text: &str) -> Catalogue {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.proto");
    std::fs::write(&path, format!("syntax = \"proto3\"; package shop; {text}")).unwrap();
    let mut compiler = protox::Compiler::new([directory.path()]).unwrap();
    compiler.include_imports(true).open_file(&path).unwrap();
    Catalogue::new(&compiler.encode_file_descriptor_set()).unwrap()
}

/// The message `Order` with these fields.
fn order(fields: &str) -> Described {
    compiled(&format!("message Order {{ {fields} }}")).describe("shop.Order").unwrap()
}

/// It as the schema of a topic.
fn version(topic: &str, fields: &str) -> Version {
    Version {
        topic: topic.to_owned(),
        described: order(fields),
        build: Build::parse("1.0.0"),
        instance: "i-1".to_owned(),
        time_ms: 1_700_000_000_000,
    }
}

/// The schema of the records in the topic of schemas.
fn own() -> Schema {
    Schema::new("ordermesh.mesh.v1.SchemaRegistered", 7)
}
