//! The one place where a problem becomes a gRPC status, and back.
//!
//! Every status that leaves a process carries exactly one `google.rpc.ErrorInfo` of our domain; field faults are a
//! `BadRequest`, advice to try again a `RetryInfo`.

use std::collections::HashMap;

use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{Code, Problem, Violation};

/// Domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "ordermesh";

impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::Aborted => Self::Aborted,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Unavailable => Self::Unavailable,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::OutOfRange => Self::OutOfRange,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::Unimplemented => Self::Unimplemented,
            Code::Cancelled => Self::Cancelled,
            Code::Internal => Self::Internal,
        }
    }
}

impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        match code {
            tonic::Code::InvalidArgument => Self::InvalidArgument,
            tonic::Code::NotFound => Self::NotFound,
            tonic::Code::AlreadyExists => Self::AlreadyExists,
            tonic::Code::Aborted => Self::Aborted,
            tonic::Code::FailedPrecondition => Self::FailedPrecondition,
            tonic::Code::Unavailable => Self::Unavailable,
            tonic::Code::ResourceExhausted => Self::ResourceExhausted,
            tonic::Code::OutOfRange => Self::OutOfRange,
            tonic::Code::DeadlineExceeded => Self::DeadlineExceeded,
            tonic::Code::Unauthenticated => Self::Unauthenticated,
            tonic::Code::PermissionDenied => Self::PermissionDenied,
            tonic::Code::Unimplemented => Self::Unimplemented,
            tonic::Code::Cancelled => Self::Cancelled,
            tonic::Code::Ok | tonic::Code::Unknown | tonic::Code::DataLoss | tonic::Code::Internal => Self::Internal,
        }
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut details = ErrorDetails::new();
        let metadata: HashMap<String, String> = problem.metadata.into_iter().collect();
        details.set_error_info(problem.reason, ERROR_DOMAIN, metadata);
        if !problem.violations.is_empty() {
            let violations =
                problem.violations.into_iter().map(|fault| FieldViolation::new(fault.field, fault.description));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if problem.retry_after.is_some() {
            details.set_retry_info(problem.retry_after);
        }
        Status::with_error_details(problem.code.into(), problem.message, details)
    }
}

impl From<&Status> for Problem {
    /// Reads a status of any server. Without an `ErrorInfo` the reason is the name of the code.
    fn from(status: &Status) -> Self {
        let code = Code::from(status.code());
        let details = status.get_error_details();
        let (reason, metadata) = match details.error_info() {
            Some(info) => (info.reason.clone(), info.metadata.clone().into_iter().collect()),
            None => (code.name().to_owned(), std::collections::BTreeMap::new()),
        };
        let violations = details.bad_request().map_or_else(Vec::new, |bad| {
            let fault = |fault: &FieldViolation| Violation {
                field: fault.field.clone(),
                description: fault.description.clone(),
            };
            bad.field_violations.iter().map(fault).collect()
        });
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        Self { code, reason: reason.into(), message: status.message().to_owned(), metadata, violations, retry_after }
    }
}

impl Code {
    /// The name that gRPC gives it, such as `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Aborted => "ABORTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Unavailable => "UNAVAILABLE",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }
}

impl Problem {
    /// A whole gRPC response that says this problem, for code that answers below the tonic services.
    pub fn into_http(self) -> http::Response<tonic::body::Body> {
        Status::from(self).into_http()
    }
}

/// Gives a status that tonic made by itself its place in our table. One that carries details already is somebody's
/// considered answer and stays as it is (`None`).
pub fn explain(status: &Status) -> Option<Problem> {
    if status.code() == tonic::Code::Ok || !status.details().is_empty() {
        return None;
    }
    let message = status.message();
    Some(match status.code() {
        // "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes"
        tonic::Code::OutOfRange if message.contains("message length too large") => {
            Problem::message_too_large(message.rsplit("limit is: ").next().and_then(first_number))
        }
        tonic::Code::ResourceExhausted if message.contains("decompress") => Problem::message_too_large(None),
        tonic::Code::Internal if is_garbage(message) => {
            Problem::malformed_request(format!("the request cannot be read: {message}"))
        }
        tonic::Code::Unimplemented if message.contains("compress") => {
            Problem::new(Code::Unimplemented, "UNSUPPORTED_COMPRESSION", message)
        }
        tonic::Code::Unimplemented => Problem::new(Code::Unimplemented, "UNKNOWN_METHOD", "there is no such method"),
        // The only cancellation that a server of tonic makes by itself is its own timeout.
        tonic::Code::Cancelled if message.contains("Timeout expired") => Problem::deadline_exceeded("unknown"),
        _ => Problem::from(status),
    })
}

/// What tonic and prost say of a body that is not the message it should be. They call that INTERNAL.
fn is_garbage(message: &str) -> bool {
    [
        "failed to decode Protobuf message",
        "Missing request message",
        "Unexpected EOF decoding stream",
        "compression flag",
    ]
    .iter()
    .any(|known| message.contains(known))
}

fn first_number(text: &str) -> Option<usize> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
