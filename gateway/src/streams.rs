//! Streams of answers: of one owner as they are, and of all partitions as one.
//!
//! A stream of all partitions is a watch: its messages carry a token to go on from. The gateway keeps the last token of each
//! partition, so that it takes up a partition again by itself when the owner goes away, and every message that it passes on
//! carries one token that has them all. Messages are put together as bytes. Nothing is read ahead of the caller: one that
//! reads slowly is noticed by the owners.

mod part;
mod until;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, SelectAll};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use service_host::token::{self, ResumeTokens};
use service_host::{Code, Problem};
use tonic::Status;
use tonic::body::Body;

use crate::deadline::Deadline;
use crate::forward::Forward;
use crate::message::frame;
use crate::scan::{Fields, Malformed, Value, find, push_bytes, push_varint, without};
use crate::table::{StreamShape, Table};
use part::{Opening, Part};
pub(crate) use until::Until;

/// Longest token that a refusal carries: trailers are small.
const TOKEN_IN_TRAILERS_MAX: usize = 2_048;
/// Name of a problem's fact that is a token to go on with.
const RESUME_TOKEN: &str = "resume_token";

/// A call for a stream of all partitions.
pub(crate) struct Call {
    pub(crate) forward: Arc<Forward>,
    pub(crate) table: Arc<Table>,
    /// Path of the method.
    pub(crate) path: String,
    pub(crate) shape: StreamShape,
    pub(crate) headers: HeaderMap,
    pub(crate) request: Bytes,
    pub(crate) deadline: Deadline,
}

/// Answers with one stream of what all partitions tell. It begins when all have begun.
///
/// # Errors
/// INVALID_FIELD for a bad token; what an owner refuses.
pub(crate) async fn merge(call: Call, until: Until) -> Result<Response<Body>, Problem> {
    let partitions = call.forward.owners().partitions();
    let fingerprint = token::fingerprint_bytes(&call.request)?;
    let resume = resume(&call, partitions, fingerprint);
    let (shape, deadline) = (call.shape, call.deadline);
    // The joint token is long, and an owner needs its own part only.
    let request = without(&call.request, shape.request_token);
    let request = request.map_err(|error| Problem::malformed_request(error.to_string()))?.into();
    let call = Call { request, ..call };
    let opening = Arc::new(Opening::new(call));
    let resume = match resume {
        Err(problem) if !problem.violations.is_empty() => return Err(with_other_faults(problem, &opening).await),
        resume => resume?,
    };
    let open = (0..partitions).map(|partition| {
        let token = resume.as_ref().map_or_else(Vec::new, |all| all.tokens[partition as usize].clone());
        Part::open(opening.clone(), partition, token)
    });
    let opened = deadline.limit("opening the streams", futures::future::try_join_all(open)).await??;

    let mut merged = Merged {
        shape,
        fingerprint,
        tokens: vec![Vec::new(); partitions as usize],
        complete: vec![false; partitions as usize],
        is_complete_told: false,
        parts: SelectAll::new(),
        until,
    };
    let mut message = Vec::new();
    for (part, first) in opened {
        merged.take(part.partition(), &first, &mut message).map_err(|error| unreadable(&error))?;
        merged.parts.push(Box::pin(messages(part)));
    }
    merged.finish(&mut message);
    let first = stream::iter([Ok(Frame::data(frame(&message)))]);
    let rest = stream::unfold(Some(merged), |merged| async {
        let mut merged = merged?;
        match merged.next().await {
            Ok(message) => Some((Ok(Frame::data(frame(&message))), Some(merged))),
            Err(problem) => Some((trailers(merged.with_token(problem)), None)),
        }
    });
    Ok(stream_of(first.chain(rest)))
}

/// Where the request wants to go on.
fn resume(call: &Call, partitions: u32, fingerprint: u64) -> Result<Option<ResumeTokens>, Problem> {
    let resume = find(&call.request, &[call.shape.request_token]);
    let resume = resume.map_err(|error| Problem::malformed_request(error.to_string()))?.unwrap_or_default();
    let resume = std::str::from_utf8(resume)
        .map_err(|_| Problem::invalid_field(RESUME_TOKEN, "is not a resume token of this mesh"))?;
    ResumeTokens::decode(resume, partitions, fingerprint)
}

