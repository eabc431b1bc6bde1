//! The chain of tasks in a process of its own, on the embedded log and stores on disk, killed with -9 again and again under
//! load, then judged by what its topics and its state say: nothing acknowledged is lost, nothing has happened twice.
//!
//! ```text
//! cargo test -p task-runtime --test kill                                  a few kills
//! cargo test --release -p task-runtime --test kill -- --kills 200         a campaign
//! cargo test --release -p task-runtime --test kill -- --writes 200        at the first write of a life, at the second... (strace)
//! ```
//!
//! The process that is killed is this binary with `--child`. It takes requests from its standard input and tells on its
//! standard output which are acknowledged: what stands in that pipe was told before the kill. Requests that were not
//! acknowledged are sent again to the next life under their old ids. Another chain of lives dies by itself, at a record that
//! kills: with `--deadly`.

mod deadly;
mod life;
#[path = "../simulation/mesh.rs"]
#[expect(dead_code, reason = "shared with the simulation, which asks more")]
mod mesh;
mod reading;
mod supervisor;

use std::path::Path;
use std::process::ExitCode;

use embedded_broker::SyncPolicy;
use supervisor::Kills;

/// Kills without arguments, over both policies.
const KILLS: u64 = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value_of = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    if let (Some(directory), Some(policy)) = (value_of("--child"), value_of("--sync")) {
        return life::run(Path::new(directory), policy_by_name(policy));
    }
    if let Some(directory) = value_of("--deadly") {
        return deadly::run(Path::new(directory));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("kill: test");
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default: u64| value_of(name).map_or(Ok(default), |value| value.parse());
    let (Ok(kills), Ok(seed)) = (number("--kills", KILLS), number("--seed", 1)) else {
        eprintln!("--kills and --seed take a number");
        return ExitCode::FAILURE;
    };
    let campaigns = match value_of("--writes").map(|last| last.parse()) {
        None => [("group", Kills::AtRandom(kills.div_ceil(2))), ("os", Kills::AtRandom(kills / 2))],
        Some(Ok(last)) => [("group", Kills::AtWrites(last)), ("os", Kills::AtWrites(last))],
        Some(Err(_)) => {
            eprintln!("--writes takes a number");
            return ExitCode::FAILURE;
        }
    };
    for (policy, kills) in campaigns {
        match supervisor::campaign(policy, kills, seed) {
            Ok(report) => println!("{policy}: {report}"),
            Err(problem) => {
                eprintln!("{policy}: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    match deadly::crash_loop() {
        Ok(()) => println!("a record that kills: set aside"),
        Err(problem) => {
            eprintln!("a record that kills: {problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn policy_by_name(name: &str) -> SyncPolicy {
    if name == "os" { SyncPolicy::Os } else { SyncPolicy::Group }
}
