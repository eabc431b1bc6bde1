//! Planted bugs: ways of doing it that look right and are not. Each must be found, or the faults are too tame to trust a
//! clean run. What each one does, and why it loses data:
//!
//! - `TrustTheAck`: the acknowledgement of an append is taken for the commit. An owner that was deposed meanwhile appends
//!   behind the new owner's claim; its entry is void for every reader, but it has answered and published.
//! - `LargestSeenWatermark`: a receiver takes every record above the largest sequence that it has seen. When one is missing
//!   (here: the topic lost it), its successor closes the door behind it, and sending it again does not help.
//! - `PublishBeforeCertify`: outputs leave while the commit is in flight. If it turns out void, receivers hold what never
//!   happened, and the same number will come again with other content, which they drop.
//! - `SkipPrevHash`: neither the last entry of a store nor the hash of the history is compared. A store of another history
//!   (here: of a log that lost a tail and went on) is taken for the state; what is computed on it is void for all others.
//! - `NewContentUnderOldNumber`: after an unknown outcome the next try carries what has arrived since. If the first try
//!   landed after all, it counts, and the owner believes the second.
//! - `ReadBeforeFence`: read, then claim, and go on from the claim. What the old owner committed in between is missing.
//! - `UnprovenStrongRead`: a strong read is answered from what is applied. A deposed owner answers as of long ago.
//! - `TrimTooFar`: the changelog is trimmed up to what the owner has applied, since its store has it. What stands behind the
//!   snapshots is gone for everybody else, and so are outputs that wait to be published.
//! - `PromoteWithoutClaim`: a standby that has read everything begins to commit without a claim of its own. Its commits are
//!   void for every reader, and the old owner goes on beside it.
//! - `ReplyBeforeCertify`: the caller is told as soon as the commit is sent. If it never counts, the caller was told a lie.

use std::time::Instant;

use task_runtime::Shortcut;

use crate::run_caught;

const BUGS: [(&str, Shortcut); 10] = [
    ("TrustTheAck", Shortcut::TrustTheAck),
    ("LargestSeenWatermark", Shortcut::LargestSeenWatermark),
    ("PublishBeforeCertify", Shortcut::PublishBeforeCertify),
    ("SkipPrevHash", Shortcut::SkipPrevHash),
    ("NewContentUnderOldNumber", Shortcut::NewContentUnderOldNumber),
    ("ReadBeforeFence", Shortcut::ReadBeforeFence),
    ("UnprovenStrongRead", Shortcut::UnprovenStrongRead),
    ("ReplyBeforeCertify", Shortcut::ReplyBeforeCertify),
    ("TrimTooFar", Shortcut::TrimTooFar),
    ("PromoteWithoutClaim", Shortcut::PromoteWithoutClaim),
];

/// Seeds within which each bug must be found.
const WITHIN: u64 = 500;

pub(crate) fn by_name(name: &str) -> Result<Shortcut, String> {
    let known = BUGS.iter().find(|(known, _)| *known == name);
    known.map(|(_, bug)| *bug).ok_or_else(|| format!("no bug is called {name}"))
}

/// Runs every planted bug until it is found.
pub(crate) fn each_is_found(threads: usize) -> bool {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let missed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, bug)) = BUGS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let begin = Instant::now();
                    let found = (0..WITHIN).find_map(|seed| Some((seed, found(*bug, seed)?)));
                    let took = begin.elapsed().as_secs_f64();
                    match found {
                        Some((seed, oracle)) => println!("{name}: found by seed {seed}, {oracle} ({took:.1} s)"),
                        None => {
                            eprintln!("{name}: not found within {WITHIN} seeds");
                            missed.store(true, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    !missed.into_inner()
}

/// Runs all seeds with one bug and says how often it is found, and by what.
pub(crate) fn all_seeds(bug: Shortcut, from: u64, seeds: u64, trace: bool) {
    let mut by_oracle = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    for seed in from..from + seeds {
        let failure = match run_caught(seed, bug, trace) {
            Ok(outcome) => outcome.failure,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            if trace {
                eprintln!("{}: {}", failure.oracle, failure.detail);
            }
            by_oracle.entry(failure.oracle).or_default().push(seed);
        }
    }
    for (oracle, found) in by_oracle {
        println!("{oracle}: {} seeds, the first are {:?}", found.len(), &found[..found.len().min(8)]);
    }
}

fn found(bug: Shortcut, seed: u64) -> Option<&'static str> {
    match run_caught(seed, bug, false) {
        Ok(outcome) => outcome.failure.map(|failure| failure.oracle),
        Err(failure) => Some(failure.oracle),
    }
}
