//! Results as Markdown tables, one for each kind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::report::{self, Figures, Report, Run};
use crate::tally::Quantiles;

/// Counters that tell what an order costs beneath the API: name in the table, name on the Prometheus address.
const COUNTERS: [(&str, &str); 6] = [
    ("records", "ordermesh_broker_records_total"),
    ("log bytes", "ordermesh_broker_bytes_total"),
    ("fsyncs", "ordermesh_broker_fsyncs_total"),
    ("appends", "ordermesh_kafka_appends_total"),
    ("records", "ordermesh_kafka_append_records_total"),
    ("log bytes", "ordermesh_kafka_append_bytes_total"),
];

/// Prints the results in files, and writes them all into one where that is wanted.
///
/// # Errors
/// When a file cannot be read, is no result, or cannot be written.
pub fn command(files: &[PathBuf], into: Option<&Path>) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for file in files {
        reports.extend(report::load(file)?);
    }
    if let Some(file) = into {
        report::save_all(&reports, file)?;
    }
    print!("{}", tables(&reports));
    Ok(())
}

/// The tables, with machine and commit above.
pub fn tables(reports: &[Report]) -> String {
    let mut text = origins(reports);
    let rows = |row: fn(&Report) -> Option<String>| reports.iter().filter_map(row).collect::<Vec<_>>();
    table(
        &mut text,
        "run|load|validated/s|create p50 / p99 ms|validated p50|p90|p99|p99.9|max ms|CPU-s/1,000 (+ broker)|RSS MiB (peak)|each order|rejected, failed, missed|driver: late p99 ms, CPU-s",
        &rows(run_row),
    );
    table(&mut text, "start|orders tried|first created ms|first validated ms|all validated ms", &rows(first_row));
    table(&mut text, "idle|seconds|CPU, % of a core|RSS MiB (peak)", &rows(idle_row));
    table(
        &mut text,
        "watches|how many, of|RSS MiB before, open, behind load|KiB each|idle CPU, % of a core|load|changes told|validated p50 / p99 ms without|with|CPU-s/1,000 without|with|ended",
        &rows(watch_row),
    );
    table(&mut text, "disk|bytes|append + fdatasync p50 ms|p99|max", &rows(disk_row));
    text
}

/// Machines and commits, each once: most often one of each.
fn origins(reports: &[Report]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for report in reports {
        let machine = &report.machine;
        let line = format!(
            "{}, {} cores, {:.0} GiB, Linux {}; commit {}",
            machine.processor,
            machine.cores,
            gibibytes(machine.memory_bytes),
            machine.kernel,
            report.commit.as_deref().unwrap_or("unknown"),
        );
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

fn table(text: &mut String, columns: &str, rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    let dashes = "---|".repeat(columns.split('|').count());
    write!(text, "\n| {} |\n|{dashes}\n", columns.replace('|', " | ")).expect("a string takes everything");
    for row in rows {
        writeln!(text, "| {row} |").expect("a string takes everything");
    }
}

fn run_row(report: &Report) -> Option<String> {
    let Figures::Run(run) = &report.figures else { return None };
    let Quantiles { p50, p90, p99, p999, max, .. } = run.validated_ms;
    let (cpu, memory) = match &run.server {
        Some(server) => {
            let memory = server.rss_bytes.zip(server.rss_peak_bytes);
            let memory = memory.map_or("-".to_owned(), |(now, peak)| rss(now, peak));
            let broker = run.broker.as_ref().map_or(String::new(), |b| format!(" + {:.2}", b.cpu_seconds_per_1000));
            (format!("{:.2}{broker}", server.cpu_seconds_per_1000), memory)
        }
        None => ("-".to_owned(), "-".to_owned()),
    };
    Some(format!(
        "{} | {} | {:.0} | {:.1} / {:.1} | {p50:.1} | {p90:.1} | {p99:.1} | {p999:.1} | {max:.1} | {cpu} | {memory} | {} | {}, {}, {} | {:.1}, {:.1}",
        report.label,
        load(run),
        run.validated_per_second,
        run.create_ms.p50,
        run.create_ms.p99,
        each_order(run),
        run.rejected,
        run.failed,
        run.missed,
        run.driver_late_ms.p99,
        run.driver_cpu_seconds,
    ))
}

/// How orders came, from the settings.
fn load(run: &Run) -> String {
    let setting = |name: &str| run.settings.get(name).cloned().unwrap_or_default();
    if setting("mode") == "closed" {
        format!("{} in flight", setting("in_flight"))
    } else {
        let gaps = if setting("poisson") == true { ", Poisson" } else { "" };
        format!("{}/s{gaps}", setting("rate"))
    }
}

/// Counters for each order that got an answer.
#[expect(clippy::cast_precision_loss, reason = "a run has far fewer orders than 2^52")]
fn each_order(run: &Run) -> String {
    let orders = (run.validated + run.rejected).max(1) as f64;
    let known = COUNTERS.iter().filter_map(|(name, counter)| {
        let per_order = run.counters.get(*counter)? / orders;
        let digits = if per_order < 100.0 { 2 } else { 0 };
        Some(format!("{per_order:.digits$} {name}"))
    });
    let text = known.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

fn first_row(report: &Report) -> Option<String> {
    let Figures::First(first) = &report.figures else { return None };
    let row = (first.orders, first.created_ms, first.validated_ms, first.all_validated_ms);
    Some(format!("{} | {} | {} | {} | {}", report.label, row.0, row.1, row.2, row.3))
}

fn idle_row(report: &Report) -> Option<String> {
    let Figures::Idle(idle) = &report.figures else { return None };
    let memory = rss(idle.rss_bytes, idle.rss_peak_bytes);
    Some(format!("{} | {:.0} | {:.2} | {memory}", report.label, idle.seconds, idle.cpu_percent))
}

fn watch_row(report: &Report) -> Option<String> {
    let Figures::Watch(watch) = &report.figures else { return None };
    let mebibytes = |bytes: u64| gibibytes(bytes) * 1024.0;
    let latency = |run: &Run| format!("{:.1} / {:.1}", run.validated_ms.p50, run.validated_ms.p99);
    let cpu =
        |run: &Run| run.server.as_ref().map_or("-".to_owned(), |server| format!("{:.2}", server.cpu_seconds_per_1000));
    let of = watch.settings.get("of").and_then(serde_json::Value::as_str).unwrap_or_default();
    Some(format!(
        "{} | {}, {of} | {:.0}, {:.0}, {:.0} | {:.1} | {:.2} | {} | {} | {} | {} | {} | {} | {}",
        report.label,
        watch.watchers,
        mebibytes(watch.rss_bytes_before),
        mebibytes(watch.rss_bytes_open),
        mebibytes(watch.rss_bytes_loaded),
        watch.rss_bytes_per_watcher / 1024.0,
        watch.idle_cpu_percent,
        load(&watch.with),
        watch.changes,
        latency(&watch.without),
        latency(&watch.with),
        cpu(&watch.without),
        cpu(&watch.with),
        watch.ended.values().sum::<u64>(),
    ))
}

fn disk_row(report: &Report) -> Option<String> {
    let Figures::Disk(disk) = &report.figures else { return None };
    let Quantiles { p50, p99, max, .. } = disk.fsync_ms;
    Some(format!("{} | {} | {p50:.2} | {p99:.2} | {max:.2}", report.label, disk.append_bytes))
}

fn rss(now: u64, peak: u64) -> String {
    format!("{:.0} ({:.0})", gibibytes(now) * 1024.0, gibibytes(peak) * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "memory sizes stay far below 2^52")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}
