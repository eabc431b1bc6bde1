//! The log as one process sees it: slow, sometimes away, and never clear about what became of an append that failed.
//!
//! A request that has left the process goes its own way: it lands, or lands late, or twice, whether the process still lives
//! or not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{Error, EventLog, FetchFrom, FetchLimits, Fetched, Offset, Record, TopicPartition, TopicSpec};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::profile::Network;
use super::shared::Shared;
use super::{Dice, Scenario};

/// A connection of one process to the log.
pub(super) struct Connection<S> {
    shared: Arc<Shared<S>>,
    process: usize,
}

impl<S> std::fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.process)
    }
}

/// What becomes of an append.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It lands and is acknowledged.
    Lands,
    Refused,
    Lost,
    LostAck,
    Late(Duration),
    /// The same request lands again after this time; the caller is told the first or the second offset.
    Twice(Duration, bool),
}

impl<S: Scenario> Connection<S> {
    pub(super) fn new(shared: Arc<Shared<S>>, process: usize) -> Self {
        Self { shared, process }
    }

    /// Time on the wire, one way.
    fn delay(&self) -> Duration {
        if !self.shared.is_faulty() {
            return Duration::ZERO;
        }
        let network = self.shared.profile.network;
        self.shared.dice(|dice| delay(dice, network))
    }

    /// One way to or from the log for everything but appends.
    async fn travel(&self) -> Result<(), Error> {
        wait(self.delay()).await;
        if self.shared.is_faulty() {
            let refused = self.shared.profile.network.refused / 2;
            if self.shared.is_cut_off(self.process) || self.shared.dice(|dice| dice.permille(refused)) {
                wait(Duration::from_millis(2)).await;
                return Err(Error::Unavailable("the simulation says so".to_owned()));
            }
        }
        Ok(())
    }

    fn fate(&self) -> Fate {
        if !self.shared.is_faulty() {
            return Fate::Lands;
        }
        let cut_off = self.shared.is_cut_off(self.process);
        let network = self.shared.profile.network;
        self.shared.dice(|dice| fate(dice, network, cut_off))
    }
}

fn delay(dice: &mut Dice, network: Network) -> Duration {
    if !dice.permille(network.slow) {
        return Duration::ZERO;
    }
    let most = if dice.permille(150) { network.slow_max_ms } else { 3 };
    dice.millis(1, most)
}

fn fate(dice: &mut Dice, network: Network, cut_off: bool) -> Fate {
    if cut_off {
        return if dice.permille(500) { Fate::Refused } else { Fate::Lost };
    }
    let mut number = dice.below(1_000);
    let mut falls_below = |chance: u64| {
        let hit = number < chance;
        number = number.saturating_sub(chance);
        hit
    };
    if falls_below(network.refused) {
        Fate::Refused
    } else if falls_below(network.lost) {
        Fate::Lost
    } else if falls_below(network.lost_ack) {
        Fate::LostAck
    } else if falls_below(network.late) {
        Fate::Late(dice.millis(1, network.late_max_ms))
    } else if falls_below(network.twice) {
        let again = if dice.permille(500) { Duration::ZERO } else { dice.millis(1, network.late_max_ms) };
        Fate::Twice(again, dice.permille(500))
    } else {
        Fate::Lands
    }
}

/// Zero is no wait at all: a paused clock must not move for it.
async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Brings an append to the log, by itself. Returns what the sender will be told, if it still listens.
async fn carry<S: Scenario>(
    shared: Arc<Shared<S>>,
    partition: TopicPartition,
    records: Vec<Record>,
    before: Duration,
    fate: Fate,
) -> Result<Offset, Error> {
    let life = shared.broker_life();
    let unknown = || Err(Error::UnknownOutcome("the simulation says so".to_owned()));
    wait(before).await;
    if shared.broker_life() != life {
        return unknown();
    }
    match fate {
        Fate::Lands => shared.land(&partition, records),
        Fate::Refused => Err(Error::Unavailable("the simulation says so".to_owned())),
        Fate::Lost => unknown(),
        Fate::LostAck => {
            shared.count("acknowledgement lost");
            shared.land(&partition, records)?;
            unknown()
        }
        Fate::Late(time) => {
            let shared = shared.clone();
            tokio::task::spawn_local(async move {
                wait(time).await;
                if shared.broker_life() == life {
                    shared.count("landed late");
                    // Nobody waits for the outcome any more.
                    let _ = shared.land(&partition, records);
                }
            });
            unknown()
        }
        Fate::Twice(time, tell_second) => {
            let first = shared.land(&partition, records.clone())?;
            shared.count("landed twice");
            if time.is_zero() {
                let second = shared.land(&partition, records)?;
                return Ok(if tell_second { second } else { first });
            }
            let shared = shared.clone();
            tokio::task::spawn_local(async move {
                wait(time).await;
                if shared.broker_life() == life {
                    let _ = shared.land(&partition, records);
                }
            });
            Ok(first)
        }
    }
}

#[async_trait]
impl<S: Scenario> EventLog for Connection<S> {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.shared.log.ensure_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        self.shared.log.topics().await
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        if let Some(trip) = self.shared.tripped(self.process) {
            self.shared.count("crash at an append");
            if trip.after_landing {
                self.shared.land(partition, records)?;
            }
            self.shared.request_crash(self.process);
            return std::future::pending().await;
        }
        let (before, after, fate) = (self.delay(), self.delay(), self.fate());
        let carry = carry(self.shared.clone(), partition.clone(), records, before, fate);
        let answer = if before.is_zero() {
            // It lands in the same step: the process cannot die in between.
            carry.await
        } else {
            let (told, answer) = oneshot::channel();
            tokio::task::spawn_local(async move {
                // The sender may have died meanwhile.
                let _ = told.send(carry.await);
            });
            answer.await.unwrap_or_else(|_| Err(Error::UnknownOutcome("the run ends".to_owned())))
        };
        // No failure is told without any time passing: a caller that asks again at once would stop the clock.
        wait(if answer.is_err() { after.max(Duration::from_millis(1)) } else { after }).await;
        answer
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        self.travel().await?;
        let mut found = self.shared.log.fetch(from, limits).await?;
        for Fetched { partition, result } in &mut found {
            if let Ok(batch) = result {
                self.shared.as_on_disk(partition, batch);
            }
        }
        if self.shared.is_faulty() {
            // Brokers give less than was asked for as they like.
            for batch in found.iter_mut().filter_map(|fetched| fetched.result.as_mut().ok()) {
                let keep = self.shared.dice(|dice| {
                    if dice.permille(300) { dice.index(batch.records.len().max(1)) + 1 } else { usize::MAX }
                });
                batch.records.truncate(keep);
            }
        }
        self.travel().await?;
        Ok(found)
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.travel().await?;
        self.shared.log.earliest(partition).await
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.travel().await?;
        let latest = self.shared.log.latest(partition).await;
        wait(self.delay()).await;
        latest
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.travel().await?;
        self.shared.count("trimmed");
        self.shared.log.delete_before(partition, offset).await
    }
}
