//! What one seed is like: how large, how slow, which faults and how often. Each fault is left out of half of the seeds
//! (swarm testing): a run in which everything goes wrong at once reaches less than runs that differ.

use std::time::Duration;

use task_runtime::{Config, Shortcut};

use super::Dice;

/// Chances per thousand appends (or other calls) to the log.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// It takes time.
    pub slow: u64,
    /// As long as this at the most.
    pub slow_max_ms: u64,
    /// Nothing happens, and the caller is told so.
    pub refused: u64,
    /// Nothing happens, and the caller does not know.
    pub lost: u64,
    /// It happens, and the caller does not know.
    pub lost_ack: u64,
    /// It happens long after the caller was told that the outcome is not known.
    pub late: u64,
    /// As late as this at the most.
    pub late_max_ms: u64,
    /// The client below the port sends twice.
    pub twice: u64,
}

/// Weights of what is done to processes and tasks.
#[derive(Debug, Clone, Copy)]
pub struct Nemesis {
    /// Everything that a process runs ends where it is.
    pub crash: u64,
    /// Crash at a certain append, just before or just after it lands.
    pub trip: u64,
    /// A process stands still for a while.
    pub freeze: u64,
    /// Another process claims a task while its owner lives.
    pub rival: u64,
    /// A task is given up in good order.
    pub handover: u64,
    /// A process does not reach the log for a while.
    pub outage: u64,
    /// The disk of a process alters or loses what it holds, also while it is in use.
    pub damage: u64,
    /// Longest time between two of these.
    pub gap_ms: u64,
}

/// A log that loses what it has acknowledged: outside of what the protocol can heal, so less is demanded of these seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It loses nothing.
    None,
    /// Commits, while their owner lives.
    ChangelogUnderOwner,
    /// Commits of a task that is down.
    ChangelogWhileDown,
    /// Records that nobody has read yet.
    TopicTail,
}

/// What one seed is like.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Processes that things happen to.
    pub processes: usize,
    /// Callers.
    pub clients: usize,
    /// What each of them does.
    pub operations: u64,
    /// Records of producers that know nothing of the mesh.
    pub outside_records: u64,
    /// How long faults happen.
    pub faulty: Duration,
    /// What happens to calls of the log.
    pub network: Network,
    /// What happens to processes and tasks.
    pub nemesis: Nemesis,
    /// What happens to the log.
    pub loss: Loss,
    /// Whether requests are forgotten while the run lasts.
    pub forgetful: bool,
    /// Whether records of snapshots are damaged in the log, of one snapshot of each task at the most.
    pub damaged_snapshots: bool,
    /// A planted bug: nobody compares what a store holds with what was written.
    pub trusts_damaged_disks: bool,
    /// How far the clock of a process may be from the right time, in milliseconds.
    pub skew_max_ms: u64,
    /// Whether tasks are given roles while they run, with standbys; otherwise each life is an owner's.
    pub managed: bool,
    /// Settings of all tasks.
    pub config: Config,
}

impl Profile {
    /// Draws one; `shortcut` is a wrong way of the protocol that is planted.
    pub fn draw(dice: &mut Dice, shortcut: Shortcut) -> Self {
        let loss = match dice.below(100) {
            0..10 => Loss::ChangelogWhileDown,
            10..15 => Loss::TopicTail,
            15..18 => Loss::ChangelogUnderOwner,
            _ => Loss::None,
        };
        let forgetful = dice.permille(150);
        Self {
            processes: 2 + dice.index(2),
            clients: 2 + dice.index(2),
            operations: dice.range(6, 14),
            outside_records: dice.below(6),
            faulty: dice.millis(1_500, 4_000),
            network: Network::draw(dice),
            nemesis: Nemesis::draw(dice),
            loss,
            forgetful,
            damaged_snapshots: dice.permille(500),
            trusts_damaged_disks: false,
            // Clocks that are hours apart forget answers hours early or late.
            skew_max_ms: if forgetful { dice.pick(&[0, 10, 1_500]) } else { dice.pick(&[0, 10, 1_500, 3_600_000]) },
            managed: dice.permille(500),
            config: config(dice, forgetful, shortcut),
        }
    }
}

fn config(dice: &mut Dice, forgetful: bool, shortcut: Shortcut) -> Config {
    Config {
        calls_waiting_max: dice.pick(&[2, 16, 64]),
        waits_max: 64,
        batch_items_max: dice.pick(&[1, 2, 8, 64]),
        batch_bytes_max: dice.pick(&[100, 4_000, 64_000]),
        read_ahead_records_max: dice.pick(&[1, 4, 64]),
        read_ahead_bytes_max: dice.pick(&[1, 500, 64_000]),
        quiet_records_max: dice.pick(&[1, 4, 64]),
        fetch_bytes_max: dice.pick(&[1, 300, 64_000]),
        fetch_wait: Duration::from_secs(30),
        patience: dice.millis(0, 100),
        outbox_records_max: dice.pick(&[1, 4, 64]),
        ownership_check: dice.millis(100, 5_000),
        // Small ones split almost every commit.
        record_bytes_max: dice.pick(&[60, 300, 900_000, 900_000]),
        flush_interval: dice.millis(1, 5_000),
        // Every few commits, or never within a run.
        snapshot_after_records: dice.pick(&[5, 20, 60, 1_000_000]),
        snapshot_after_bytes: dice.pick(&[500, 20_000, 1 << 30]),
        snapshot_part_bytes: dice.pick(&[40, 1_000, 100_000]),
        snapshots_at_once: 1,
        standby_wait: Duration::from_millis(500),
        moving_grace: Duration::from_millis(200),
        request_memory: Duration::from_secs(if forgetful { 12 } else { 24 * 3600 }),
        // More or less than the clocks of a run differ.
        clock_skew_max: Duration::from_secs(60),
        retry_pause: dice.millis(1, 20),
        retry_pause_max: dice.millis(20, 400),
        accept_input_loss: false,
        shortcut,
    }
}

impl Network {
    fn draw(dice: &mut Dice) -> Self {
        let chance = |dice: &mut Dice, max| if dice.permille(500) { dice.range(1, max) } else { 0 };
        Self {
            slow: dice.pick(&[0, 100, 400]),
            slow_max_ms: dice.pick(&[3, 20, 300]),
            refused: chance(dice, 60),
            lost: chance(dice, 60),
            lost_ack: chance(dice, 100),
            late: chance(dice, 100),
            late_max_ms: dice.pick(&[20, 300, 2_500]),
            twice: chance(dice, 150),
        }
    }
}

impl Nemesis {
    fn draw(dice: &mut Dice) -> Self {
        let weight = |dice: &mut Dice| if dice.permille(500) { dice.range(1, 4) } else { 0 };
        Self {
            crash: weight(dice),
            trip: weight(dice),
            freeze: weight(dice),
            rival: weight(dice),
            handover: weight(dice),
            outage: weight(dice),
            damage: weight(dice),
            gap_ms: dice.pick(&[60, 200, 600]),
        }
    }
}
