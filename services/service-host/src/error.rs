//! What a service may refuse, as a value: it travels from a task to the client without knowing gRPC.
//!
//! A [`Problem`] holds only what the client may know. What happened inside belongs into the log, where it is handled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of problem it is, and so what the caller should do.
///
/// | code | the caller should |
/// |---|---|
/// | `InvalidArgument`, `OutOfRange` | change the request |
/// | `NotFound`, `AlreadyExists`, `FailedPrecondition` | look at the state first |
/// | `Aborted` | read again and try again |
/// | `Unavailable`, `ResourceExhausted` | try again after `retry_after`; without one, not try again as it is |
/// | `DeadlineExceeded` | try again with more time; the effect is unknown for changes |
/// | `Unauthenticated`, `PermissionDenied`, `Unimplemented` | not try again |
/// | `Internal` | report a bug |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// The request is malformed.
    InvalidArgument,
    /// There is no such thing.
    NotFound,
    /// The id is taken by other content.
    AlreadyExists,
    /// The state changed meanwhile.
    Aborted,
    /// Not allowed in this state.
    FailedPrecondition,
    /// Not possible at present.
    Unavailable,
    /// Over a quota or a limit.
    ResourceExhausted,
    /// Beyond what is kept.
    OutOfRange,
    /// Not done in the time given.
    DeadlineExceeded,
    /// The caller gave no valid credentials.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// There is no such method.
    Unimplemented,
    /// The caller gave up.
    Cancelled,
    /// A bug.
    Internal,
}

/// One fault of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Path of the field, such as `order.lines[2].product_id`.
    pub field: String,
    /// What is wrong with it, such as "must not be blank".
    pub description: String,
}

/// Why a request was refused, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Problem {
    /// The kind.
    pub code: Code,
    /// The exact reason, for programs: UPPER_SNAKE.
    pub reason: Cow<'static, str>,
    /// The reason, for people.
    pub message: String,
    /// Facts about the reason.
    pub metadata: BTreeMap<String, String>,
    /// Faults of fields, all at once.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem without further facts.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    /// The same with advice when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

/// Shows an error with all its causes on one line.
#[derive(Debug)]
pub struct Chain<'a, E: ?Sized>(pub &'a E);

impl<E: Error + ?Sized> std::fmt::Display for Chain<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
