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
    /// The record stands under another key than the order that it speaks of.
    #[error("the record about order {order_id} has another key")]
    ForeignKey {
        /// The order that it speaks of.
        order_id: String,
    },
    /// The fulfilments of a validated order are not those of its lines.
    #[error("order {order_id} has {lines} lines, but {fulfilments} fulfilments")]
    UnevenLines {
        /// The order.
        order_id: String,
        /// Its lines.
        lines: usize,
        /// How many of them have a fulfilment.
        fulfilments: usize,
    },
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> Self {
        Self::poison(error.to_string())
    }
}
