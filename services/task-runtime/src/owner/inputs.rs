//! Reading ahead of processing: one fetch over all inputs that somebody waits for, one over the patient ones, and a bounded
//! queue of what they brought.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use event_log::{Error, FetchFrom, FetchLimits, Fetched, Offset, SharedLog, StoredRecord, TopicPartition};
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::TaskError;
use crate::config::{Backoff, Config, answered};
use crate::task::Task;

/// Records of some inputs, by the input's index, each with where the input ended then.
type Brought = Vec<(usize, Vec<StoredRecord>, u64)>;

/// What has been read and not yet processed.
#[derive(Default)]
pub(super) struct Inputs {
    pub(super) queued: VecDeque<(usize, StoredRecord)>,
    queued_bytes: usize,
    /// Where to read next, by input.
    from: Vec<FetchFrom>,
    /// Offset of the next record that has not been taken from the queue, by input.
    pub(super) taken: Vec<u64>,
    /// Where the log ended when it was last asked, by input.
    ends: Vec<u64>,
    lanes: Vec<Lane>,
}

/// Inputs that are fetched together.
struct Lane {
    inputs: Vec<usize>,
    /// Shortest time from what one fetch brought to the next fetch.
    interval: Duration,
    not_before: Option<Instant>,
    fetch: Option<BoxFuture<'static, Result<Brought, TaskError>>>,
}

impl Inputs {
    fn queue(&mut self, brought: Brought) {
        for (input, records, end) in brought {
            self.ends[input] = end;
            let Some(last) = records.last() else { continue };
            self.from[input].offset = last.offset.next();
            self.queued_bytes += records.iter().map(|stored| stored.record.approximate_size()).sum::<usize>();
            self.queued.extend(records.into_iter().map(|record| (input, record)));
        }
    }

