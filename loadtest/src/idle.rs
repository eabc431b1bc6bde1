//! What a process costs that is asked for nothing.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;

use crate::process;
use crate::report::{Figures, Idle, Output, rounded};

/// Settings of `loadtest idle`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The process.
    #[arg(long)]
    pub pid: u32,
    /// How long it is watched.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// What becomes of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Watches and prints the result.
///
/// # Errors
/// When there is no such process, or it ends.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    ensure!(!settings.duration.is_zero(), "--duration must be above 0");
    let before = process::usage(settings.pid)?;
    let start = Instant::now();
    std::thread::sleep(settings.duration);
    let after = process::usage(settings.pid)?;
    let seconds = start.elapsed().as_secs_f64();
    let figures = Figures::Idle(Idle {
        seconds: rounded(seconds),
        cpu_percent: rounded(100.0 * (after.cpu_seconds - before.cpu_seconds) / seconds),
        rss_bytes: after.rss_bytes,
        rss_peak_bytes: after.rss_peak_bytes,
    });
    settings.output.publish(figures)
}
