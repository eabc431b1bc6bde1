//! Limits and times of the runtime. Everything that can grow has one.

use std::time::Duration;

use event_log::Error;

/// Settings of all tasks of a process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Calls that may wait in front of one task before further ones are refused as overloaded (1 ..= 65,536).
    pub calls_waiting_max: usize,
    /// Callers that may wait for conditions on one task, and as many who may wait for the proof that a strong read is one.
    pub waits_max: usize,
    /// Records, commands and timers that go into one commit at the most.
    pub batch_items_max: usize,
    /// Bytes of changes and outputs after which a commit takes no more items.
    pub batch_bytes_max: usize,
    /// Input records that are read ahead of processing.
    pub read_ahead_records_max: usize,
    /// Bytes of them; one fetch more than this may wait.
    pub read_ahead_bytes_max: usize,
    /// Records without any effect after which their positions are committed. Fewer are read again after a crash.
    pub quiet_records_max: usize,
    /// Bytes fetched at once from each input partition.
    pub fetch_bytes_max: usize,
    /// Longest wait of one fetch. Arriving records end it; the time costs no latency.
    pub fetch_wait: Duration,
    /// How long changes wait for a commit to go with, if they are neither sent nor answered nor waited for; and the shortest time
    /// between two fetches of patient inputs: see [`crate::Definition::patient`]. It is what batching in time is elsewhere: fewer and
    /// larger commits, for as much later an effect that nobody waits for. Zero commits everything at once.
    pub patience: Duration,
    /// Unpublished outputs at which a task stops taking new work until the log takes them.
    pub outbox_records_max: usize,
    /// Largest value of a record that is sent to the log, in bytes; larger commits are split, larger outputs refused.
    pub record_bytes_max: usize,
    /// How often a store that changes is told to write to its disk.
    pub flush_interval: Duration,
    /// How often a task looks whether it still owns its partition, when nothing else makes it look.
    pub ownership_check: Duration,
    /// Entries of the changelog after which a snapshot is made.
    pub snapshot_after_records: u64,
    /// Bytes of the changelog after which one is made, or as many as the last one has if that is more.
    pub snapshot_after_bytes: u64,
    /// Bytes of one part of a snapshot; at most `record_bytes_max`.
    pub snapshot_part_bytes: usize,
    /// Snapshots that a process makes at the same time.
    pub snapshots_at_once: usize,
    /// How long a read may wait at a standby until it is as fresh as asked for.
    pub standby_wait: Duration,
    /// How long calls wait for a task that is being restored before they are sent away, when tasks are managed.
    pub moving_grace: Duration,
    /// How long answers are remembered by request id.
    pub request_memory: Duration,
    /// How far the time of what a task reads may run ahead of this process's clock and still count as stream time. Beyond that,
    /// the clock that has stamped it is wrong, and must not make the task forget what is not over.
    pub clock_skew_max: Duration,
    /// First pause after a failed call to the log; doubles up to `retry_pause_max`.
    pub retry_pause: Duration,
    /// Longest pause between tries.
    pub retry_pause_max: Duration,
    /// Go on behind records that an input has lost, as if they had never been sent. Otherwise the task stops, and a person decides.
    pub accept_input_loss: bool,
    /// Which planted bug to commit; only the simulation sets it.
    pub shortcut: crate::Shortcut,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            calls_waiting_max: 4_096,
            waits_max: 65_536,
            batch_items_max: 512,
            batch_bytes_max: 512 * 1024,
            read_ahead_records_max: 2_048,
            read_ahead_bytes_max: 4 * 1024 * 1024,
            quiet_records_max: 1_024,
            fetch_bytes_max: 256 * 1024,
            fetch_wait: Duration::from_secs(30),
            patience: Duration::from_millis(50),
            outbox_records_max: 16_384,
            record_bytes_max: 900_000,
            flush_interval: Duration::from_secs(30),
            ownership_check: Duration::from_secs(5),
            snapshot_after_records: 200_000,
            snapshot_after_bytes: 64 * 1024 * 1024,
            snapshot_part_bytes: 256 * 1024,
            snapshots_at_once: 2,
            standby_wait: Duration::from_millis(500),
            moving_grace: Duration::from_millis(200),
            request_memory: Duration::from_secs(24 * 3600),
            clock_skew_max: Duration::from_secs(60),
            retry_pause: Duration::from_millis(20),
            retry_pause_max: Duration::from_secs(1),
            accept_input_loss: false,
            shortcut: crate::Shortcut::None,
        }
    }
}

impl Config {
    /// The pause behind the n-th failed try in a row, from 1.
    pub(crate) fn pause_after(&self, failed: u32) -> Duration {
        self.retry_pause.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(self.retry_pause_max)
    }
}

/// Asks the log until it answers, or refuses for good. An answer may be lost on its way, so that what is asked may be done more than
/// once.
pub(crate) async fn answered<T, Asked>(config: &Config, mut ask: impl FnMut() -> Asked) -> Result<T, Error>
where
    Asked: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new(config);
    loop {
        match ask().await {
            Err(error) if error.is_retryable() => backoff.pause().await,
            known => return known,
        }
    }
}

/// Growing pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(config: &Config) -> Self {
        Self { next: config.retry_pause, max: config.retry_pause_max }
    }

    pub(crate) async fn pause(&mut self) {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        tokio::time::sleep(pause).await;
    }
}
