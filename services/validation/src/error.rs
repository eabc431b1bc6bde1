//! Why a record cannot be processed: it goes to the dead letters with this as the reason.

use service_host::Chain;
use task_runtime::ProcessError;

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are not the message that they should be.
    #[error("the bytes are no {message}")]
    Undecodable {
        /// The message's name.
        message: &'static str,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// A field holds what nothing of ours writes there.
    #[error("{field} holds the unknown value {value}")]
    UnknownValue {
        /// Path of the field.
        field: &'static str,
        /// What it holds.
        value: i32,
    },
    /// A field that every record has is missing.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// The record stands under another key than what it speaks of.
    #[error("the record about {subject} has another key")]
    ForeignKey {
        /// Key of what it speaks of.
        subject: String,
    },
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> Self {
        Self::poison(Chain(&error).to_string())
    }
}
