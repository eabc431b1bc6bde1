//! The one binary of the mesh.

use std::process::ExitCode;

/// Records, messages and answers are many small allocations that live shortly, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ordermesh::program([])
}
