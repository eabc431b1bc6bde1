//! The stream of one partition, taken up again with its last token whenever its owner goes away.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderValue;
use http_body_util::BodyExt;
use service_host::{Code, Problem, headers, token};
use tokio::time::Instant;
use tonic::body::Body;

use super::Call;
use crate::forward::Outgoing;
use crate::message::{frame, refusal};
use crate::scan::{find, push_bytes};

/// Flag and length in front of each message.
const PREFIX: usize = 5;
/// How long a partition may be without an owner before the stream is given up.
const RESUME_FOR: Duration = Duration::from_secs(30);
/// Pauses between tries to take it up again.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How the stream of a partition is opened.
pub(super) struct Opening(Call);

impl Opening {
    pub(super) fn new(call: Call) -> Self {
        Self(call)
    }

    pub(super) async fn open(&self, partition: u32, raw_token: &[u8]) -> Result<Body, Problem> {
        let call = &self.0;
        let path = &call.path;
        let method = call.table.get(path).ok_or_else(|| Problem::unknown_method(path))?;
        let mut message = Vec::with_capacity(call.request.len() + 2 * raw_token.len() + 16);
        message.extend_from_slice(&call.request);
        push_bytes(&mut message, call.shape.request_token, token::of_raw(raw_token).as_bytes());
        let mut headers = call.headers.clone();
        headers.insert(headers::PARTITION, HeaderValue::from(partition));
        let (frame, deadline) = (frame(&message), call.deadline);
        let outgoing = Outgoing { method, headers, frame, deadline, repeatable: true, may_be_stale: false };
        let response = call.forward.send(&outgoing, partition).await?;
        refusal(response.headers())?;
        Ok(response.into_body())
    }
}

/// The stream of one partition.
pub(super) struct Part {
    opening: Arc<Opening>,
    partition: u32,
    /// Raw token of the last message.
    token: Vec<u8>,
    body: Body,
    received: BytesMut,
}

impl Part {
    /// Opens the stream and reads its first message, which says where it stands.
    pub(super) async fn open(opening: Arc<Opening>, partition: u32, token: Vec<u8>) -> Result<(Self, Bytes), Problem> {
        let body = opening.open(partition, &token).await?;
        let mut part = Self { opening, partition, token, body, received: BytesMut::new() };
        let first = part.read().await?;
        Ok((part, first))
    }

    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    /// The next message.
    ///
    /// # Errors
    /// What the owner says, unless it can be taken up again.
    pub(super) async fn next(&mut self) -> Result<Bytes, Problem> {
        let mut problem = match self.read().await {
            Err(problem) if problem.code == Code::Unavailable => problem,
            read => return read,
        };
        let give_up = Instant::now() + RESUME_FOR;
        let mut pause = PAUSE;
        while Instant::now() < give_up {
            tracing::debug!(partition = self.partition, reason = %problem.reason, "stream of an owner is taken up again");
            self.received.clear();
            let again = match self.opening.open(self.partition, &self.token).await {
                Ok(body) => {
                    self.body = body;
                    self.read().await
                }
                Err(problem) => Err(problem),
            };
            match again {
                Err(again) if again.code == Code::Unavailable => problem = again,
                read => return read,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err(problem)
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        loop {
            if let Some(message) = self.whole()? {
                let token = find(&message, &[self.opening.0.shape.resume_token]);
                if let Ok(Some(token)) = token {
                    self.token = token::raw(token).unwrap_or_default();
                }
                return Ok(message);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.received.extend_from_slice(&data),
                    Err(frame) => {
                        refusal(&frame.into_trailers().unwrap_or_default())?;
                        return Err(broken_off());
                    }
                },
                Some(Err(error)) => {
                    tracing::debug!(partition = self.partition, %error, "owner broke off its stream");
                    return Err(broken_off());
                }
                None => return Err(broken_off()),
            }
        }
    }

    /// Takes a whole message out of what has been received.
    fn whole(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some((prefix, _)) = self.received.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [flag, length @ ..] = *prefix;
        if flag != 0 {
            tracing::error!(partition = self.partition, "message of an owner's stream is compressed");
            return Err(Problem::internal());
        }
        let length = u32::from_be_bytes(length) as usize;
        if self.received.len() < PREFIX + length {
            return Ok(None);
        }
        self.received.advance(PREFIX);
        Ok(Some(self.received.split_to(length).freeze()))
    }
}

fn broken_off() -> Problem {
    Problem { message: "the owner broke off its stream".to_owned(), ..Problem::owner_unreachable() }
}
