//! The one binary of the mesh.

mod cli;
mod connect;
mod dev;
mod health;
mod producers;
mod schema;
mod serve;
mod topology;
mod verify;

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::Runtime;

use crate::cli::{Cli, Command, State};

/// Records, messages and answers are many small allocations that live shortly, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ordermesh: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Dev { settings, sample } => {
            let config = settings.load_trial()?;
            on_threads(dev::run(config, sample))
        }
        Command::Serve { settings, joining } => {
            let config = settings.load_joining(&joining)?;
            on_threads(serve::run(config, serve::Part::Tasks))
        }
        Command::Gateway { settings, joining } => {
            let config = settings.load_joining(&joining)?;
            on_threads(serve::run(config, serve::Part::Gateway))
        }
        Command::Topology { addr, watch, tls, token } => on_threads(topology::run(&addr, watch, &tls, &token)),
        Command::Config { settings } => {
            print!("{}", service_host::config::render(&settings.load()?)?);
            Ok(())
        }
        Command::Health(probe) => on_one_thread(health::run(probe)),
        Command::State(State::Verify(wanted)) => {
            let config = wanted.load()?;
            on_one_thread(verify::run(config, &wanted))
        }
        Command::Schema(schema) => on_one_thread(schema::run(schema)),
        Command::Producer(producer) => on_one_thread(async { Ok(producers::run(producer).await?) }),
    }
}

fn on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    run_on(tokio::runtime::Builder::new_current_thread().enable_all().build(), work)
}

fn on_threads(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all().build(), work)
}

fn run_on(runtime: io::Result<Runtime>, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime.context("the threads cannot be started")?;
    let done = runtime.block_on(work);
    // Whoever waits for a thread that hangs, for want of a broker say, has been told; the process need not wait for it, too.
    runtime.shutdown_background();
    done
}
