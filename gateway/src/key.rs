//! The key of a call decides its partition. It stands in the message, or the caller repeats it in a header to spare the
//! gateway the look.
//!
//! A method that makes keys gets a UUIDv7 when it has none. With a `request_id` the made key lies in the partition of the
//! `request_id`: the repeated call gets another key, but reaches the same task, whose memory of request ids answers with
//! the first one. See docs/adr/0007.

use http::{HeaderMap, HeaderValue};
use service_host::{Problem, headers};
use uuid::Uuid;

use crate::Owners;
use crate::scan::{Malformed, find};
use crate::table::{FieldPath, Method};

/// Draws for each partition before the search for a fitting key is given up: by then it has failed with a chance of e^-64.
const DRAWS_PER_PARTITION: u32 = 64;

/// Where a call goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) partition: u32,
    /// The key that its owner uses when the message has none.
    pub(crate) generated: Option<HeaderValue>,
}

/// Where the key stands in this message: at its path, or at the other one when nothing stands there.
pub(crate) fn key_path<'a>(path: &'a FieldPath, alternative: Option<&'a FieldPath>, message: &[u8]) -> &'a FieldPath {
    let is_empty = |path: &FieldPath| matches!(find(message, &path.numbers), Ok(None | Some(b"")));
    alternative.filter(|_| is_empty(path)).unwrap_or(path)
}

/// Finds the partition of a call.
///
/// A key that is missing goes on with the empty key: its owner refuses it together with everything else that is wrong
/// with the request.
///
/// # Errors
/// INVALID_FIELD when the key cannot be read, or the header says another one.
pub(crate) fn route(
    method: &Method,
    (path, generate): (&FieldPath, bool),
    sent: &HeaderMap,
    message: &[u8],
    owners: &dyn Owners,
) -> Result<Route, Problem> {
    let in_message = text(find(message, &path.numbers), &path.text)?;
    let in_header = match sent.get(headers::KEY) {
        Some(value) => value.to_str().map_err(|_| Problem::invalid_field(headers::KEY, "must be ASCII text"))?,
        None => "",
    };
    let key = match (in_message, in_header) {
        (message, header) if !message.is_empty() && !header.is_empty() && message != header => {
            return Err(Problem::invalid_field(headers::KEY, format!("differs from {} in the message", path.text)));
        }
        ("", header) => header,
        (message, _) => message,
    };
    if !generate || !in_message.is_empty() {
        return Ok(Route { partition: owners.partition_of(key.as_bytes()), generated: None });
    }
    if !key.is_empty() {
        let generated = sent.get(headers::KEY).cloned();
        return Ok(Route { partition: owners.partition_of(key.as_bytes()), generated });
    }
    let request_id = match method.request_id {
        Some(number) => find(message, &[number]).unwrap_or_default().filter(|id| !id.is_empty()),
        None => None,
    };
    Ok(generate_key(request_id, owners))
}

fn text<'a>(found: Result<Option<&'a [u8]>, Malformed>, path: &str) -> Result<&'a str, Problem> {
    let found = found.map_err(|error| Problem::invalid_field(path, format!("cannot be read: {error}")))?;
    std::str::from_utf8(found.unwrap_or_default()).map_err(|_| Problem::invalid_field(path, "must be UTF-8 text"))
}

fn generate_key(request_id: Option<&[u8]>, owners: &dyn Owners) -> Route {
    let wanted = request_id.map(|request_id| owners.partition_of(request_id));
    let mut draws = owners.partitions().saturating_mul(DRAWS_PER_PARTITION);
    loop {
        let mut buffer = Uuid::encode_buffer();
        let key: &str = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        let partition = owners.partition_of(key.as_bytes());
        if wanted.is_none_or(|wanted| wanted == partition) || draws == 0 {
            let generated = HeaderValue::from_str(key).expect("a UUID is a header value");
            return Route { partition, generated: Some(generated) };
        }
        draws -= 1;
    }
}

#[cfg(test)]
mod tests;
