//! What one append with fdatasync costs on the disk of a folder: the floor under every durable write there.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use crate::report::{Disk, Figures, Output};
use crate::tally::Latencies;

/// Settings of `loadtest disk`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The folder, which must exist.
    #[arg(long)]
    pub dir: PathBuf,
    /// Bytes of each append.
    #[arg(long, default_value_t = 4096)]
    pub bytes: usize,
    /// How many appends.
    #[arg(long, default_value_t = 500)]
    pub count: usize,
    /// What becomes of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Measures and prints the result.
///
/// # Errors
/// When the folder cannot be written.
pub fn command(settings: &Settings) -> anyhow::Result<()> {
    let fsync_ms = measure(&settings.dir, settings.bytes, settings.count)
        .with_context(|| format!("{} cannot be measured", settings.dir.display()))?
        .quantiles();
    settings.output.publish(Figures::Disk(Disk { append_bytes: settings.bytes, fsync_ms }))
}

fn measure(folder: &Path, bytes: usize, count: usize) -> std::io::Result<Latencies> {
    let path = folder.join(format!("loadtest-disk-{}", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let measured = append(&mut file, bytes, count);
    fs::remove_file(&path)?;
    measured
}

fn append(file: &mut fs::File, bytes: usize, count: usize) -> std::io::Result<Latencies> {
    let block = vec![0xa5; bytes];
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.add(start.elapsed());
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_append_is_timed_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let latencies = measure(folder.path(), 100, 7).unwrap();
        assert_eq!(latencies.quantiles().count, 7);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(measure(&folder.path().join("missing"), 100, 7).is_err());
    }
}