/// Faults of the token, which is the gateway's, behind those of other fields, which an owner knows.
async fn with_other_faults(token: Problem, opening: &Opening) -> Problem {
    match opening.open(0, &[]).await {
        Err(others) if others.code == Code::InvalidArgument => token.behind(others),
        _ => token,
    }
}

/// Lets the stream of one owner pass, as long as it may.
pub(crate) fn pass(response: Response<Body>, until: Until) -> Response<Body> {
    response.map(|body| {
        let frames = stream::unfold(Some((body, until)), |passing| async {
            let (mut body, mut until) = passing?;
            tokio::select! {
                biased;
                problem = until.over() => Some((trailers(problem), None)),
                frame = body.frame() => Some((frame?, Some((body, until)))),
            }
        });
        Body::new(StreamBody::new(Box::pin(frames)))
    })
}

/// Messages of one partition, which end with an error.
type Messages = Pin<Box<dyn Stream<Item = Result<(u32, Bytes), Problem>> + Send>>;

/// The streams of all partitions as far as they have come.
struct Merged {
    shape: StreamShape,
    fingerprint: u64,
    /// Raw tokens, by partition.
    tokens: Vec<Vec<u8>>,
    /// Whether the snapshot of each partition has been told.
    complete: Vec<bool>,
    /// Whether the caller knows that all have been.
    is_complete_told: bool,
    parts: SelectAll<Messages>,
    until: Until,
}

impl Merged {
    async fn next(&mut self) -> Result<Vec<u8>, Problem> {
        let next = tokio::select! {
            biased;
            problem = self.until.over() => return Err(problem),
            next = self.parts.next() => next,
        };
        // A partition's messages end with an error.
        let (partition, part) = next.unwrap_or_else(|| Err(Problem::internal()))?;
        let mut message = Vec::with_capacity(part.len() + 64 * self.tokens.len());
        self.take(partition, &part, &mut message).map_err(|error| unreadable(&error))?;
        self.finish(&mut message);
        Ok(message)
    }

    /// Adds the message of a partition to `message`, but for what concerns the stream itself.
    fn take(&mut self, partition: u32, part: &[u8], message: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut fields = Fields::new(part);
        loop {
            let before = fields.rest();
            let Some(field) = fields.next() else { return Ok(()) };
            match field? {
                (number, Value::Bytes(token)) if number == self.shape.resume_token => {
                    self.tokens[partition as usize] = token::raw(token).ok_or(Malformed)?;
                }
                (number, Value::Varint(1)) if number == self.shape.snapshot_complete => {
                    self.complete[partition as usize] = true;
                    let is_complete = self.complete.iter().all(|complete| *complete);
                    if is_complete && !std::mem::replace(&mut self.is_complete_told, true) {
                        push_varint(message, number, 1);
                    }
                }
                _ => message.extend_from_slice(&before[..before.len() - fields.rest().len()]),
            }
        }
    }

    fn finish(&self, message: &mut Vec<u8>) {
        push_bytes(message, self.shape.resume_token, self.token().as_bytes());
    }

    fn token(&self) -> String {
        ResumeTokens { fingerprint: self.fingerprint, tokens: self.tokens.clone() }.encode()
    }

    /// The problem with the token of all partitions in place of that of one, which the caller cannot use; with none if it is
    /// too long, for the caller has it from the last message.
    fn with_token(&self, mut problem: Problem) -> Problem {
        problem.metadata.remove(RESUME_TOKEN);
        let token = self.token();
        if token.len() > TOKEN_IN_TRAILERS_MAX { problem } else { problem.with(RESUME_TOKEN, token) }
    }
}

fn messages(part: Part) -> impl Stream<Item = Result<(u32, Bytes), Problem>> + Send {
    stream::unfold(Some(part), |part| async {
        let mut part = part?;
        match part.next().await {
            Ok(message) => Some((Ok((part.partition(), message)), Some(part))),
            Err(problem) => Some((Err(problem.with("partition", part.partition())), None)),
        }
    })
}

fn stream_of(frames: impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(Body::new(StreamBody::new(Box::pin(frames))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(problem: Problem) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    Status::from(problem).add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

fn unreadable(error: &Malformed) -> Problem {
    tracing::error!(%error, "message of an owner's stream is unreadable");
    Problem::internal()
}

#[cfg(test)]
mod tests;
