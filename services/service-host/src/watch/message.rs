//! Messages of watches, put together from encoded parts: all watch responses have the same fields under the same numbers.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::mesh::v1::ServedBy;

const ROWS: u32 = 1;
const CHANGES: u32 = 2;
const RESUME_TOKEN: u32 = 3;
const SNAPSHOT_COMPLETE: u32 = 4;
const SERVED_BY: u32 = 15;

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) rows: Vec<Bytes>,
    pub(super) changes: Vec<&'a Bytes>,
    pub(super) resume_token: String,
    pub(super) snapshot_complete: bool,
    pub(super) served_by: Option<ServedBy>,
}

impl Parts<'_> {
    /// The encoded message.
    pub(super) fn encode(self) -> Bytes {
        let content: usize = self.rows.iter().chain(self.changes.iter().copied()).map(|part| part.len() + 8).sum();
        let mut bytes = BytesMut::with_capacity(content + self.resume_token.len() + 96);
        self.rows.iter().for_each(|row| put(&mut bytes, ROWS, row));
        self.changes.iter().for_each(|change| put(&mut bytes, CHANGES, change));
        put(&mut bytes, RESUME_TOKEN, self.resume_token.as_bytes());
        if self.snapshot_complete {
            encode_key(SNAPSHOT_COMPLETE, WireType::Varint, &mut bytes);
            encode_varint(1, &mut bytes);
        }
        if let Some(served_by) = self.served_by {
            put(&mut bytes, SERVED_BY, &served_by.encode_to_vec());
        }
        bytes.freeze()
    }
}

fn put(bytes: &mut BytesMut, field: u32, content: &[u8]) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.put_slice(content);
}
