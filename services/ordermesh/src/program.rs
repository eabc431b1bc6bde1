//! The program: its command line, and what each command does.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::Runtime;

use crate::cli::{Cli, Command, State};
use crate::{Addition, Additions, dev, health, producers, schema, serve, topology, verify};

/// Runs the command line of `ordermesh` in a mesh that has these services too. To be called by `main`, with nothing else there.
pub fn program(additions: impl IntoIterator<Item = Addition>) -> ExitCode {
    match run(Cli::parse(), &additions.into_iter().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ordermesh: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, additions: &Additions) -> anyhow::Result<()> {
    match cli.command {
        Command::Dev { settings, sample } => {
            let config = settings.load_trial(additions)?;
            on_threads(dev::run(config, sample))
        }
        Command::Serve { settings, joining } => {
            let config = settings.load_joining(&joining, additions)?;
            on_threads(serve::run(config, serve::Part::Tasks))
        }
        Command::Gateway { settings, joining } => {
            let config = settings.load_joining(&joining, additions)?;
            on_threads(serve::run(config, serve::Part::Gateway))
        }
        Command::Topology { addr, watch, tls, token } => on_threads(topology::run(&addr, watch, &tls, &token)),
        Command::Config { settings } => {
            print!("{}", service_host::config::render(&settings.load(additions)?)?);
            Ok(())
        }
        Command::Health(probe) => on_one_thread(health::run(probe)),
        Command::State(State::Verify(wanted)) => {
            let config = wanted.load(additions)?;
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
