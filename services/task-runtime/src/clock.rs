//! Wall-clock time as a port: it enters a task only as the time of a command or of a due timer, never inside a handler.

use std::time::Duration;

use async_trait::async_trait;

/// Source of wall-clock time.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Returns when `now_ms` has probably reached `at_ms`; callers look again. May return early.
    async fn sleep_until(&self, at_ms: i64);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Sleeps are cut to this, so that a step of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port to the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(&self, at_ms: i64) {
        let millis = u64::try_from(at_ms.saturating_sub(self.now_ms())).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis).min(LONGEST_SLEEP)).await;
    }
}
