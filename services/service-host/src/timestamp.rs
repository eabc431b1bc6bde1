//! Time as protobuf says it.

use prost_types::Timestamp;

/// A time in milliseconds since the Unix epoch, which may lie before it.
///
/// # Panics
/// Never: less than a second in nanoseconds fits.
#[must_use]
pub fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).expect("less than a second in nanoseconds fits");
    Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_count_forwards_before_the_epoch_too() {
        for (ms, seconds, nanos) in [(0, 0, 0), (1_999, 1, 999_000_000), (-1, -1, 999_000_000), (-1_000, -1, 0)] {
            assert_eq!(timestamp(ms), Timestamp { seconds, nanos });
        }
    }
}
