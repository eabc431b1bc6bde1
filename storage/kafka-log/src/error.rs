//! Why a log cannot be connected, and what Kafka's error codes mean for a caller of the port.

use kafka_protocol::ResponseError;

use crate::wire;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// A file of the TLS settings cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// No broker answered, or the one that did refused.
    #[error("no broker can be reached")]
    Brokers(#[source] wire::Error),
    /// The brokers would treat this client in a way that breaks what the port promises.
    #[error("{0}")]
    Refused(String),
}

/// What an error code of a broker means for what was asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Another broker leads the partition, or soon will.
    Elsewhere,
    /// This broker knows no such topic or partition.
    Unknown,
    /// Nothing happened; it may work in a moment.
    Later,
    /// An append may have happened, or not.
    Unclear,
    /// A person must act.
    Refused,
}

pub(crate) fn meaning(code: ResponseError) -> Meaning {
    use ResponseError as E;
    match code {
        E::NotLeaderOrFollower
        | E::LeaderNotAvailable
        | E::ReplicaNotAvailable
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::BrokerNotAvailable
        | E::NotController => Meaning::Elsewhere,
        E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId => Meaning::Unknown,
        E::OffsetNotAvailable
        | E::CoordinatorLoadInProgress
        | E::NotEnoughReplicas
        | E::ThrottlingQuotaExceeded
        | E::ReassignmentInProgress
        | E::FetchSessionIdNotFound
        | E::InvalidFetchSessionEpoch
        | E::PreferredLeaderNotAvailable
        | E::EligibleLeadersNotAvailable => Meaning::Later,
        E::RequestTimedOut
        | E::NetworkException
        | E::NotEnoughReplicasAfterAppend
        | E::UnknownServerError
        | E::KafkaStorageError => Meaning::Unclear,
        _ => Meaning::Refused,
    }
}
