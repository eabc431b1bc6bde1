//! Why an input cannot be processed: it goes to the dead letters with this as the reason, or its command is refused.

use task_runtime::ProcessError;

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are not the message that they should be.
    #[error("the bytes are no {message}: {source}")]
    Undecodable {
        /// The message's name.
        message: &'static str,
        /// Why.
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
    /// The record stands under another key than the author that it speaks of.
    #[error("the record about a book of author {code} has another key")]
    ForeignKey {
        /// The author that it speaks of.
        code: String,
    },
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> Self {
        Self::poison(error.to_string())
    }
}
