//! Velocity: how many orders a customer places within one tumbling window. Too many are an alert, which fails nothing.
//!
//! Windows follow each other without a gap from the Unix epoch on, by event time. An order counts in exactly one of them,
//! and orders that come out of order count where they belong, as long as their window is remembered.

/// How orders are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Length of a window.
    pub window_ms: i64,
    /// How long a window that ended is remembered, for orders that come late. One that comes later counts nowhere.
    pub grace_ms: i64,
    /// Most orders in one window without an alert.
    pub orders_max: u64,
}

/// The orders of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Orders so far.
    pub count: u64,
}

/// A window with too many orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// Its begin.
    pub start_ms: i64,
    /// Its end, which is no part of it.
    pub end_ms: i64,
    /// Orders so far.
    pub count: u64,
}

impl Rule {
    /// Counts an order of `time_ms` among the windows of its customer, which are kept oldest first. Returns the alert as it is
    /// from now on, if there is one. `stream_time_ms` is the latest event time seen.
    pub fn count(&self, windows: &mut Vec<Window>, time_ms: i64, stream_time_ms: i64) -> Option<Alert> {
        self.prune(windows, stream_time_ms);
        let start_ms = time_ms.saturating_sub(time_ms.rem_euclid(self.window_ms));
        let fresh = Window { start_ms, count: 0 };
        if self.is_forgotten(&fresh, stream_time_ms) {
            return None;
        }
        let place = windows.binary_search_by_key(&start_ms, |window| window.start_ms).unwrap_or_else(|place| {
            windows.insert(place, fresh);
            place
        });
        let window = &mut windows[place];
        window.count += 1;
        let alert = Alert { start_ms, end_ms: self.end_ms(window), count: window.count };
        (window.count > self.orders_max).then_some(alert)
    }

    /// Forgets windows in which no order is expected any more.
    pub fn prune(&self, windows: &mut Vec<Window>, stream_time_ms: i64) {
        windows.retain(|window| !self.is_forgotten(window, stream_time_ms));
    }

    /// When a window is forgotten, in stream time.
    #[must_use]
    pub fn expiry_ms(&self, window: &Window) -> i64 {
        self.end_ms(window).saturating_add(self.grace_ms)
    }

    fn end_ms(&self, window: &Window) -> i64 {
        window.start_ms.saturating_add(self.window_ms)
    }

    fn is_forgotten(&self, window: &Window, stream_time_ms: i64) -> bool {
        self.expiry_ms(window) <= stream_time_ms
    }
}
