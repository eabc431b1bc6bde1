//! The whole mesh with one service more: every command of `ordermesh` is here, with `loyalty` among its roles.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ordermesh::program([loyalty_example::addition()])
}
