//! When a caller stops listening, and how long before that it must be answered.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::grpc_timeout;

/// Time that an answer needs to reach the caller: at most this, and a tenth of what is left when that is less.
const ANSWER_MARGIN: Duration = Duration::from_millis(10);

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

    /// When a wait must end: shortly before the deadline, or after `without_one`.
    pub fn answer_by(&self, without_one: Duration) -> Instant {
        let timeout = self.timeout.unwrap_or(without_one).min(without_one);
        self.received + (timeout - ANSWER_MARGIN.min(timeout / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_goes_out_before_the_caller_gives_up() {
        let received = Instant::now();
        let within = |timeout_ms: Option<u64>| {
            let deadline = Deadline { received, timeout: timeout_ms.map(Duration::from_millis) };
            deadline.answer_by(Duration::from_secs(600)) - received
        };
        assert_eq!(within(Some(1_000)), Duration::from_millis(990));
        assert_eq!(within(Some(20)), Duration::from_millis(18));
        assert_eq!(within(Some(0)), Duration::ZERO);
        assert_eq!(within(None), Duration::from_millis(599_990));
        assert_eq!(within(Some(3_600_000)), Duration::from_millis(599_990));
    }
}
