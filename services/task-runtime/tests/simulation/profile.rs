//! What one seed is like: how large, how slow, which faults and how often. Each fault is left out of half of the seeds
//! (swarm testing): a run in which everything goes wrong at once reaches less than runs that differ.

use std::time::Duration;

use task_runtime::{Config, Shortcut};

use crate::dice::Dice;

pub(crate) const PARTITIONS: u32 = 2;

/// Chances per thousand appends (or other calls) to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) slow: u64,
    pub(crate) slow_max_ms: u64,
    /// Nothing happens, and the caller is told so.
    pub(crate) refused: u64,
    /// Nothing happens, and the caller does not know.
    pub(crate) lost: u64,
    /// It happens, and the caller does not know.
    pub(crate) lost_ack: u64,
    /// It happens long after the caller was told that the outcome is not known.
    pub(crate) late: u64,
    pub(crate) late_max_ms: u64,
    /// The client below the port sends twice.
    pub(crate) twice: u64,
}

/// Weights of what is done to processes and tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nemesis {
    pub(crate) crash: u64,
    /// Crash at a certain append, just before or just after it lands.
    pub(crate) trip: u64,
    pub(crate) freeze: u64,
    pub(crate) rival: u64,
    pub(crate) handover: u64,
    pub(crate) outage: u64,
    /// Longest time between two of these.
    pub(crate) gap_ms: u64,
}

/// A log that loses what it has acknowledged: outside of what the protocol can heal, so less is demanded of these seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    None,
    ChangelogUnderOwner,
    ChangelogWhileDown,
    TopicTail,
}

#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) processes: usize,
    pub(crate) clients: usize,
    pub(crate) operations: u64,
    pub(crate) outside_records: u64,
    /// How long faults happen.
    pub(crate) faulty: Duration,
    pub(crate) network: Network,
    pub(crate) nemesis: Nemesis,
    pub(crate) loss: Loss,
    /// Whether requests are forgotten while the run lasts.
    pub(crate) forgetful: bool,
    pub(crate) skew_max_ms: u64,
    /// Whether tasks are given roles while they run, with standbys; otherwise each life is an owner's.
    pub(crate) managed: bool,
    pub(crate) config: Config,
}

impl Profile {
    pub(crate) fn draw(dice: &mut Dice, shortcut: Shortcut) -> Self {
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
            skew_max_ms: dice.pick(&[0, 10, 1_500]),
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
        retry_pause: dice.millis(1, 20),
        retry_pause_max: dice.millis(20, 400),
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
            gap_ms: dice.pick(&[60, 200, 600]),
        }
    }
}
