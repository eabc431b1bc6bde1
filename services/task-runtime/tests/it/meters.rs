//! A recorder that keeps every value that a metric has had, for tests of one task in one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Installed for a test by [`metrics::set_default_local_recorder`], on whose thread the task runs too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meters(Arc<Mutex<BTreeMap<String, Arc<Series>>>>);

#[derive(Debug, Default)]
struct Series(Mutex<Vec<f64>>);

impl Meters {
    /// All values that a metric has had, by its name and labels as Prometheus writes them.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        let series = self.0.lock().unwrap();
        let known = || series.keys().cloned().collect::<Vec<_>>().join("\n");
        let found = series.get(name).unwrap_or_else(|| panic!("there is no {name} among\n{}", known()));
        found.0.lock().unwrap().clone()
    }

    /// The last of them; 0 if there has been none.
    pub(crate) fn last(&self, name: &str) -> f64 {
        self.values(name).last().copied().unwrap_or(0.0)
    }

    fn series(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_default().clone()
    }
}

impl Series {
    fn push(&self, next: impl FnOnce(f64) -> f64) {
        let mut values = self.0.lock().unwrap();
        let last = values.last().copied().unwrap_or(0.0);
        values.push(next(last));
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.push(|last| last + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.push(|_| value as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.push(|last| last + value);
    }

    fn decrement(&self, value: f64) {
        self.push(|last| last - value);
    }

    fn set(&self, value: f64) {
        self.push(|_| value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.push(|_| value);
    }
}

impl Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}
