//! Processor time and memory of a process on this machine, from `/proc`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// How long a process is watched to see whether it still works.
const LOOK: Duration = Duration::from_millis(250);

/// What a process has used by now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user and system mode.
    pub cpu_seconds: f64,
    /// Memory that it holds now.
    pub rss_bytes: u64,
    /// The most that it ever held.
    pub rss_peak_bytes: u64,
}

/// Reads what process `pid` has used.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    read(&pid.to_string()).with_context(|| format!("process {pid} cannot be read"))
}

/// Reads what several processes have used together; nothing of none.
///
/// # Errors
/// When one of them does not exist.
pub fn usage_of(pids: &[u32]) -> anyhow::Result<Option<Usage>> {
    let mut sum: Option<Usage> = None;
    for pid in pids {
        let one = usage(*pid)?;
        sum = Some(sum.map_or(one, |sum| Usage {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            rss_bytes: sum.rss_bytes + one.rss_bytes,
            rss_peak_bytes: sum.rss_peak_bytes + one.rss_peak_bytes,
        }));
    }
    Ok(sum)
}

/// Reads what this process has used.
///
/// # Errors
/// When there is no `/proc`.
pub fn own_usage() -> anyhow::Result<Usage> {
    read("self")
}

#[expect(clippy::cast_precision_loss, reason = "clock ticks stay far below 2^52")]
fn read(process: &str) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Fields 14 and 15, counted behind the name, which may hold blanks and brackets.
    let (_, behind_name) = stat.rsplit_once(')').context("no name in stat")?;
    let mut ticks = behind_name.split_ascii_whitespace().skip(11);
    let mut next = || ticks.next().context("stat is too short")?.parse::<u64>().context("no number in stat");
    let cpu_ticks = next()? + next()?;

    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        line.trim_end_matches("kB").trim().parse::<u64>().context("no number in status")
    };
    Ok(Usage {
        cpu_seconds: cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        rss_bytes: kibibytes("VmRSS:")? * 1024,
        rss_peak_bytes: kibibytes("VmHWM:")? * 1024,
    })
}

/// Waits until processes use less than 5 % of a core, so that the work which their orders left behind counts for them;
/// at most `limit`. Says how long that was.
///
/// # Errors
/// When one of them does not exist.
pub fn settle(pids: &[u32], limit: Duration) -> anyhow::Result<Duration> {
    let cpu_seconds = || anyhow::Ok(usage_of(pids)?.map_or(0.0, |usage| usage.cpu_seconds));
    let start = Instant::now();
    let mut before = cpu_seconds()?;
    while start.elapsed() < limit {
        thread::sleep(LOOK.min(limit));
        let now = cpu_seconds()?;
        // Ticks are 10 ms: one in 250 ms is 4 %.
        if now - before < 0.05 * LOOK.as_secs_f64() {
            break;
        }
        before = now;
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_its_time_grows() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.rss_bytes > 0 && before.rss_peak_bytes >= before.rss_bytes / 2);
        let deadline = Instant::now() + Duration::from_secs(20);
        while own_usage().unwrap().cpu_seconds <= before.cpu_seconds {
            assert!(Instant::now() < deadline, "reading takes time, and none was counted");
        }
    }

    #[test]
    fn a_process_that_does_not_exist_is_named() {
        let error = usage(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("4294967295"), "{error}");
    }
}
