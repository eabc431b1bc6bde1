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
            let code = numbered(*protocol_error);
            let said = error_message.as_deref().unwrap_or("");
            let is_sound = matches!(meaning(code), Meaning::Later | Meaning::Refused);
            (of_code(code, said, partition, (size, limit)), is_sound)
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

/// The same code by its number, which rskafka does not give away: it only makes codes of numbers.
fn numbered(code: ProtocolError) -> ResponseError {
    let number = match code {
        ProtocolError::Unknown(number) => Some(number),
        known => (-1..=NUMBER_MAX).find(|number| ProtocolError::new(*number) == Some(known)),
    };
    // Without a number nobody knows what has happened.
    number.and_then(ResponseError::try_from_code).unwrap_or(ResponseError::UnknownServerError)
}

/// Kafka's numbers end before that.
const NUMBER_MAX: i16 = 1_000;

#[cfg(test)]
mod tests {
    use rskafka::client::error::RequestContext;

    use super::*;

    fn answered(code: ProtocolError) -> (Outcome, bool) {
        let partition = TopicPartition::new("t", 0);
        let request = RequestContext::Partition("t".to_owned(), 0);
        let said = Some("said".to_owned());
        let error = ClientError::ServerError {
            protocol_error: code,
            error_message: said,
            request,
            response: None,
            is_virtual: false,
        };
        classify(&error, &partition, (5, 4))
    }

    #[test]
    fn a_code_means_the_same_whoever_has_read_it() {
        for number in (-1..=200).filter(|number| *number != 0) {
            let code = ProtocolError::new(number).unwrap();
            assert_eq!(numbered(code).code(), number);
            let (alone, _) = answered(code);
            let together =
                of_code(ResponseError::try_from_code(number).unwrap(), "said", &TopicPartition::new("t", 0), (5, 4));
            assert_eq!(format!("{alone:?}"), format!("{together:?}"), "{number}");
        }
    }

    #[test]
    fn what_an_append_comes_to_is_told_as_it_is_and_only_a_clean_refusal_keeps_the_connection() {
        use ProtocolError as P;
        for code in [P::NotLeaderOrFollower, P::LeaderNotAvailable, P::FencedLeaderEpoch] {
            assert!(matches!(answered(code), (Outcome::NotAppended(_), false)), "{code}");
        }
        for code in [P::NotEnoughReplicas, P::ThrottlingQuotaExceeded] {
            assert!(matches!(answered(code), (Outcome::NotAppended(_), true)), "{code}");
        }
        for code in [P::RequestTimedOut, P::NotEnoughReplicasAfterAppend, P::UnknownServerError, P::KafkaStorageError] {
            assert!(matches!(answered(code), (Outcome::Told(Error::UnknownOutcome(_)), false)), "{code}");
        }
        assert!(matches!(answered(P::UnknownTopicOrPartition), (Outcome::UnknownThere, false)));
        let (too_large, is_sound) = answered(P::MessageTooLarge);
        assert!(matches!(too_large, Outcome::Told(Error::TooLarge { size: 5, limit: 4 })) && is_sound);
        assert!(matches!(answered(P::TopicAuthorizationFailed), (Outcome::Told(Error::Failed(_)), true)));
    }
}
