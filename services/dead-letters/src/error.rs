//! Why an input cannot be processed: its command is refused with this as the reason. Letters are always taken.

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
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> Self {
        Self::poison(error.to_string())
    }
}
