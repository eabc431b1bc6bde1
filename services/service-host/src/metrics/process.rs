//! What the operating system says of the process: memory, processor time, open files. Read when somebody asks.

use std::fs;

use metrics::{describe_gauge, gauge};

const RESIDENT: &str = "process_resident_memory_bytes";
/// A gauge although it only grows: counters of this recorder are whole numbers, and dashboards expect seconds.
const CPU: &str = "process_cpu_seconds_total";
const FILES: &str = "process_open_fds";

/// Tells Prometheus what the figures mean.
pub(super) fn describe() {
    describe_gauge!(RESIDENT, metrics::Unit::Bytes, "memory that the process holds");
    describe_gauge!(CPU, metrics::Unit::Seconds, "processor time that the process has used");
    describe_gauge!(FILES, metrics::Unit::Count, "files and sockets that the process has open");
}

/// Takes the figures now. One that cannot be had keeps its last value.
pub(super) fn sample() {
    if let Some(pages) = resident_pages() {
        gauge!(RESIDENT).set((pages * rustix::param::page_size() as u64) as f64);
    }
    if let Some(ticks) = cpu_ticks() {
        gauge!(CPU).set(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // Listing them opens one more.
        gauge!(FILES).set(files.count().saturating_sub(1) as f64);
    }
}

/// Second number of `/proc/self/statm`.
fn resident_pages() -> Option<u64> {
    fs::read_to_string("/proc/self/statm").ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// User and system time: fields 14 and 15 of `/proc/self/stat`, counted behind the name, which may hold blanks.
fn cpu_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_and_time() {
        assert!(resident_pages().unwrap() > 0);
        assert!(cpu_ticks().is_some());
    }
}
