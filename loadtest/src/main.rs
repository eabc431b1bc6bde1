//! The `loadtest` command: each subcommand makes one JSON result, `summary` makes a table of them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use loadtest::{bare, campaign, disk, first, idle, run, setup, summary, watch};

/// The driver shares the machine with what it measures: it must be cheap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives an Ordermesh with orders and measures it from the intended start of each order.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends orders at a fixed rate (open loop), or keeps a fixed number in flight (closed loop).
    Run(run::Settings),
    /// Creates the products that `run` orders, with stock for all of them. Can be repeated.
    Setup(setup::Settings),
    /// Measures processor time and memory of a process that nobody asks for anything.
    Idle(idle::Settings),
    /// Measures what watches cost: their memory, and what they take from orders that come in meanwhile.
    Watch(watch::Settings),
    /// Tries orders until one is VALIDATED, for the time that a start or a takeover takes.
    First(first::Settings),
    /// Measures what one append with fsync costs in a folder, beside which a durable log must be judged.
    Disk(disk::Settings),
    /// Serves orders with nothing behind: what the same calls cost when nobody does anything for them.
    Bare(bare::Settings),
    /// Does faults to a mesh under load, and judges what it promised: see docs/campaign.md.
    Campaign {
        #[command(subcommand)]
        command: campaign::Command,
    },
    /// Prints the results in these files as Markdown tables.
    Summary {
        /// Files that the other commands wrote with `--json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Writes all results into this one file too.
        #[arg(long)]
        into: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(settings) => run::command(&settings),
        Command::Setup(settings) => setup::command(&settings),
        Command::Idle(settings) => idle::command(&settings),
        Command::Watch(settings) => watch::command(&settings),
        Command::First(settings) => first::command(&settings),
        Command::Disk(settings) => disk::command(&settings),
        Command::Bare(settings) => bare::command(&settings),
        Command::Campaign { command } => campaign::command(&command),
        Command::Summary { files, into } => summary::command(&files, into.as_deref()),
    }
}
