//! When a caller stops listening, and how long before that it must be answered.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

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
        let timeout = metadata.get("grpc-timeout").and_then(|value| parse(value.as_bytes()));
        Self { received: Instant::now(), timeout }
    }

    /// When a wait must end: shortly before the deadline, or after `without_one`.
    pub fn answer_by(&self, without_one: Duration) -> Instant {
        let timeout = self.timeout.unwrap_or(without_one).min(without_one);
        self.received + (timeout - ANSWER_MARGIN.min(timeout / 10))
    }
}

/// At most 8 digits and a unit, as the gRPC protocol has it.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_nothing_else() {
        let read = [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("0n", Some(Duration::ZERO)),
        ];
        for (text, wanted) in read {
            assert_eq!(parse(text.as_bytes()), wanted, "{text}");
        }
        for text in ["", "S", "123456789S", "1", "-1S", "1.5S", "1s", "1 S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

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
