//! Commands from callers, and what they are answered.

use bytes::Bytes;

use crate::Position;

/// A request to change state. The same `request_id` with the same content is answered as the first time and changes nothing.
#[derive(Debug, Clone)]
pub struct Command {
    /// Name that the definition declares.
    pub name: &'static str,
    /// Key that it concerns; its partition is the task's.
    pub key: Bytes,
    /// The caller's id of this request; without one a repeat is a new request.
    pub request_id: Option<String>,
    /// The request, as the service encodes it. Together with the name it decides whether a repeated id has the same content.
    pub payload: Bytes,
    /// What the service adds to the payload and what may differ in a repeat, such as an id made for the caller.
    pub attachment: Bytes,
    /// When it was received, in milliseconds since the Unix epoch: the event time of what it causes.
    pub time_ms: i64,
    /// W3C `traceparent` of the caller.
    pub traceparent: Option<Bytes>,
}

/// The answer of a handler. Refusals are answers too, and are remembered like them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub Bytes);

/// An answer whose effects are certified.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The handler's answer, or the remembered one.
    pub reply: Bytes,
    /// State from this position on contains the effects.
    pub position: Position,
}
