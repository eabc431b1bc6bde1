//! The one message of a request: read whole into memory, within limits, so that its key can be found and so that it can
//! be sent again.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use service_host::status::explain;
use service_host::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tonic::Status;
use tonic::body::Body;

/// Flag and length in front of each message.
const PREFIX: usize = 5;
/// What a message counts at least, so that many small ones are counted too.
const UNIT: usize = 1024;

/// Memory for requests, in units of 1 KiB.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, units: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.0.clone().try_acquire_many_owned(units).map_err(|error| match error {
            TryAcquireError::NoPermits => Problem::overloaded("the gateway"),
            TryAcquireError::Closed => Problem::shutting_down(),
        })
    }

    /// Takes what `held` lacks of so many bytes.
    fn extend(&self, held: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Problem> {
        let lacking = bytes.div_ceil(UNIT).saturating_sub(held.num_permits());
        if lacking > 0 {
            held.merge(self.take(lacking)?);
        }
        Ok(())
    }
}

/// A request message with its prefix; its memory is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Message {
    frame: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl Message {
    /// Reads the body of a unary request.
    ///
    /// # Errors
    /// What the caller did wrong; OVERLOADED when there is no memory left for it.
    pub(crate) async fn read(
        headers: &HeaderMap,
        mut body: Body,
        memory: &Memory,
        bytes_max: usize,
    ) -> Result<Self, Problem> {
        let encoding = headers.get("grpc-encoding").map_or(b"identity".as_slice(), HeaderValue::as_bytes);
        if encoding != b"identity" {
            let encoding = String::from_utf8_lossy(encoding);
            let message = format!("messages cannot be compressed with {encoding}");
            return Err(Problem::new(Code::Unimplemented, UNSUPPORTED_COMPRESSION, message));
        }
        let mut frame = Gathered::Nothing;
        let mut held = memory.take(0)?;
        let mut whole = None;
        while let Some(part) = body.frame().await {
            let part = part.map_err(|_| Problem::new(Code::Cancelled, "CANCELLED", "the request was cut off"))?;
            let Ok(data) = part.into_data() else { continue };
            frame.push(data);
            if whole.is_none() && frame.len() >= PREFIX {
                whole = Some(PREFIX + length(frame.bytes(), bytes_max)?);
            }
            if whole.is_some_and(|whole| frame.len() > whole) {
                return Err(Problem::malformed_request("the request has more than one message"));
            }
            // For what is there, not for what is announced: that costs its sender nothing.
            memory.extend(&mut held, frame.len())?;
            if body.is_end_stream() {
                break;
            }
        }
        match whole {
            Some(whole) if frame.len() == whole => Ok(Self { frame: frame.freeze(), _memory: held }),
            None if frame.len() == 0 => Err(Problem::malformed_request("the request has no message")),
            _ => Err(Problem::malformed_request("the request ends within its message")),
        }
    }

    /// The encoded message.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.frame[PREFIX..]
    }

    /// The message with its prefix.
    pub(crate) fn frame(&self) -> Bytes {
        self.frame.clone()
    }
}

/// Reason of the refusal of compressed messages; such an answer also says what would be accepted.
pub(crate) const UNSUPPORTED_COMPRESSION: &str = "UNSUPPORTED_COMPRESSION";

/// Puts the prefix before a message.
pub(crate) fn frame(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + payload.len());
    frame.extend_from_slice(&[0]);
    // Pages and requests are bounded far below 4 GiB.
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// A body of these bytes: a message with its prefix.
pub(crate) fn framed(frame: Bytes) -> Body {
    Body::new(Full::new(frame))
}

/// The message of a unary answer; `None` when it has more bytes than `bytes_max`.
///
/// # Errors
/// What the owner refused; INTERNAL when its answer is no message.
pub(crate) async fn read_answer(response: Response<Body>, bytes_max: usize) -> Result<Option<Bytes>, Problem> {
    let (head, mut body) = response.into_parts();
    refusal(&head.headers)?;
    let mut frame = Gathered::Nothing;
    while let Some(part) = body.frame().await {
        let part = part.map_err(|status| Problem::from(&status))?;
        match part.into_data() {
            Ok(data) => frame.push(data),
            Err(part) => refusal(&part.into_trailers().unwrap_or_default())?,
        }
        if frame.len() > bytes_max {
            return Ok(None);
        }
    }
    let mut answer = frame.freeze();
    if answer.len() < PREFIX || !length(&answer, answer.len()).is_ok_and(|length| PREFIX + length == answer.len()) {
        tracing::error!(bytes = answer.len(), "the answer of an owner is no message");
        return Err(Problem::internal());
    }
    answer.advance(PREFIX);
    Ok(Some(answer))
}

/// What the status in headers or trailers refuses. One that tonic made by itself in front of an owner is put into words
/// of ours, as the server does it for answers that pass through.
pub(crate) fn refusal(headers: &HeaderMap) -> Result<(), Problem> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => {
            Err(explain(&status).unwrap_or_else(|| Problem::from(&status)))
        }
        _ => Ok(()),
    }
}

fn length(frame: &[u8], bytes_max: usize) -> Result<usize, Problem> {
    match frame[0] {
        0 => {}
        // The caller says that it is compressed, but not how.
        1 => {
            return Err(Problem::new(
                Code::Internal,
                UNSUPPORTED_COMPRESSION,
                "the message is compressed without grpc-encoding",
            ));
        }
        _ => return Err(Problem::malformed_request("the request does not begin with a message")),
    }
    let length = u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize;
    if length > bytes_max { Err(Problem::message_too_large(Some(bytes_max))) } else { Ok(length) }
}

/// Pieces of a body. One piece, as nearly every request is, is not copied.
enum Gathered {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn push(&mut self, data: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) if first.is_empty() => *self = Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity((first.len() + data.len()).next_power_of_two());
                all.extend_from_slice(first);
                all.extend_from_slice(&data);
                *self = Self::Many(all);
            }
            Self::Many(all) => all.extend_from_slice(&data),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests;
