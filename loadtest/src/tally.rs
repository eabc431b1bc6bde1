//! What happened to the orders of a run: counted, and timed from the intended start.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::order::{End, Ended};
use crate::report::rounded;

/// Errors of different text that are kept apart; the rest is summed up.
const ERRORS_MAX: usize = 50;

/// Latencies in microseconds, to three digits, from 1 µs to 10 minutes; longer ones count as 10 minutes.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 600_000_000, 3).expect("fixed and valid bounds"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many of them took at least as long.
    pub fn at_least(&self, latency: Duration) -> u64 {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.count_between(micros, u64::MAX)
    }

    /// Their quantiles.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile: f64| milliseconds(self.0.value_at_quantile(quantile));
        Quantiles {
            count: self.0.len(),
            mean: rounded(self.0.mean() / 1000.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(self.0.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "bounded by ten minutes")]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// Quantiles in milliseconds; all 0 when nothing was counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were counted.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half took at most this.
    pub p50: f64,
    /// 90 % took at most this.
    pub p90: f64,
    /// 99 % took at most this.
    pub p99: f64,
    /// 99.9 % took at most this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// The orders of the measured part of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Orders that were started.
    pub started: u64,
    /// Orders that were meant to start, but too many others were in flight. Their latency is unknown, and was bad.
    pub missed: u64,
    /// Orders that were validated (or just created, where nothing else was asked).
    pub validated: u64,
    /// Those of them that ended before the run's end.
    pub validated_in_time: u64,
    /// Orders that were rejected or cancelled.
    pub rejected: u64,
    /// Orders of which a call failed.
    pub failed: u64,
    /// What failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// From the intended start to the answer of CreateOrder.
    pub create: Latencies,
    /// From the intended start to VALIDATED.
    pub validate: Latencies,
    /// From the intended start to the failure.
    pub fail: Latencies,
    /// From the intended start to the moment when the driver really sent the order: the driver's own share of the others.
    pub late: Latencies,
}

impl Tally {
    /// Adds an order. `sent` is when the driver got to it, `end` when the run was over.
    pub fn add(&mut self, intended: Instant, sent: Instant, end: Instant, ended: &Ended) {
        let since_intended = |at: Instant| at.saturating_duration_since(intended);
        self.started += 1;
        self.late.add(since_intended(sent));
        if let Some(acknowledged) = ended.acknowledged {
            self.create.add(since_intended(acknowledged));
        }
        match &ended.end {
            End::Created | End::Validated => {
                self.validated += 1;
                self.validated_in_time += u64::from(ended.at < end);
                if ended.end == End::Validated {
                    self.validate.add(since_intended(ended.at));
                }
            }
            End::Rejected => self.rejected += 1,
            End::Failed(what) => {
                self.failed += 1;
                self.fail.add(since_intended(ended.at));
                let known = self.errors.contains_key(what) || self.errors.len() < ERRORS_MAX;
                *self.errors.entry(if known { what.clone() } else { "others".to_owned() }).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut latencies = Latencies::default();
        for millis in 1..=1000 {
            latencies.add(Duration::from_millis(millis));
        }
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles.count, 1000);
        for (quantile, wanted) in [(quantiles.p50, 500.0), (quantiles.p99, 990.0), (quantiles.max, 1000.0)] {
            assert!((quantile - wanted).abs() <= wanted / 1000.0, "{quantile} for {wanted}");
        }
        assert_eq!(Latencies::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn every_order_is_counted_once_and_late_answers_are_no_throughput() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let ended = |millis, end| Ended { acknowledged: Some(after(1)), at: after(millis), end };
        let mut tally = Tally::default();
        tally.add(start, start, after(10), &ended(5, End::Validated));
        tally.add(start, start, after(10), &ended(15, End::Validated));
        tally.add(start, start, after(10), &ended(5, End::Rejected));
        tally.add(start, start, after(10), &ended(7, End::Failed("GetOrder Unavailable: away".to_owned())));
        assert_eq!((tally.started, tally.validated, tally.validated_in_time), (4, 2, 1));
        assert_eq!((tally.rejected, tally.failed), (1, 1));
        assert_eq!(tally.create.quantiles().count, 4);
        assert_eq!(tally.validate.quantiles().count, 2);
        assert_eq!(tally.fail.quantiles().count, 1, "a failure is no fast success");
        assert_eq!(tally.errors.len(), 1);
    }

    #[test]
    fn errors_of_many_texts_do_not_fill_the_memory() {
        let start = Instant::now();
        let mut tally = Tally::default();
        for number in 0..1000 {
            let end = End::Failed(format!("CreateOrder Internal: {number}"));
            tally.add(start, start, start, &Ended { acknowledged: None, at: start, end });
        }
        assert_eq!(tally.errors.len(), ERRORS_MAX + 1);
        assert_eq!(tally.errors.values().sum::<u64>(), 1000);
    }
}
