//! Every problem that the API documents, each made in one place, so that its code, reason and facts are the same everywhere.

use std::time::Duration;

use crate::{Code, Problem, Violation};

/// Advice for a caller whose partition has no owner at present.
const REBALANCING_RETRY: Duration = Duration::from_millis(200);
/// Advice for a caller who found a queue full.
const OVERLOADED_RETRY: Duration = Duration::from_millis(100);
/// Advice for a caller whose partition's log does not answer.
const LOG_RETRY: Duration = Duration::from_secs(1);
/// So many partitions that do not answer are named: who calls takes no more than some KiB of trailers.
const PARTITIONS_TOLD_MAX: usize = 100;
/// So much of a path is told to who called it.
const PATH_BYTES_MAX: usize = 256;

impl Problem {
    /// Fields are malformed: INVALID_FIELD with every fault.
    pub fn invalid_fields(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [only] => format!("{} {}", only.field, only.description),
            [first, rest @ ..] => format!("{} {} (and {} more)", first.field, first.description, rest.len()),
            [] => "a field is malformed".to_owned(),
        };
        Self { violations, ..Self::new(Code::InvalidArgument, "INVALID_FIELD", message) }
    }

    /// One field is malformed: INVALID_FIELD.
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid_fields(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// The body is not the message that the method takes: INVALID_FIELD without a path.
    pub fn malformed_request(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_FIELD", message)
    }

    /// The request id was used with another payload: REQUEST_ID_REUSED.
    pub fn request_id_reused(request_id: &str) -> Self {
        Self::new(Code::InvalidArgument, "REQUEST_ID_REUSED", "the request_id was used before with another request")
            .with("request_id", request_id)
    }

    /// There is no such thing: `<NOUN>_NOT_FOUND`. `noun` is for people, such as "work order".
    pub fn not_found(noun: &str, id: &str) -> Self {
        Self::new(Code::NotFound, format!("{}_NOT_FOUND", upper_snake(noun)), format!("{noun} {id} does not exist"))
            .with(format!("{}_id", lower_snake(noun)), id)
    }

    /// The id is taken by other content: `<NOUN>_EXISTS`.
    pub fn already_exists(noun: &str, id: &str) -> Self {
        Self::new(
            Code::AlreadyExists,
            format!("{}_EXISTS", upper_snake(noun)),
            format!("{noun} {id} exists with other content"),
        )
        .with(format!("{}_id", lower_snake(noun)), id)
    }

    /// The etag differs: VERSION_CONFLICT.
    pub fn version_conflict(current: impl ToString, wanted: impl ToString) -> Self {
        Self::new(Code::Aborted, "VERSION_CONFLICT", "it was changed meanwhile; read it again")
            .with("current", current)
            .with("wanted", wanted)
    }

    /// Not allowed in this state: ILLEGAL_TRANSITION.
    pub fn illegal_transition(state: &str, command: &str) -> Self {
        Self::new(
            Code::FailedPrecondition,
            "ILLEGAL_TRANSITION",
            format!("{command} is not possible in the state {state}"),
        )
        .with("state", state)
        .with("command", command)
    }

    /// Refused by a rule of the domain: FAILED_PRECONDITION with a reason of its own.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// Another instance owns the partition: NOT_OWNER. Inside the mesh only; the gateway follows the hint.
    /// An unknown owner is left out.
    pub fn not_owner(topic: &str, partition: u32, epoch: Option<u64>, owner: Option<(&str, &str)>) -> Self {
        let mut problem = Self::new(Code::FailedPrecondition, "NOT_OWNER", "another instance owns this partition")
            .with("topic", topic)
            .with("partition", partition);
        if let Some(epoch) = epoch {
            problem = problem.with("epoch", epoch);
        }
        if let Some((id, address)) = owner {
            problem = problem.with("owner_id", id).with("owner_addr", address);
        }
        problem
    }

    /// The replica is behind the token: NOT_UP_TO_BOUND. Inside the mesh only.
    pub fn not_up_to_bound() -> Self {
        Self::new(Code::FailedPrecondition, "NOT_UP_TO_BOUND", "this instance has not reached the state asked for")
    }

    /// The partition has no owner at present: PARTITION_REBALANCING.
    pub fn rebalancing(role: &str, partition: u32) -> Self {
        Self::new(Code::Unavailable, "PARTITION_REBALANCING", "the partition is moving to another owner")
            .with("role", role)
            .with("partition", partition)
            .retry_after(REBALANCING_RETRY)
    }

    /// The outcome of a change is not known, since its owner stopped: PARTITION_REBALANCING. With the same request_id it is
    /// safe to try again.
    pub fn outcome_unknown() -> Self {
        Self::new(
            Code::Unavailable,
            "PARTITION_REBALANCING",
            "the owner stopped before it answered; try again with the same request_id",
        )
        .retry_after(REBALANCING_RETRY)
    }

    /// The way to the owner is broken: OWNER_UNREACHABLE. Whether the call had an effect is not known.
    pub fn owner_unreachable() -> Self {
        Self::new(Code::Unavailable, "OWNER_UNREACHABLE", "the owner of the partition cannot be reached")
    }

    /// The log that keeps the partition has not answered for so long: LOG_UNAVAILABLE.
    pub fn log_unavailable(advice: &str, since: Duration) -> Self {
        Self::new(Code::Unavailable, "LOG_UNAVAILABLE", format!("the log does not answer; {advice}"))
            .with("outage_ms", since.as_millis())
            .retry_after(LOG_RETRY)
    }

    /// A list must be complete and is not: UNAVAILABLE PARTITION_UNREACHABLE.
    pub fn partitions_unreachable(names: &[String]) -> Self {
        let told = names.len().min(PARTITIONS_TOLD_MAX);
        let message = match names.len() - told {
            0 => "some partitions cannot answer, and the list must be complete".to_owned(),
            more => {
                format!("some partitions ({more} more than are named) cannot answer, and the list must be complete")
            }
        };
        Self::new(Code::Unavailable, "PARTITION_UNREACHABLE", message)
            .with("unreachable", names[..told].join(","))
            .retry_after(REBALANCING_RETRY)
    }

    /// A queue or limit of the instance is full: OVERLOADED.
    pub fn overloaded(what: &str) -> Self {
        Self::new(Code::Unavailable, "OVERLOADED", format!("{what} has too much to do")).retry_after(OVERLOADED_RETRY)
    }

    /// The instance is going down: UNAVAILABLE SHUTTING_DOWN.
    pub fn shutting_down() -> Self {
        Self::new(Code::Unavailable, "SHUTTING_DOWN", "the instance is shutting down").retry_after(REBALANCING_RETRY)
    }

    /// The caller is over its quota: RATE_LIMITED.
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::new(Code::ResourceExhausted, "RATE_LIMITED", "too many requests").retry_after(retry_after)
    }

    /// The call shows no bearer token, and needs one: TOKEN_MISSING.
    pub fn token_missing() -> Self {
        Self::new(Code::Unauthenticated, "TOKEN_MISSING", "a token is needed: authorization: Bearer <token>")
    }

    /// The call shows a bearer token that nobody has: TOKEN_UNKNOWN.
    pub fn token_unknown() -> Self {
        Self::new(Code::Unauthenticated, "TOKEN_UNKNOWN", "the token is not known")
    }

    /// The holder of the token may do something else: ROLE_MISSING with the role that it has, and the one that it needs.
    pub fn role_missing(has: impl ToString, needs: impl ToString) -> Self {
        Self::new(Code::PermissionDenied, "ROLE_MISSING", "the token does not allow this method")
            .with("role", has)
            .with("needed", needs)
    }

    /// Only instances of the mesh call this, on an address of their own: INTERNAL_METHOD.
    pub fn internal_method(path: &str) -> Self {
        Self::new(Code::PermissionDenied, "INTERNAL_METHOD", format!("{path} is for instances of the mesh only"))
    }

    /// A call on the address of the instances that does not prove to be from one: UNAUTHENTICATED or PERMISSION_DENIED
    /// NOT_AN_INSTANCE.
    pub fn not_an_instance(code: Code, message: &str) -> Self {
        Self::new(code, "NOT_AN_INSTANCE", message)
    }

    /// The message is larger than the limit: MESSAGE_TOO_LARGE.
    pub fn message_too_large(limit_bytes: Option<usize>) -> Self {
        let problem = Self::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "the message is too large");
        match limit_bytes {
            Some(limit) => problem.with("limit_bytes", limit),
            None => problem,
        }
    }

    /// A resume token is too old: TOKEN_EXPIRED.
    pub fn token_expired(earliest: impl ToString) -> Self {
        Self::new(Code::OutOfRange, "TOKEN_EXPIRED", "the token is older than what is kept").with("earliest", earliest)
    }

    /// The time given is over: DEADLINE_EXCEEDED with the stage that was reached, such as "CREATED".
    pub fn deadline_exceeded(stage: &str) -> Self {
        Self::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", format!("the deadline passed; reached: {stage}"))
            .with("stage", stage)
    }

    /// There is no such method: UNKNOWN_METHOD. Of a path that is longer than any the begin is told: answers must fit into headers.
    pub fn unknown_method(path: &str) -> Self {
        let path = &path[..path.floor_char_boundary(PATH_BYTES_MAX)];
        Self::new(Code::Unimplemented, "UNKNOWN_METHOD", format!("there is no method {path}"))
    }

    /// A bug. The client learns nothing more; log the cause beside it.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "INTERNAL", "internal error")
    }
}

fn upper_snake(noun: &str) -> String {
    noun.replace(' ', "_").to_ascii_uppercase()
}

fn lower_snake(noun: &str) -> String {
    noun.replace(' ', "_")
}
