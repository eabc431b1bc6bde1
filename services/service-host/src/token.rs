//! Tokens that clients carry for us: opaque text, which they can neither read usefully nor make.
//!
//! Layout before base64url: kind (1 byte, also the version), postcard fields, xxh3-64 of all before (8 bytes, big endian).
//! The checksum catches damage and mixed-up tokens. It is no signature: what a token says grants nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{Code, FieldFaults, Problem};

/// First byte of a consistency token.
const CONSISTENCY: u8 = 0x11;
/// First byte of a page token.
const PAGE: u8 = 0x21;
/// First byte of a resume token of one partition, and of one of all partitions.
const RESUME: u8 = 0x31;
const RESUME_ALL: u8 = 0x32;
/// Longest token of all partitions that is looked at, in characters: some hundred for each of the most partitions that a
/// mesh can have.
const RESUME_ALL_CHARS_MAX: usize = 512 << 10;
/// Longest token that is looked at, in characters. Ours are far shorter.
const TOKEN_CHARS_MAX: usize = 2048;
/// Bytes of the checksum.
const CHECKSUM_LEN: usize = 8;
/// Field numbers that every list request has for the paging itself (page_size, page_token, require_complete, consistency).
/// A token stays valid when they change.
const PAGING_FIELDS: std::ops::RangeInclusive<u32> = 10..=13;

/// A point in the history of one partition: state from it on contains the write that the token came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyToken {
    /// The role whose partition it is, such as "orders".
    pub role: String,
    /// The partition.
    pub partition: u32,
    /// The life of the partition's changelog.
    pub incarnation: u128,
    /// Next changelog offset.
    pub offset: u64,
}

/// Where the next page of a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageToken {
    /// The partition to go on with.
    pub partition: u32,
    /// Where in it; what that means is the service's affair.
    pub cursor: Vec<u8>,
    /// Of the request's other fields: see [`fingerprint`].
    pub fingerprint: u64,
}

/// Where a watch of one partition goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken {
    /// Of the request's other fields: see [`fingerprint`].
    pub fingerprint: u64,
    /// The partition.
    pub partition: u32,
    /// The life of the partition that its numbers belong to: see [`ResumeToken::life_of`].
    pub life: u32,
    /// Number of the last record that has been told.
    pub sequence: u64,
    /// Offset of the topic to read on from.
    pub offset: u64,
    /// Within a snapshot: the key up to which it has been told.
    pub snapshot_after: Option<Vec<u8>>,
}

/// Where a watch of all partitions goes on: the raw token of each partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeTokens {
    /// Of the request's other fields: see [`fingerprint`].
    pub fingerprint: u64,
    /// By partition.
    pub tokens: Vec<Vec<u8>>,
}

impl ResumeToken {
    /// What a token keeps of the life of a changelog: enough to see that it is another one.
    #[expect(clippy::cast_possible_truncation, reason = "a part of a random number is one too")]
    pub fn life_of(incarnation: u128) -> u32 {
        incarnation as u32
    }

    /// The token as text.
    pub fn encode(&self) -> String {
        encode(RESUME, self)
    }

    /// The fingerprint of a request to this partition, and its `resume_token`; `None` to begin now, or if it is no good, which is noted.
    pub fn of(
        faults: &mut FieldFaults,
        request: &impl Message,
        resume_token: &str,
        partition: u32,
    ) -> (u64, Option<Self>) {
        let fingerprint = fingerprint(request);
        (fingerprint, faults.note(Self::decode(resume_token, partition, fingerprint)).flatten())
    }

    /// Reads the `resume_token` of a request to this partition whose other fields have this fingerprint; `None` to begin now.
    ///
    /// # Errors
    /// INVALID_FIELD when it is damaged, no resume token of ours, or of another request.
    pub fn decode(token: &str, partition: u32, fingerprint: u64) -> Result<Option<Self>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let decoded: Self = decode(RESUME, token).ok_or_else(no_resume_token)?;
        if decoded.fingerprint != fingerprint || decoded.partition != partition {
            return Err(Problem::invalid_field("resume_token", "belongs to a request with other fields"));
        }
        Ok(Some(decoded))
    }
}

impl ResumeTokens {
    /// The token as text.
    pub fn encode(&self) -> String {
        encode(RESUME_ALL, self)
    }

