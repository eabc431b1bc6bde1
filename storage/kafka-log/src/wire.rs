//! The Kafka protocol itself, for what rskafka does not have: connections that encrypt, log in and agree on versions, who
//! leads which partition, fetches over many partitions, offsets, topics with their properties, quotas. The only place of
//! this crate that knows `kafka-protocol`.
//!
//! What always holds: every request has a time after which it ends; a connection whose request did not end well is closed;
//! no length or count that a broker sends is believed before it is checked.
//!
//! [`Connection`] is open to other crates that speak parts of the protocol of their own, as group membership does.

pub(crate) mod batches;
pub(crate) mod cluster;
mod connection;
mod dial;
pub(crate) mod fetch;
mod meters;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod quotas;
mod sasl;
mod tail;
mod tls;
pub(crate) mod topics;

use std::time::Duration;

pub use connection::Connection;
pub use dial::Dial;
pub use kafka_protocol::ResponseError;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not answer in time. The request may have been carried out.
    #[error("{broker} did not answer within {after:?}")]
    Timeout {
        /// Address of the broker.
        broker: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection could not be made, or broke. The request may have been carried out if it was made.
    #[error("the connection to {broker} failed")]
    Io {
        /// Address of the broker.
        broker: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The login was refused.
    #[error("{broker} refused the login: {reason}")]
    Login {
        /// Address of the broker.
        broker: String,
        /// What it said.
        reason: String,
    },
    /// The broker does not speak a version of a request that we do.
    #[error("{broker} speaks versions {theirs} of request {key}, not {ours}")]
    Version {
        /// Address of the broker.
        broker: String,
        /// Number of the request.
        key: i16,
        /// The versions that it speaks.
        theirs: String,
        /// The versions that we speak.
        ours: String,
    },
    /// What the broker answered cannot be read.
    #[error("the answer of {broker} cannot be read: {reason}")]
    Malformed {
        /// Address of the broker.
        broker: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The broker answered with an error.
    #[error("{broker} refused: {code:?}{}", reason(message))]
    Refused {
        /// Address of the broker.
        broker: String,
        /// The error.
        code: ResponseError,
        /// What it said about it.
        message: Option<String>,
    },
    /// As many connections as may be open are in use.
    #[error("all {0} connections are in use")]
    Exhausted(usize),
}

fn reason(message: &Option<String>) -> String {
    message.as_ref().map_or_else(String::new, |message| format!(" ({message})"))
}

/// An error with all its causes, for one line of text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
