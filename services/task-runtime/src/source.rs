//! Who sent a record, and as the how-manieth: the header by which a receiver takes each output exactly once.

use bytes::Bytes;
use event_log::Record;

/// Name of the header: `<task>;<incarnation as 32 hex digits>;<sequence>`.
pub const SOURCE_HEADER: &str = "ordermesh-source";

/// The sender of a record and the record's number among all that it sent to this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// The sending task, as in `orders/3`.
    pub task: &'a str,
    /// The life of the sender's changelog.
    pub incarnation: u128,
    /// Number, from 1 without gaps.
    pub sequence: u64,
}

impl<'a> Source<'a> {
    /// The source of a record; none for records from outside the mesh, or with a header that is not one of ours.
    #[must_use]
    pub fn of(record: &'a Record) -> Option<Self> {
        Self::parse(record.header(SOURCE_HEADER)?)
    }

    /// Reads the header's value.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (rest, sequence) = text.rsplit_once(';')?;
        let (task, incarnation) = rest.rsplit_once(';')?;
        let incarnation = u128::from_str_radix(incarnation, 16).ok()?;
        Some(Self { task, incarnation, sequence: sequence.parse().ok()? })
    }

    /// The header's value.
    #[must_use]
    pub fn to_value(self) -> Bytes {
        Self::value(&Self::prefix(self.task, self.incarnation), self.sequence)
    }

    /// What the values of one sender's life have in common.
    pub(crate) fn prefix(task: &str, incarnation: u128) -> String {
        format!("{task};{incarnation:032x};")
    }

    pub(crate) fn value(prefix: &str, sequence: u64) -> Bytes {
        use std::io::Write;
        let mut value = Vec::with_capacity(prefix.len() + 20);
        value.extend_from_slice(prefix.as_bytes());
        write!(value, "{sequence}").expect("a vector takes every write");
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_header() {
        let source = Source { task: "orders/3", incarnation: 0xfeed_0000_0001, sequence: 42 };
        let value = source.to_value();
        assert_eq!(Source::parse(&value), Some(source));
    }

    #[test]
    fn what_is_not_a_source_is_none() {
        for value in [&b""[..], b"orders/3", b"a;b", b"a;zz;1", b"a;ff;-1", b"\xff;1;1"] {
            assert_eq!(Source::parse(value), None, "{value:?}");
        }
    }
}
