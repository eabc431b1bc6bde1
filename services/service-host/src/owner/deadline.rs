//! When a caller stops listening, and how long before that it must be answered.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::grpc_timeout;

/// Time that an answer needs to reach the caller: at most this, and a tenth of what is left when that is less.
const ANSWER_MARGIN: Duration = Duration::from_millis(10);
/// How long a wait lasts for a caller without a deadline, so that one who is gone unnoticed is not waited for without end.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(600);

/// The deadline of a call, if its caller has one.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    received: Instant,
    timeout: Option<Duration>,
}

impl Deadline {
    /// Reads `grpc-timeout`, which counts from now. One that cannot be read counts as none.
    pub fn of(metadata: &MetadataMap) -> Self {
        let timeout = metadata.get(grpc_timeout::HEADER).and_then(|value| grpc_timeout::parse(value.as_bytes()));
        Self { received: Instant::now(), timeout }
    }

    /// When a wait must end: shortly before the deadline, or ten minutes after the call came without one.
    pub fn answer_by(&self) -> Instant {
        let by = |timeout: Duration| self.received.checked_add(timeout - ANSWER_MARGIN.min(timeout / 10));
        // A deadline that lies beyond the clock is none.
        self.timeout.and_then(by).unwrap_or_else(|| self.received + WITHOUT_DEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(timeout: Option<Duration>) -> Duration {
        let received = Instant::now();
        Deadline { received, timeout }.answer_by() - received
    }

    #[test]
    fn the_answer_goes_out_before_the_caller_gives_up() {
        let within = |timeout_ms| within(Some(Duration::from_millis(timeout_ms)));
        assert_eq!(within(1_000), Duration::from_millis(990));
        assert_eq!(within(20), Duration::from_millis(18));
        assert_eq!(within(0), Duration::ZERO);
    }

    #[test]
    fn a_wait_lasts_as_long_as_its_caller_says_and_ten_minutes_if_nobody_says() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(within(Some(hour)), hour - ANSWER_MARGIN);
        let longest = grpc_timeout::parse(b"99999999H").unwrap();
        assert!(within(Some(longest)) >= WITHOUT_DEADLINE);
        assert_eq!(within(Some(Duration::MAX)), WITHOUT_DEADLINE);
        assert_eq!(within(None), WITHOUT_DEADLINE);
    }
}
