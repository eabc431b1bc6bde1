//! What the values of a topic are: the header by which every record says so, and the frame by which readers that know a
//! schema registry find the schema there. The runtime carries both and understands neither: messages are names to it.
//!
//! A value that is framed begins with a zero byte, which no message begins with: there is no field with the number 0. So
//! framed and bare values may stand in one topic, and every reader here takes both.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use event_log::{Header, Record, TopicName};

use crate::{Definition, Input, ProcessError};

/// Name of the header: `<message>;<fingerprint of its schema as 16 hex digits>`.
pub const SCHEMA_HEADER: &str = "ordermesh-schema";

/// The schema of a topic's values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema {
    message: Arc<str>,
    header: Bytes,
    frame: Frame,
}

/// What stands before each value once a registry has said under which number it knows the schema. Clones are the same frame.
#[derive(Debug, Clone, Default)]
pub struct Frame(Arc<OnceLock<Bytes>>);

impl Frame {
    /// Puts these bytes before every value from now on. They begin with a zero byte, and are set once.
    pub fn set(&self, bytes: impl Into<Bytes>) {
        // A second registration says the same.
        let _ = self.0.set(bytes.into());
    }

    /// The bytes, once they are known.
    #[must_use]
    pub fn get(&self) -> Option<&Bytes> {
        self.0.get()
    }
}

impl Schema {
    /// The schema of a message, with what tells this version of it from others.
    #[must_use]
    pub fn new(message: &str, fingerprint: u64) -> Self {
        let header = Bytes::from(format!("{message};{fingerprint:016x}"));
        Self { message: message.into(), header, frame: Frame::default() }
    }

    /// Full name of the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Value of the header.
    #[must_use]
    pub fn header(&self) -> &Bytes {
        &self.header
    }

    /// The frame of its values.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// A record with this schema, as it goes into the log.
    pub(crate) fn label(&self, record: &mut Record) {
        record.headers.push(Header::new(SCHEMA_HEADER, self.header.clone()));
        if let (Some(frame), Some(value)) = (self.frame.get(), &record.value) {
            record.value = Some([frame.as_ref(), value].concat().into());
        }
    }

    /// Refuses a record that says that it is something else. One that says nothing comes from outside of the mesh.
    fn check(&self, record: &Record) -> Result<(), ProcessError> {
        let Some(header) = record.header(SCHEMA_HEADER) else { return Ok(()) };
        // Another version of the message may have fields that this one does not know, and can be read.
        if *header == self.header || message_of(header) == self.message.as_bytes() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(message_of(header)).into_owned();
        Err(ProcessError::poison(format!("the record says that it is a {message}, and not a {}", self.message)))
    }
}

/// The message that a header names.
fn message_of(header: &[u8]) -> &[u8] {
    header.split(|byte| *byte == b';').next().unwrap_or_default()
}

/// The record with its value alone.
pub(crate) fn bare(record: &Record) -> Cow<'_, Record> {
    match record.value.as_ref().and_then(|value| Some(value.slice(frame_length(value)?..))) {
        Some(value) => Cow::Owned(Record { value: Some(value), ..record.clone() }),
        None => Cow::Borrowed(record),
    }
}

/// Bytes of the frame: zero, four bytes of the schema's number, and the place of the message in its file as a list of numbers
/// behind their count, for which a single zero may stand. `None` if there is no frame.
fn frame_length(value: &[u8]) -> Option<usize> {
    let mut rest = value.strip_prefix(&[0])?.get(4..)?;
    let count = signed(&mut rest)?;
    for _ in 0..count.max(0) {
        signed(&mut rest)?;
    }
    Some(value.len() - rest.len())
}

/// A number as protobuf's `sint32` has it.
fn signed(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..35).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let half = i64::try_from(number >> 1).ok()?;
            return Some(if number & 1 == 0 { half } else { -half - 1 });
        }
    }
    None
}

impl Definition {
    /// Labels what it writes, and checks what it reads, as `of` knows the topics. To be called before
    /// [`replayable`](Self::replayable), so that a record that comes back is checked as it was the first time.
    #[must_use]
    pub fn with_schemas(mut self, of: impl Fn(&TopicName) -> Option<Schema>) -> Self {
        let outputs = self.outputs.iter().filter_map(|topic| Some((topic.clone(), of(topic)?)));
        self.schemas = Arc::new(outputs.collect());
        for (topic, handler) in &mut self.inputs {
            let Some(schema) = of(topic) else { continue };
            let inner = handler.clone();
            *handler = Arc::new(move |ctx, input: &Input<'_>| {
                schema.check(input.record)?;
                inner(ctx, &Input { topic: input.topic, offset: input.offset, record: &bare(input.record) })
            });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &[u8]) -> Record {
        Record { value: Some(Bytes::copy_from_slice(value)), ..Record::default() }
    }

    #[test]
    fn a_frame_goes_around_a_value_and_off_again() {
        let schema = Schema::new("shop.Sold", 0xab);
        let mut bare_one = record(b"\x08\x01");
        schema.label(&mut bare_one);
        assert_eq!(bare_one.header(SCHEMA_HEADER).unwrap(), "shop.Sold;00000000000000ab");
        assert_eq!(bare_one.value.as_deref().unwrap(), b"\x08\x01");
        for place in [&b"\0"[..], b"\x04\x02\x03", b"\x02\x80\x01"] {
            let schema = Schema::new("shop.Sold", 0xab);
            schema.frame().set([&b"\0\0\0\0\x07"[..], place].concat());
            let mut framed = record(b"\x08\x01");
            schema.label(&mut framed);
            assert_eq!(framed.value.as_ref().unwrap().len(), 7 + place.len());
            assert_eq!(bare(&framed).value.as_deref().unwrap(), b"\x08\x01", "{place:?}");
        }
    }

    #[test]
    fn what_has_no_frame_stays_as_it_is() {
        for value in [
            &b""[..],
            b"\x08\x01",
            b"\0",
            b"\0\0\0\0\x07",
            b"\0\0\0\0\x07\x04\x02",
            b"\0\0\0\0\x07\xff\xff\xff\xff\xff\xff",
        ] {
            let record = record(value);
            assert_eq!(bare(&record).value.as_deref().unwrap(), value);
        }
        let empty = record(b"\0\0\0\0\x07\0");
        assert_eq!(bare(&empty).value.as_deref().unwrap(), b"", "an empty message");
    }

    #[test]
    fn another_version_of_a_message_is_read_and_another_message_is_not() {
        let schema = Schema::new("shop.Sold", 0xab);
        let says = |header: &'static str| {
            let mut record = record(b"");
            record.headers.push(Header::new(SCHEMA_HEADER, header));
            schema.check(&record).map_err(|error| error.to_string())
        };
        assert_eq!(schema.check(&record(b"")).map_err(|error| error.to_string()), Ok(()));
        assert_eq!(says("shop.Sold;00000000000000ab"), Ok(()));
        assert_eq!(says("shop.Sold;00000000000000cd"), Ok(()));
        assert_eq!(says("shop.Sold"), Ok(()));
        for other in ["shop.SoldOut;00000000000000ab", "shop.Bought;1", ""] {
            assert!(says(other).unwrap_err().contains("shop.Sold"), "{other}");
        }
    }
}
