//! A scan over the layers and the tables at once: of the changes of one key the newest counts.

use bytes::Bytes;

use crate::Error;
use crate::store::Pair;

/// Up to `limit` rows of sources that are all sorted in the same direction. `newer` and `newest` are the layers in memory
/// (`None` deletes a row of what is older); `before` tells which of two keys comes first.
pub(crate) fn merge<'a>(
    newest: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    newer: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    tables: impl Iterator<Item = Result<Pair, Error>>,
    limit: usize,
    before: fn(&[u8], &[u8]) -> bool,
) -> Result<Vec<Pair>, Error> {
    let (mut newest, mut newer, mut tables) = (newest.peekable(), newer.peekable(), tables.peekable());
    let mut rows = Vec::new();
    while rows.len() < limit {
        let table_key = match tables.peek() {
            Some(Ok((key, _))) => Some(key),
            Some(Err(_)) => return tables.next().transpose().map(|_| rows),
            None => None,
        };
        let keys = [newest.peek().map(|(key, _)| *key), newer.peek().map(|(key, _)| *key), table_key];
        let first = keys.into_iter().flatten().reduce(|first, key| if before(key, first) { key } else { first });
        let Some(first) = first.cloned() else { break };
        // All three step over the key; the newest that has it decides.
        let change = newest.next_if(|(key, _)| **key == first);
        let change = newer.next_if(|(key, _)| **key == first).filter(|_| change.is_none()).or(change);
        let row = tables.next_if(|row| row.as_ref().is_ok_and(|(key, _)| *key == first)).transpose()?;
        match (change, row) {
            (Some((_, value)), _) => rows.extend(value.clone().map(|value| (first, value))),
            (None, row) => rows.extend(row),
        }
    }
    Ok(rows)
}