    /// Reads the `resume_token` of a request to all partitions; `None` to begin now.
    ///
    /// # Errors
    /// INVALID_FIELD when it is damaged, no resume token of ours, of another request or another number of partitions.
    pub fn decode(token: &str, partitions: u32, fingerprint: u64) -> Result<Option<Self>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let decoded = decode_within(RESUME_ALL, token, RESUME_ALL_CHARS_MAX);
        let decoded: Self = decoded.ok_or_else(no_resume_token)?;
        if decoded.fingerprint != fingerprint || decoded.tokens.len() != partitions as usize {
            return Err(Problem::invalid_field("resume_token", "belongs to a request with other fields"));
        }
        Ok(Some(decoded))
    }
}

/// The bytes of a token, to be kept within another one; `None` when it is no token.
pub fn raw(token: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token).ok()
}

/// The token of these bytes.
pub fn of_raw(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl ConsistencyToken {
    /// The token as text.
    pub fn encode(&self) -> String {
        encode(CONSISTENCY, self)
    }

    /// Reads a token of a request. `field` is its path.
    ///
    /// # Errors
    /// INVALID_FIELD when it is damaged or no consistency token of ours.
    pub fn decode(field: &str, token: &str) -> Result<Self, Problem> {
        decode(CONSISTENCY, token)
            .ok_or_else(|| Problem::invalid_field(field, "is not a consistency token of this mesh"))
    }
}

impl PageToken {
    /// The token as text.
    pub fn encode(&self) -> String {
        encode(PAGE, self)
    }

    /// Reads the `page_token` of a request whose other fields have this fingerprint; `None` for the first page.
    ///
    /// # Errors
    /// INVALID_FIELD when it is damaged, no page token of ours, or of another request.
    pub fn decode(token: &str, fingerprint: u64) -> Result<Option<Self>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let decoded: Self = decode(PAGE, token)
            .ok_or_else(|| Problem::invalid_field("page_token", "is not a page token of this mesh"))?;
        if decoded.fingerprint != fingerprint {
            return Err(Problem::invalid_field("page_token", "belongs to a request with other fields"));
        }
        Ok(Some(decoded))
    }
}

/// Fingerprint of a list request without its paging fields, to bind page tokens to it.
pub fn fingerprint(request: &impl Message) -> u64 {
    fingerprint_bytes(&request.encode_to_vec()).expect("what prost wrote has well-formed tags")
}

/// The same over an encoded request, in the field order that its client chose.
///
/// # Errors
/// INVALID_FIELD when the bytes are no protobuf message.
pub fn fingerprint_bytes(request: &[u8]) -> Result<u64, Problem> {
    let malformed = || Problem::malformed_request("the request is not a protobuf message");
    let mut hash = Xxh3::new();
    let mut rest = request;
    while !rest.is_empty() {
        let field = rest;
        let (number, wire_type) = prost::encoding::decode_key(&mut rest).map_err(|_| malformed())?;
        prost::encoding::skip_field(wire_type, number, &mut rest, prost::encoding::DecodeContext::default())
            .map_err(|_| malformed())?;
        if !PAGING_FIELDS.contains(&number) {
            hash.update(&field[..field.len() - rest.len()]);
        }
    }
    Ok(hash.digest())
}

/// A token that says a position of another life of the partition: the state it speaks of is gone.
pub fn foreign_life(field: &str) -> Problem {
    let message = format!("{field} belongs to another life of this partition");
    Problem::new(Code::InvalidArgument, "INVALID_TOKEN", message)
}

fn encode(kind: u8, fields: &impl Serialize) -> String {
    let mut bytes =
        postcard::to_extend(fields, vec![kind]).expect("a token is plain data and memory is the only limit");
    let checksum = xxh3_64(&bytes).to_be_bytes();
    bytes.extend_from_slice(&checksum);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn no_resume_token() -> Problem {
    Problem::invalid_field("resume_token", "is not a resume token of this mesh")
}

fn decode<T: DeserializeOwned>(kind: u8, token: &str) -> Option<T> {
    decode_within(kind, token, TOKEN_CHARS_MAX)
}

fn decode_within<T: DeserializeOwned>(kind: u8, token: &str, chars_max: usize) -> Option<T> {
    if token.len() > chars_max {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_LEN)?)?;
    if checksum != xxh3_64(content).to_be_bytes() || *content.first()? != kind {
        return None;
    }
    match postcard::take_from_bytes(&content[1..]) {
        Ok((fields, [])) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
