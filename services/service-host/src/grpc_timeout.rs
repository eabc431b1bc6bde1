//! The `grpc-timeout` header: how long a caller will listen.

use std::time::Duration;

/// Name of the header.
pub const HEADER: &str = "grpc-timeout";

/// Largest number that the header can hold: 8 digits.
const NUMBER_MAX: u128 = 99_999_999;

/// Reads the header: 1 to 8 digits and a unit. `None` when it is anything else.
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes the header, in the finest unit that holds the time; never more time than there is.
pub fn format(timeout: Duration) -> String {
    let units = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S'), (60_000_000_000, 'M')];
    for (nanos, unit) in units {
        let amount = timeout.as_nanos() / nanos;
        if amount <= NUMBER_MAX {
            return format!("{amount}{unit}");
        }
    }
    let hours = (timeout.as_nanos() / 3_600_000_000_000).min(NUMBER_MAX);
    format!("{hours}H")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_nothing_else() {
        let read = [
            ("2H", 7_200_000_000_000),
            ("3M", 180_000_000_000),
            ("4S", 4_000_000_000),
            ("100m", 100_000_000),
            ("99999999u", 99_999_999_000),
            ("0n", 0),
        ];
        for (text, nanos) in read {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "S", "123456789S", "1", "-1S", "1.5S", "1s", "1 S", "١S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_no_more_than_it_was() {
        for nanos in [0, 1, 99_999_999, 100_000_000, 123_456_789_012, 1 << 60] {
            let timeout = Duration::from_nanos(nanos);
            let read = parse(format(timeout).as_bytes()).unwrap();
            assert!(read <= timeout && timeout - read <= timeout / 1_000, "{nanos}: {read:?}");
        }
        assert_eq!(format(Duration::MAX), "99999999H");
    }
}
