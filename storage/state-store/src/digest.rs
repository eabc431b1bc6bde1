//! The digest of a store's content: the wrapping sum of one hash per row. A sum does not depend on order, takes rows out as
//! easily as in, and, unlike XOR, does not cancel two equal terms.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

/// Hash of one row: the digest of a store is the wrapping sum of the hashes of its rows. The hash of the value is seeded by the one of the key, so that bytes cannot move between them.
#[must_use]
pub fn row(key: &[u8], value: &[u8]) -> u128 {
    let of_key = xxh3_128(key);
    let seed = (of_key as u64) ^ ((of_key >> 64) as u64);
    of_key.wrapping_mul(ODD).wrapping_add(xxh3_128_with_seed(value, seed))
}

/// Any odd multiplier keeps the key's hash a bijection; this one is the golden ratio's fraction.
const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
