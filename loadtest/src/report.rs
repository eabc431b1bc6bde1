//! What a command found, as JSON: the figure, and all that it depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::machine::{self, Machine};
use crate::summary;
use crate::tally::Quantiles;

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name for tables.
    pub label: String,
    /// When it was done, in milliseconds since the Unix epoch.
    pub finished_unix_ms: u64,
    /// Commit that the server was built from, `-dirty` when files differed from it.
    pub commit: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The figures of each command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Figures {
    /// Of `run`.
    Run(Box<Run>),
    /// Of `idle`.
    Idle(Idle),
    /// Of `first`.
    First(First),
    /// Of `disk`.
    Disk(Disk),
    /// Of `watch`.
    Watch(Box<Watch>),
}

/// A run of orders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// All settings, as given.
    pub settings: serde_json::Value,
    /// Orders that were started in the measured time.
    pub started: u64,
    /// Orders that were not started, for too many were in flight: they are missing from the latencies.
    pub missed: u64,
    /// Orders that were validated.
    pub validated: u64,
    /// Validated within the measured time, each second.
    pub validated_per_second: f64,
    /// Orders that were rejected or cancelled, which none should be.
    pub rejected: u64,
    /// Orders of which a call failed.
    pub failed: u64,
    /// What failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// From the start to the answer of CreateOrder.
    pub create_ms: Quantiles,
    /// From the start to VALIDATED.
    pub validated_ms: Quantiles,
    /// From the start to the failure, of the orders that failed.
    pub failed_ms: Quantiles,
    /// How late the driver itself began the orders; part of all the others.
    pub driver_late_ms: Quantiles,
    /// Processor time that the driver used.
    pub driver_cpu_seconds: f64,
    /// The server's process, where its id or its metrics address was given.
    pub server: Option<Server>,
    /// The broker's processes, where their ids were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<Server>,
    /// What the server's counters gained, where its metrics address was given.
    pub counters: BTreeMap<String, f64>,
}

/// What the server used for a run, with the work that it still did for the orders after their answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Processor time.
    pub cpu_seconds: f64,
    /// Processor time for each 1,000 orders that got an answer.
    pub cpu_seconds_per_1000: f64,
    /// How long after the last answer it was at rest.
    pub settled_seconds: f64,
    /// Memory at the end; absent when only metrics were read.
    pub rss_bytes: Option<u64>,
    /// The most memory it ever had, since its start.
    pub rss_peak_bytes: Option<u64>,
}

/// A process that is asked for nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// How long it was watched.
    pub seconds: f64,
    /// Processor time as a share of one core.
    pub cpu_percent: f64,
    /// Memory at the end.
    pub rss_bytes: u64,
    /// The most memory it ever had.
    pub rss_peak_bytes: u64,
}

/// A start, as clients see it. Times count from the instant that was given, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct First {
    /// Orders that were tried, each until it was validated.
    pub orders: u64,
    /// Until the first one was accepted.
    pub created_ms: u64,
    /// Until the first one was validated.
    pub validated_ms: u64,
    /// Until all of them were: with many orders, until every partition works.
    pub all_validated_ms: u64,
}

/// What durability costs on a disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Bytes that were appended before each fsync.
    pub append_bytes: usize,
    /// One append with its fdatasync.
    pub fsync_ms: Quantiles,
}

/// What watches cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// All settings, as given.
    pub settings: serde_json::Value,
    /// How many watched.
    pub watchers: u64,
    /// Memory of the mesh behind the load without watches.
    pub rss_bytes_before: u64,
    /// Memory when all watches were open and nothing happened.
    pub rss_bytes_open: u64,
    /// Memory behind the load with watches.
    pub rss_bytes_loaded: u64,
    /// What an open watch added to the memory.
    pub rss_bytes_per_watcher: f64,
    /// Processor time as a share of one core, with all watches open and no order coming.
    pub idle_cpu_percent: f64,
    /// Changes that all watches together were told under the load, its warm-up included.
    pub changes: u64,
    /// Watches that ended before they were told to, and why.
    pub ended: BTreeMap<String, u64>,
    /// The load without watches.
    pub without: Run,
    /// The same load with them.
    pub with: Run,
}

/// To the sixth digit: more would be noise, and would not survive a JSON file exactly.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// What becomes of a result: flags that all commands have.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct Output {
    /// Name of the result in tables.
    #[arg(long, default_value = "-")]
    pub label: String,
    /// Writes the result there.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Commit that the server was built from. Default: the commit of the work tree that the command runs in.
    #[arg(long)]
    pub commit: Option<String>,
}

impl Output {
    /// A result of this machine, now.
    pub fn report(&self, figures: Figures) -> Report {
        Report {
            label: self.label.clone(),
            finished_unix_ms: machine::now_unix_ms(),
            commit: self.commit.clone().or_else(machine::commit),
            machine: Machine::this(),
            figures,
        }
    }

    /// Prints a result, and writes it where that is wanted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, figures: Figures) -> anyhow::Result<()> {
        let report = [self.report(figures)];
        print!("{}", summary::tables(&report));
        self.json.as_deref().map_or(Ok(()), |file| save_all(&report, file))
    }
}

/// Writes results into one file: an object when it is one, else an array.
///
/// # Errors
/// When the file cannot be written.
pub fn save_all(reports: &[Report], file: &Path) -> anyhow::Result<()> {
    let mut text = match reports {
        [report] => serde_json::to_string_pretty(report)?,
        reports => serde_json::to_string_pretty(reports)?,
    };
    text.push('\n');
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// Reads the results in a file.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn load(file: &Path) -> anyhow::Result<Vec<Report>> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let parsed = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text)
    } else {
        serde_json::from_str(&text).map(|report| vec![report])
    };
    parsed.with_context(|| format!("{} is no result of loadtest", file.display()))
}
