//! The stores of a task of dead letters: layout of the keys, and what stands under them.
//!
//! ```text
//! letters   <service> 00 <offset u64 be>                              -> DeadLetterRow (proto); removed some time after its replay
//! waiting   <service> 00 <topic> 00 <beginning of the key> <offset u64 be> -> empty; one for each letter with a key that waits
//! ```
//! The offset is the letter's own, in the dead-letter topic of its service. Names have no zero bytes.

use task_runtime::StoreId;

use crate::domain::LetterId;

/// Dead letters.
pub(crate) const LETTERS: StoreId = StoreId::new(1, "letters");
/// Letters that wait, by what they must keep the order with.
pub(crate) const WAITING: StoreId = StoreId::new(2, "waiting-letters");

/// All of them.
pub(crate) const ALL: [StoreId; 2] = [LETTERS, WAITING];

/// So much of a record's key goes into a key of ours. Keys that differ only behind it keep each other's order, which harms
/// nobody.
const KEY_BYTES_MAX: usize = 256;

/// The key of a letter.
pub(crate) fn letter_key(id: &LetterId) -> Vec<u8> {
    [id.service.as_bytes(), &[0], &id.offset.to_be_bytes()].concat()
}

/// What the waiting letters of one service, topic and key have in common.
pub(crate) fn waiting_prefix(service: &str, topic: &str, key: &[u8]) -> Vec<u8> {
    let key = &key[..key.len().min(KEY_BYTES_MAX)];
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes();
    [service.as_bytes(), &[0], topic.as_bytes(), &[0], &length, key].concat()
}

/// The key of a waiting letter.
pub(crate) fn waiting_key(service: &str, topic: &str, key: &[u8], offset: u64) -> Vec<u8> {
    [&waiting_prefix(service, topic, key)[..], &offset.to_be_bytes()].concat()
}

/// The offset in the key of a waiting letter.
pub(crate) fn waiting_offset(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|offset| u64::from_be_bytes(*offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_one_key_lie_together_in_the_order_in_which_they_came() {
        let of = |key: &[u8], offset| waiting_key("orders", "shipments", key, offset);
        assert!(of(b"o-1", 2) < of(b"o-1", 300));
        assert!(of(b"o-1", 2).starts_with(&waiting_prefix("orders", "shipments", b"o-1")));
        assert!(!of(b"o-10", 2).starts_with(&waiting_prefix("orders", "shipments", b"o-1")));
        assert_eq!(waiting_offset(&of(&[0; 10_000], 77)), Some(77));
    }
}
