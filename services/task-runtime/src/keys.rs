//! Layout of a task's store: one ordered key space, first byte by kind.
//!
//! ```text
//! 00 <kind> <name, postcard>      progress: positions, watermarks, output sequences (progress.rs)
//! 01 <name len u8> <name> <key>   timer -> due, and when it was set (i64 big endian each)
//! 02 <request id>                 remembered answer
//! 03 <expiry i64 be> <request id> when it is forgotten
//! 80 + store id <key>             the service's own state
//! ```

use crate::StoreId;

pub(crate) const PROGRESS: u8 = 0x00;
pub(crate) const TIMER: u8 = 0x01;
pub(crate) const REQUEST: u8 = 0x02;
pub(crate) const REQUEST_EXPIRY: u8 = 0x03;
const STATE: u8 = 0x80;

/// Key of a service's own state.
pub(crate) fn state_key(store: StoreId, key: &[u8]) -> Vec<u8> {
    prefixed(STATE | store.id, key)
}

/// Key of a remembered answer.
pub(crate) fn request_key(request_id: &str) -> Vec<u8> {
    prefixed(REQUEST, request_id.as_bytes())
}

/// Key of the expiry of a remembered answer; ordered by time.
pub(crate) fn request_expiry_key(expires_ms: i64, request_id: &str) -> Vec<u8> {
    let mut full = Vec::with_capacity(9 + request_id.len());
    full.push(REQUEST_EXPIRY);
    full.extend_from_slice(&ordered(expires_ms));
    full.extend_from_slice(request_id.as_bytes());
    full
}

/// The time and the request id of an expiry key.
pub(crate) fn parse_request_expiry(full: &[u8]) -> Option<(i64, &str)> {
    let (time, id) = full.strip_prefix(&[REQUEST_EXPIRY])?.split_first_chunk::<8>()?;
    Some((from_ordered(*time), std::str::from_utf8(id).ok()?))
}

/// Key of a timer.
pub(crate) fn timer_key(name: &str, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(2 + name.len() + key.len());
    full.push(TIMER);
    full.push(u8::try_from(name.len()).expect("timer names are short constants"));
    full.extend_from_slice(name.as_bytes());
    full.extend_from_slice(key);
    full
}

/// The name and the key of a timer key.
pub(crate) fn parse_timer(full: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = full.strip_prefix(&[TIMER])?.split_first()?;
    let (name, key) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, key))
}

/// Value of a timer: when it is due, and when it was set, both by the clock of the owner who set it.
pub(crate) fn timer_row(due_ms: i64, set_ms: i64) -> [u8; 16] {
    let mut row = [0; 16];
    row[..8].copy_from_slice(&ordered(due_ms));
    row[8..].copy_from_slice(&ordered(set_ms));
    row
}

/// When the timer of this row is due, and when it was set. Rows of earlier versions do not say the second, which then is long ago.
pub(crate) fn parse_timer_row(row: &[u8]) -> Option<(i64, i64)> {
    let (due, set) = row.split_first_chunk::<8>()?;
    Some((from_ordered(*due), parse_ordered(set).unwrap_or(i64::MIN)))
}

/// The first key behind all keys with this prefix; none if there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Big-endian bytes whose order is the order of the numbers, below zero too.
pub(crate) fn ordered(time_ms: i64) -> [u8; 8] {
    (time_ms.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The number whose ordered bytes these are.
pub(crate) fn parse_ordered(bytes: &[u8]) -> Option<i64> {
    Some(from_ordered(bytes.try_into().ok()?))
}

fn from_ordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn prefixed(kind: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(kind);
    full.extend_from_slice(key);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_keys_sort_by_time_also_below_zero() {
        let times = [i64::MIN, -5, 0, 3, 1_700_000_000_000, i64::MAX];
        let keys: Vec<_> = times.iter().map(|t| request_expiry_key(*t, "id")).collect();
        assert!(keys.is_sorted());
        for (time, key) in times.iter().zip(&keys) {
            assert_eq!(parse_request_expiry(key), Some((*time, "id")));
        }
    }

    #[test]
    fn a_timer_row_gives_back_its_times_and_one_of_an_earlier_version_the_first() {
        assert_eq!(parse_timer_row(&timer_row(70, -20)), Some((70, -20)));
        assert_eq!(parse_timer_row(&ordered(70)), Some((70, i64::MIN)));
        assert_eq!(parse_timer_row(b"short"), None);
    }

    #[test]
    fn a_timer_key_gives_back_its_parts() {
        assert_eq!(parse_timer(&timer_key("validation-timeout", b"o-1")), Some(("validation-timeout", &b"o-1"[..])));
        assert_eq!(parse_timer(&[TIMER, 200, 1]), None);
    }

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_have_it() {
        assert_eq!(prefix_end(&[1, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
    }
}
