//! Runs the mesh in simulated time under seeded faults, thousands of lives in seconds, and judges every step.
//!
//! ```text
//! cargo test -p task-runtime --test simulation                              200 seeds and all planted bugs
//! cargo test --release -p task-runtime --test simulation -- --seeds 20000   as many as there is patience for
//! ... -- --from 4711 --seeds 1 --trace                                      one run, line by line
//! ... -- --bug TrustTheAck --seeds 500                                      which seeds a planted bug is found by
//! ```
//!
//! What always holds: the same seed gives the same run to the byte, on any machine.

mod bugs;
mod clients;
mod dice;
mod life;
mod mesh;
mod nemesis;
mod network;
mod oracle;
mod panics;
mod profile;
mod seed;
mod shared;
mod stores;
mod trace;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use task_runtime::Shortcut;

use crate::oracle::{Failure, Stats};

/// Every so many seeds one is run twice.
const TWICE: u64 = 25;

struct Arguments {
    seeds: u64,
    from: u64,
    bug: Option<Shortcut>,
    trace: bool,
    threads: usize,
    list: bool,
    /// Without arguments of its own: the seeds and the planted bugs.
    whole: bool,
}

impl Arguments {
    /// Everything unknown is for other test harnesses.
    fn read() -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut read = Self { seeds: 200, from: 0, bug: None, trace: false, threads, list: false, whole: true };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
                value.parse::<u64>().map_err(|error| format!("{argument} {value}: {error}"))
            };
            match argument.as_str() {
                "--seeds" => read.seeds = number()?,
                "--from" => read.from = number()?,
                "--threads" => read.threads = usize::try_from(number()?).map_err(|error| error.to_string())?.max(1),
                "--trace" => read.trace = true,
                "--bug" => {
                    let name = arguments.next().ok_or("--bug needs a name")?;
                    read.bug = Some(bugs::by_name(&name)?);
                }
                "--list" => read.list = true,
                _ => continue,
            }
            read.whole &= argument == "--threads" || argument == "--list";
        }
        Ok(read)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.list {
        println!("simulation: test");
        return ExitCode::SUCCESS;
    }
    panics::keep();
    let holds = match arguments.bug {
        Some(bug) => {
            bugs::all_seeds(bug, arguments.from, arguments.seeds, arguments.trace);
            true
        }
        None => sweep(&arguments) && (!arguments.whole || bugs::each_is_found(arguments.threads)),
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Total {
    stats: Stats,
    seeds: u64,
    /// Simulated time.
    lasted: Duration,
    events: u64,
}

/// Runs all seeds and reports.
fn sweep(arguments: &Arguments) -> bool {
    let begin = Instant::now();
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let total: Mutex<Total> = Mutex::default();
    let threads = if arguments.trace { 1 } else { arguments.threads };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= arguments.seeds {
                        break;
                    }
                    let seed = arguments.from + index;
                    match one(seed, arguments.trace) {
                        Ok(outcome) => {
                            let mut total = total.lock().expect("no holder of this lock panics");
                            for (what, count) in outcome.stats {
                                *total.stats.entry(what).or_default() += count;
                            }
                            total.seeds += 1;
                            total.lasted += outcome.lasted;
                            total.events += outcome.trace.1;
                        }
                        Err(failure) => {
                            failed.store(true, Ordering::Relaxed);
                            let Failure { oracle, detail } = failure;
                            eprintln!("seed {seed}: {oracle}: {detail}");
                            eprintln!("look at it with: -- --from {seed} --seeds 1 --trace");
                        }
                    }
                }
            });
        }
    });
    let Total { stats, seeds, lasted, events } = total.into_inner().expect("no holder of this lock panics");
    for (what, count) in stats {
        println!("{count:>10} {what}");
    }
    let took = begin.elapsed().as_secs_f64();
    let (rate, minutes) = (seeds as f64 / took, lasted.as_secs() / 60);
    println!(
        "{seeds} seeds in {took:.1} s on {threads} threads ({rate:.0} a second), {events} events, {minutes} simulated minutes"
    );
    !failed.into_inner()
}

fn one(seed: u64, trace: bool) -> Result<seed::Outcome, Failure> {
    let outcome = run_caught(seed, Shortcut::None, trace)?;
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    if seed.is_multiple_of(TWICE) && !trace {
        let again = run_caught(seed, Shortcut::None, false)?;
        if again.trace != outcome.trace {
            let detail = format!("two runs differ: {:x?} and {:x?}", outcome.trace, again.trace);
            return Err(Failure { oracle: "same seed, same run", detail });
        }
    }
    Ok(outcome)
}

/// A panic of the harness itself is a failure of the seed, not of the whole run.
fn run_caught(seed: u64, shortcut: Shortcut, trace: bool) -> Result<seed::Outcome, Failure> {
    std::panic::catch_unwind(|| seed::run(seed, shortcut, trace))
        .map_err(|_| Failure { oracle: "harness", detail: panics::last() })
}
