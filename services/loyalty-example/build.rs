//! Compiles the API without protoc. The files of the mesh that it imports are those beside the crate `proto`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // Where the crate `proto` has its files: Cargo tells it to the build scripts of crates that depend on it.
    let mesh = variable("DEP_ORDERMESH_PROTO_INCLUDE")?;
    let mut compiler = protox::Compiler::new([Path::new("proto"), &mesh])?;
    compiler.include_imports(true).open_file("example/loyalty/v1/loyalty.proto")?;
    // In this form, for the typed form of prost drops the options by which the gateway routes.
    let encoded = compiler.encode_file_descriptor_set();
    std::fs::write(variable("OUT_DIR")?.join("loyalty.bin"), &encoded)?;

    let descriptors = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    tonic_prost_build::configure().bytes(".").extern_path(".ordermesh", "::proto").compile_fds(descriptors)?;
    Ok(())
}

fn variable(name: &str) -> Result<PathBuf, String> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set"))
}
