//! What an error of rskafka says about an append: it is not in the log, or nobody knows.

use event_log::{Error, TopicPartition};
use rskafka::client::error::{Error as ClientError, ProtocolError};

use crate::error::{Meaning, meaning};
use crate::wire::ResponseError;

/// How a try ended that did not succeed.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Nothing was appended and nothing will be; another try may succeed.
    NotAppended(String),
    /// Nothing was appended: the broker that was asked knows no such partition. It may not have heard of it yet.
    UnknownThere,
    /// What the caller is told.
    Told(Error),
}

impl Outcome {
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Told(Error::UnknownOutcome(why.into()))
    }
}

/// The outcome, and whether the connection is still good.
///
/// `size` and `limit` are what is told when the broker finds the append too large.
pub(super) fn classify(
    error: &ClientError,
    partition: &TopicPartition,
    (size, limit): (usize, usize),
) -> (Outcome, bool) {
    match innermost(error) {
        // Connecting and asking who leads come before the request itself.
        ClientError::Connection(error) => (Outcome::NotAppended(error.to_string()), false),
        ClientError::ServerError { protocol_error, error_message, .. } => {
            let said = error_message.as_deref().unwrap_or("");
            let text = format!("{partition}: {protocol_error:?} {said}");
            of_protocol_error(*protocol_error, text.trim_end().to_owned(), (size, limit))
        }
        other => (Outcome::unknown(format!("{partition}: {other}")), false),
    }
}

/// What a code in the answer to a request for several partitions says about one of them.
pub(super) fn of_code(
    code: ResponseError,
    said: &str,
    partition: &TopicPartition,
    (size, limit): (usize, usize),
) -> Outcome {
    let text = format!("{partition}: {code:?} {said}").trim_end().to_owned();
    match meaning(code) {
        Meaning::Elsewhere | Meaning::Later => Outcome::NotAppended(text),
        Meaning::Unknown => Outcome::UnknownThere,
        Meaning::Unclear => Outcome::unknown(text),
        Meaning::Refused if matches!(code, ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge) => {
            Outcome::Told(Error::TooLarge { size, limit })
        }
        Meaning::Refused => Outcome::Told(Error::Failed(text)),
    }
}

/// rskafka is told not to try again by itself, and wraps what happened into its having given up.
pub(super) fn innermost(error: &ClientError) -> &ClientError {
    match error {
        ClientError::RetryFailed(rskafka::BackoffError::DeadlineExceded { source, .. }) => {
            source.downcast_ref::<ClientError>().map_or(error, innermost)
        }
        other => other,
    }
}

fn of_protocol_error(code: ProtocolError, text: String, (size, limit): (usize, usize)) -> (Outcome, bool) {
    use ProtocolError as P;
    match code {
        P::NotLeaderOrFollower
        | P::LeaderNotAvailable
        | P::BrokerNotAvailable
        | P::ReplicaNotAvailable
        | P::FencedLeaderEpoch
        | P::UnknownLeaderEpoch => (Outcome::NotAppended(text), false),
        P::NotEnoughReplicas | P::ThrottlingQuotaExceeded => (Outcome::NotAppended(text), true),
        P::MessageTooLarge | P::RecordListTooLarge => (Outcome::Told(Error::TooLarge { size, limit }), true),
        P::UnknownTopicOrPartition => (Outcome::UnknownThere, false),
        P::RequestTimedOut
        | P::NetworkException
        | P::NotEnoughReplicasAfterAppend
        | P::UnknownServerError
        | P::KafkaStorageError => (Outcome::unknown(text), false),
        _ => (Outcome::Told(Error::Failed(text)), true),
    }
}