    /// Waits for what the next fetch brings. Nothing is lost when this is given up.
    pub(super) async fn brought(&mut self) -> Result<Brought, TaskError> {
        poll_fn(|cx| {
            for lane in &mut self.lanes {
                let Some(fetch) = &mut lane.fetch else { continue };
                if let Poll::Ready(brought) = fetch.as_mut().poll(cx) {
                    lane.fetch = None;
                    lane.not_before = (!lane.interval.is_zero()).then(|| Instant::now() + lane.interval);
                    return Poll::Ready(brought);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Records that are known to stand in the log and have not been taken, by input.
    pub(super) fn lags(&self) -> impl Iterator<Item = u64> {
        self.ends.iter().zip(&self.taken).map(|(end, taken)| end.saturating_sub(*taken))
    }

    /// Takes the next record.
    pub(super) fn next(&mut self) -> Option<(usize, StoredRecord)> {
        let (input, stored) = self.queued.pop_front()?;
        self.queued_bytes -= stored.record.approximate_size();
        self.taken[input] = stored.offset.0 + 1;
        Some((input, stored))
    }
}

impl Task {
    /// Finds out where each input goes on: behind the committed position, or at the start of a log that is new to the task.
    pub(super) async fn start_inputs(&mut self) -> Result<(), TaskError> {
        let mut from = Vec::new();
        for (topic, _) in &self.setting.definition.inputs {
            let partition = TopicPartition { topic: topic.clone(), partition: self.setting.partition };
            let committed = self.progress.inputs.get(topic.as_str()).and_then(|input| input.position);
            let offset = match committed {
                Some(position) => Offset(position),
                None => answered(&self.config, || self.log.earliest(&partition)).await?,
            };
            from.push(FetchFrom { partition, offset });
        }
        let definition = &self.setting.definition;
        let (patient, prompt): (Vec<_>, Vec<_>) =
            (0..from.len()).partition(|input| definition.patient.contains(&definition.inputs[*input].0));
        let lane = |inputs, interval| Lane { inputs, interval, not_before: None, fetch: None };
        let lanes = [lane(prompt, Duration::ZERO), lane(patient, self.config.patience)];
        let lanes = lanes.into_iter().filter(|lane| !lane.inputs.is_empty()).collect();
        let taken: Vec<u64> = from.iter().map(|from| from.offset.0).collect();
        self.attempts.begin();
        self.running.inputs = Inputs { from, ends: taken.clone(), taken, lanes, ..Inputs::default() };
        self.tell_inputs();
        Ok(())
    }

    /// Takes what a fetch has brought.
    pub(super) fn queue(&mut self, brought: Brought) {
        self.running.inputs.queue(brought);
        self.metrics.input_lags(self.running.inputs.lags());
    }

    /// Tells how far the inputs are read, and how far they are not.
    pub(super) fn tell_inputs(&self) {
        self.board.took(&self.running.inputs.taken);
        self.metrics.input_lags(self.running.inputs.lags());
    }

    /// Goes back to what the last commit says: a planted bug computes anew from there.
    pub(super) fn rewind_inputs(&mut self) {
        self.running.let_go();
        let inputs = &mut self.running.inputs;
        inputs.queued.clear();
        inputs.queued_bytes = 0;
        for lane in &mut inputs.lanes {
            lane.fetch = None;
        }
        for (from, taken) in inputs.from.iter_mut().zip(&mut inputs.taken) {
            let committed = self.progress.inputs.get(from.partition.topic.as_str()).and_then(|input| input.position);
            from.offset = Offset(committed.unwrap_or(0));
            *taken = from.offset.0;
        }
    }

    /// Keeps the fetches going as long as there is room for what they bring.
    pub(super) fn start_fetch(&mut self) {
        let inputs = &mut self.running.inputs;
        let room = inputs.queued.len() < self.config.read_ahead_records_max
            && inputs.queued_bytes < self.config.read_ahead_bytes_max;
        for lane in inputs.lanes.iter_mut().filter(|lane| lane.fetch.is_none() && room) {
            let from = lane.inputs.iter().map(|input| (*input, inputs.from[*input].clone())).collect();
            let (log, config, not_before) = (self.log.clone(), self.config.clone(), lane.not_before);
            lane.fetch = Some(Box::pin(async move {
                if let Some(instant) = not_before {
                    tokio::time::sleep_until(instant).await;
                }
                fetch(log, from, config).await
            }));
        }
    }
}

/// Fetches until something is there.
async fn fetch(
    log: SharedLog,
    inputs: Vec<(usize, FetchFrom)>,
    config: std::sync::Arc<Config>,
) -> Result<Brought, TaskError> {
    let from: Vec<_> = inputs.iter().map(|(_, from)| from.clone()).collect();
    let limits = FetchLimits { max_bytes_per_partition: config.fetch_bytes_max, max_wait: config.fetch_wait };
    let mut backoff = Backoff::new(&config);
    loop {
        let fetched = match log.fetch(&from, limits).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_retryable() => {
                backoff.pause().await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut brought = Brought::new();
        let mut failed = false;
        for Fetched { partition, result } in fetched {
            let Some((input, from)) = inputs.iter().find(|(_, from)| from.partition == partition) else { continue };
            match result {
                Ok(batch) => brought.push((*input, batch.records, batch.high_watermark.0)),
                Err(error) if error.is_retryable() => failed = true,
                Err(error) => return Err(classed(error, from)),
            }
        }
        if brought.iter().any(|(_, records, _)| !records.is_empty()) {
            return Ok(brought);
        }
        if failed {
            backoff.pause().await;
        }
    }
}

fn classed(error: Error, from: &FetchFrom) -> TaskError {
    let FetchFrom { partition, offset } = from.clone();
    match error {
        Error::OffsetOutOfRange { earliest, .. } if earliest > offset => {
            TaskError::Trimmed { partition, earliest, position: offset }
        }
        Error::OffsetOutOfRange { latest, .. } => {
            TaskError::LogRegressed { partition, expected: offset, found: latest }
        }
        other => other.into(),
    }
}
