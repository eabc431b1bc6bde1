//! One connection to one broker: a request, its answer, and nothing in between.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::{ResponseError, error::ParseResponseErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::Error;

/// Largest answer that is taken, in bytes: well above what a fetch asks for, and a bound on what a length can make us allocate.
const ANSWER_BYTES_MAX: usize = 192 << 20;

/// Bytes to and from a broker, encrypted or not.
pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A connection to a broker that is ready for requests: encrypted and logged in if the configuration says so.
///
/// It has no timeouts of its own. A request that was dropped or failed leaves a connection that [is of no use](Self::is_usable).
pub struct Connection {
    broker: String,
    stream: Stream,
    client_id: StrBytes,
    versions: BTreeMap<i16, RangeInclusive<i16>>,
    last_correlation: i32,
    input: BytesMut,
    usable: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("broker", &self.broker).field("usable", &self.usable).finish_non_exhaustive()
    }
}

impl Connection {
    /// Agrees on versions over a fresh stream.
    pub(super) async fn over(stream: Stream, broker: &str, client_id: &str) -> Result<Self, Error> {
        let mut connection = Self {
            broker: broker.to_owned(),
            stream,
            client_id: StrBytes::from_string(client_id.to_owned()),
            versions: BTreeMap::new(),
            last_correlation: 0,
            input: BytesMut::new(),
            usable: true,
        };
        // Version 0 is understood by every broker.
        let answer = connection.call_with(&ApiVersionsRequest::default(), 0).await?;
        connection.check(answer.error_code, None)?;
        let versions = answer.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version));
        connection.versions = versions.collect();
        Ok(connection)
    }

    /// Address of the broker, `host:port`.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Whether the next request can be sent: not after one that failed or was dropped, whose answer may still come.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Sends a request in the newest version of `ours` that the broker speaks, and waits for the answer.
    ///
    /// # Errors
    /// The connection broke, the answer cannot be read, or the broker speaks none of these versions. An error code inside
    /// of the answer is for the caller to find.
    pub async fn call<R: Request>(&mut self, request: &R, ours: RangeInclusive<i16>) -> Result<R::Response, Error> {
        let version = self.version::<R>(ours)?;
        self.call_with(request, version).await
    }

    /// The newest version of `ours` of a request that the broker speaks.
    ///
    /// # Errors
    /// It speaks none.
    pub fn version<R: Request>(&self, ours: RangeInclusive<i16>) -> Result<i16, Error> {
        let theirs = self.versions.get(&R::KEY);
        let common = theirs
            .map(|theirs| *theirs.end().min(ours.end()))
            .filter(|common| ours.contains(common) && theirs.is_some_and(|theirs| theirs.contains(common)));
        common.ok_or_else(|| Error::Version {
            broker: self.broker.clone(),
            key: R::KEY,
            theirs: theirs.map_or_else(|| "none".to_owned(), |theirs| format!("{theirs:?}")),
            ours: format!("{ours:?}"),
        })
    }

    /// Fails if an answer carries an error code.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn check(&self, code: i16, message: Option<&StrBytes>) -> Result<(), Error> {
        let Some(code) = code.err() else { return Ok(()) };
        Err(self.refused(code, message))
    }

    pub(super) fn refused(&self, code: ResponseError, message: Option<&StrBytes>) -> Error {
        Error::Refused { broker: self.broker.clone(), code, message: message.map(ToString::to_string) }
    }

    async fn call_with<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Error> {
        let broken = std::io::Error::from(std::io::ErrorKind::NotConnected);
        if !std::mem::replace(&mut self.usable, false) {
            return Err(self.io(broken));
        }
        self.last_correlation = self.last_correlation.wrapping_add(1);
        let frame = self.frame(request, version)?;
        self.stream.write_all(&frame).await.map_err(|error| self.io(error))?;
        self.stream.flush().await.map_err(|error| self.io(error))?;
        let mut answer = self.read().await?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version));
        let header = header.map_err(|error| self.malformed(error))?;
        if header.correlation_id != self.last_correlation {
            return Err(self.malformed("it belongs to another request"));
        }
        let response = R::Response::decode(&mut answer, version).map_err(|error| self.malformed(error))?;
        self.usable = true;
        Ok(response)
    }

    /// One write for the whole request: with the length apart, the rest of it could wait for an acknowledgement.
    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<BytesMut, Error> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.last_correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::with_capacity(512);
        frame.put_u32(0);
        header.encode(&mut frame, R::header_version(version)).map_err(|error| self.malformed(error))?;
        request.encode(&mut frame, version).map_err(|error| self.malformed(error))?;
        let length = u32::try_from(frame.len() - 4).map_err(|error| self.malformed(error))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    async fn read(&mut self) -> Result<Bytes, Error> {
        self.fill(4).await?;
        let length = self.input.get_u32() as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(self.malformed(format_args!("it has {length} bytes")));
        }
        self.fill(length).await?;
        Ok(self.input.split_to(length).freeze())
    }

    async fn fill(&mut self, length: usize) -> Result<(), Error> {
        while self.input.len() < length {
            self.input.reserve((length - self.input.len()).max(4_096));
            let read = self.stream.read_buf(&mut self.input).await.map_err(|error| self.io(error))?;
            if read == 0 {
                return Err(self.io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io { broker: self.broker.clone(), source }
    }

    pub(super) fn malformed(&self, reason: impl std::fmt::Display) -> Error {
        Error::Malformed { broker: self.broker.clone(), reason: reason.to_string() }
    }
}
