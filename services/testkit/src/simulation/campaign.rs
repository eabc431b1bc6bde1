//! The campaign over many seeds: a sweep, and the search for planted bugs. It is the `main` of a simulation.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::seed::Outcome;
use super::{Failure, Scenario, Stats, panics, seed};

/// Every so many seeds one is run twice.
const TWICE: u64 = 25;
/// Seeds within which each planted bug must be found.
const WITHIN: u64 = 500;

struct Arguments {
    seeds: u64,
    from: u64,
    bug: Option<String>,
    trace: bool,
    threads: usize,
    list: bool,
    /// Without arguments of its own: the seeds and the planted bugs.
    whole: bool,
}

impl Arguments {
    /// Everything unknown is for other test harnesses.
    fn read(seeds: u64) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut read = Self { seeds, from: 0, bug: None, trace: false, threads, list: false, whole: true };
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
                "--bug" => read.bug = Some(arguments.next().ok_or("--bug needs a name")?),
                "--list" => read.list = true,
                _ => continue,
            }
            read.whole &= argument == "--threads" || argument == "--list";
        }
        Ok(read)
    }
}

/// Runs what the command line asks for: without arguments, `seeds` seeds and all planted bugs.
#[must_use]
pub fn campaign<S: Scenario>(seeds: u64) -> ExitCode {
    let run = || {
        let arguments = Arguments::read(seeds)?;
        if arguments.list {
            println!("simulation: test");
            return Ok(true);
        }
        panics::keep();
        match &arguments.bug {
            Some(name) => all_seeds::<S>(name, &arguments),
            None => Ok(sweep::<S>(&arguments) && (!arguments.whole || each_bug_is_found::<S>(arguments.threads))),
        }
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err::<_, String>(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
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
fn sweep<S: Scenario>(arguments: &Arguments) -> bool {
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
                    match one::<S>(seed, arguments.trace) {
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

fn one<S: Scenario>(seed: u64, trace: bool) -> Result<Outcome, Failure> {
    let outcome = run_caught::<S>(seed, None, trace)?;
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    if seed.is_multiple_of(TWICE) && !trace {
        let again = run_caught::<S>(seed, None, false)?;
        if again.trace != outcome.trace {
            let detail = format!("two runs differ: {:x?} and {:x?}", outcome.trace, again.trace);
            return Err(Failure { oracle: "same seed, same run", detail });
        }
    }
    Ok(outcome)
}

/// A panic of the harness itself is a failure of the seed, not of the whole run.
fn run_caught<S: Scenario>(seed: u64, bug: Option<S::Bug>, trace: bool) -> Result<Outcome, Failure> {
    let run = std::panic::AssertUnwindSafe(|| seed::run::<S>(seed, bug, trace));
    std::panic::catch_unwind(run).map_err(|_| Failure { oracle: "harness", detail: panics::last() })
}

/// Runs every planted bug until it is found.
fn each_bug_is_found<S: Scenario>(threads: usize) -> bool {
    let bugs = S::bugs();
    let (next, missed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, bug)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begin = Instant::now();
                    let found = (0..WITHIN).find_map(|seed| Some((seed, found::<S>(*bug, seed, false)?)));
                    let took = begin.elapsed().as_secs_f64();
                    match found {
                        Some((seed, failure)) => {
                            println!("{name}: found by seed {seed}, {} ({took:.1} s)", failure.oracle)
                        }
                        None => {
                            eprintln!("{name}: not found within {WITHIN} seeds");
                            missed.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    !missed.into_inner()
}

/// Runs all seeds with one bug and says how often it is found, and by what.
fn all_seeds<S: Scenario>(name: &str, arguments: &Arguments) -> Result<bool, String> {
    let known = S::bugs().into_iter().find(|(known, _)| *known == name);
    let (_, bug) = known.ok_or_else(|| format!("no bug is called {name}"))?;
    let mut by_oracle = BTreeMap::<&str, Vec<u64>>::new();
    for seed in arguments.from..arguments.from + arguments.seeds {
        if let Some(failure) = found::<S>(bug, seed, arguments.trace) {
            if arguments.trace {
                eprintln!("{}: {}", failure.oracle, failure.detail);
            }
            by_oracle.entry(failure.oracle).or_default().push(seed);
        }
    }
    for (oracle, found) in by_oracle {
        println!("{oracle}: {} seeds, the first are {:?}", found.len(), &found[..found.len().min(8)]);
    }
    Ok(true)
}

fn found<S: Scenario>(bug: S::Bug, seed: u64, trace: bool) -> Option<Failure> {
    match run_caught::<S>(seed, Some(bug), trace) {
        Ok(outcome) => outcome.failure,
        Err(failure) => Some(failure),
    }
}
