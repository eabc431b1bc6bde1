//! Wall-clock time, as the whole process sees it: the machine's clock, or one that a test moves by hand.
//! It is the only place that asks the machine for the time of day.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use task_runtime::SystemClock;
use tokio::sync::watch;

/// Sleeps on the machine's wall clock are cut to this, so that a step of the clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A clock. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at this time, in milliseconds since the Unix epoch, until it is moved.
    pub fn manual(now_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(now_ms))))
    }

    /// Milliseconds since the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "this is the port to the machine's clock")]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
            }
            Source::Manual(now_ms) => *now_ms.borrow(),
        }
    }

    /// Moves a manual clock forward and wakes who sleeps on it. The machine's clock cannot be moved: nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now_ms) = &self.0 {
            let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            now_ms.send_modify(|now_ms| *now_ms = now_ms.saturating_add(by_ms));
        }
    }

    /// Returns when [`Clock::now_ms`] has probably reached `at_ms`; callers look again. May return early.
    pub async fn sleep_until(&self, at_ms: i64) {
        match &self.0 {
            Source::System => {
                let millis = u64::try_from(at_ms.saturating_sub(self.now_ms())).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(millis).min(LONGEST_SLEEP)).await;
            }
            Source::Manual(now_ms) => {
                // The sender lives in `self`, so that the wait cannot fail.
                let _ = now_ms.subscribe().wait_for(|now_ms| *now_ms >= at_ms).await;
            }
        }
    }
}

#[async_trait]
impl task_runtime::Clock for Clock {
    fn now_ms(&self) -> i64 {
        Clock::now_ms(self)
    }

    fn monotonic_ms(&self) -> i64 {
        match &self.0 {
            Source::System => task_runtime::Clock::monotonic_ms(&SystemClock),
            // Nobody sets it: it runs as it is moved.
            Source::Manual(now_ms) => *now_ms.borrow(),
        }
    }

    async fn sleep_until(&self, at_ms: i64) {
        match &self.0 {
            Source::System => task_runtime::Clock::sleep_until(&SystemClock, at_ms).await,
            Source::Manual(_) => Clock::sleep_until(self, at_ms).await,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn manual_clock_wakes_sleepers_when_it_is_moved() {
        let clock = Clock::manual(1_000);
        let other = clock.clone();
        let mut sleep = std::pin::pin!(other.sleep_until(1_500));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_millis(499));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_millis(1));
        assert!(sleep.as_mut().now_or_never().is_some());
        assert_eq!(other.now_ms(), 1_500);
    }

    #[test]
    fn system_clock_is_past_2020() {
        assert!(Clock::system().now_ms() > 1_577_836_800_000);
    }
}
