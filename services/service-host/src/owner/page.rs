//! Lists, a page at a time: each page is one consistent read of one partition, and bounded in what it looks at.
//!
//! The gateway asks each partition on its own and names it in the header `x-ordermesh-partition`. The page token that an
//! owner gives goes on in the same partition; one without a cursor starts at its beginning.

use bytes::Bytes;
use prost::Message;
use task_runtime::{StoreId, View};
use tonic::metadata::MetadataMap;

use crate::{FieldFaults, PageToken, Problem, headers, token, validate};

/// Rows that are fetched at once when a filter skips many.
const SCAN_CHUNK_ROWS: usize = 256;

/// Which page of which partition is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The partition.
    pub partition: u32,
    /// Most items.
    pub size: usize,
    /// The key that the page begins behind; none for the first.
    pub after: Option<Vec<u8>>,
    fingerprint: u64,
}

/// The items of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items in key order.
    pub items: Vec<T>,
    /// The key that the next page begins behind; none after the last page.
    pub next: Option<Bytes>,
}

impl Page {
    /// The page that a list request asks for. Other faults of the request come in with `faults` and are told with these.
    ///
    /// # Errors
    /// INVALID_FIELD: no partition is named, the size is negative, the token is not of this request.
    pub fn of(
        metadata: &MetadataMap,
        request: &impl Message,
        page_size: i32,
        page_token: &str,
        mut faults: FieldFaults,
    ) -> Result<Self, Problem> {
        let size = validate::page_size(&mut faults, page_size);
        let fingerprint = token::fingerprint(request);
        let token = faults.note(PageToken::decode(page_token, fingerprint)).flatten();
        let partition = metadata.get(headers::PARTITION).and_then(|value| value.to_str().ok()?.parse().ok());
        if let (Some(token), Some(partition)) = (&token, partition)
            && token.partition != partition
        {
            faults.add("page_token", "belongs to another partition");
        }
        faults.finish()?;
        let Some(partition) = partition else {
            return Err(Problem::malformed_request("an owner lists one partition: ask the gateway for all of them"));
        };
        let after = token.map(|token| token.cursor).filter(|cursor| !cursor.is_empty());
        Ok(Self { partition, size, after, fingerprint })
    }

    /// Fills the page with rows of a store whose keys begin with `prefix`, as far as `item` makes something of them. It looks
    /// at `rows_max` rows at most: with a filter that skips many, a page may be short, or empty, and still not the last.
    ///
    /// # Errors
    /// What `item` finds, or PARTITION_REBALANCING when the store is damaged.
    pub fn fill<T>(
        &self,
        view: &View<'_>,
        store: StoreId,
        prefix: &[u8],
        rows_max: usize,
        mut item: impl FnMut(&[u8], Bytes) -> Result<Option<T>, Problem>,
    ) -> Result<Listed<T>, Problem> {
        let mut items = Vec::new();
        let mut after: Option<Bytes> = self.after.as_deref().map(Bytes::copy_from_slice);
        let mut rows_left = rows_max.max(1);
        let mut chunk = self.size;
        while items.len() < self.size && rows_left > 0 {
            let limit = chunk.min(rows_left);
            // One row more tells whether this is the end.
            let rows = view
                .scan(store, prefix, after.as_deref(), limit + 1)
                .map_err(|error| super::refusals::damaged(store, &error))?;
            let (fetched, mut looked_at) = (rows.len().min(limit), 0);
            let is_last_chunk = rows.len() <= limit;
            for (key, value) in rows.into_iter().take(limit) {
                looked_at += 1;
                items.extend(item(&key, value)?);
                after = Some(key);
                if items.len() == self.size {
                    break;
                }
            }
            if is_last_chunk && looked_at == fetched {
                return Ok(Listed { items, next: None });
            }
            rows_left -= looked_at;
            chunk = SCAN_CHUNK_ROWS;
        }
        Ok(Listed { items, next: after })
    }

    /// The token of the next page; empty after the last one.
    pub(super) fn next_token(&self, next: Option<Bytes>) -> String {
        match next {
            Some(cursor) => {
                PageToken { partition: self.partition, cursor: cursor.into(), fingerprint: self.fingerprint }.encode()
            }
            None => String::new(),
        }
    }
}
