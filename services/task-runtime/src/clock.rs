//! Time as a port: it enters a task only as the time of a command or of a due timer, never inside a handler.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

/// A wall clock, which somebody may set at any time, and a monotonic clock, which runs on at its pace whatever becomes of the other.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Wall clock: milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Monotonic clock: milliseconds since some moment.
    fn monotonic_ms(&self) -> i64;

    /// Returns when `monotonic_ms` has probably reached `at_ms`; callers look again. May return early.
    async fn sleep_until(&self, at_ms: i64);
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    pub(crate) wall_ms: i64,
    pub(crate) monotonic_ms: i64,
}

impl Moment {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.now_ms(), monotonic_ms: clock.monotonic_ms() }
    }

    /// When the monotonic clock shows what the wall clock, if nobody sets it, calls `due_ms`.
    pub(crate) fn monotonic_of(self, due_ms: i64) -> i64 {
        self.monotonic_ms.saturating_add(due_ms.saturating_sub(self.wall_ms))
    }

    /// What the wall clock shows now, or what it would show if nobody had set it since `earlier`, whichever is less.
    pub(crate) fn wall_unless_ahead_ms(self, earlier: Self) -> i64 {
        let elapsed_ms = self.monotonic_ms.saturating_sub(earlier.monotonic_ms);
        self.wall_ms.min(earlier.wall_ms.saturating_add(elapsed_ms))
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Where the monotonic clock of this process begins.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port to the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(&self, at_ms: i64) {
        let millis = u64::try_from(at_ms.saturating_sub(self.monotonic_ms())).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
