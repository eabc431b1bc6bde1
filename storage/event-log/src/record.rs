//! Records as they are appended and as they are read.

use bytes::Bytes;

use crate::Offset;

/// One header of a record. Names are text and should not repeat: what is portable is the first value of each name. The
/// embedded log and the one in memory keep every header in order, Kafka's adapter has a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name of the header.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
}

impl Header {
    /// A header with a constant name.
    #[must_use]
    pub fn new(name: &'static str, value: impl Into<Bytes>) -> Self {
        Self { name: Bytes::from_static(name.as_bytes()), value: value.into() }
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Key; absent on records that belong to no key.
    pub key: Option<Bytes>,
    /// Value; absent means "this key is gone" on compacted topics.
    pub value: Option<Bytes>,
    /// Headers. Nothing should depend on their order.
    pub headers: Vec<Header>,
    /// Event time in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Record {
    /// Value of the first header with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|h| h.name == name.as_bytes()).map(|h| &h.value)
    }

    /// Bytes that the record occupies, roughly: for limits, not for layouts.
    #[must_use]
    pub fn approximate_size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| h.name.len() + h.value.len() + 4).sum();
        24 + headers + self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it stands.
    pub offset: Offset,
    /// What was appended.
    pub record: Record,
}
