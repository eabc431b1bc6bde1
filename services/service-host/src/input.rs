//! Why an input cannot be processed, the same for every service: a record goes to the dead letters with this as the reason,
//! a command is refused with it.

use std::borrow::{Borrow, Cow};

use bytes::Bytes;
use prost::Message;
use task_runtime::ProcessError;

use crate::Chain;

/// What is wrong with an input, or with a row that an input needs.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
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
    /// A field that everything of ours sets is not set.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// The record stands under another key than what it speaks of.
    #[error("the record about {thing} {key} has another key")]
    ForeignKey {
        /// What it speaks of, as in "order".
        thing: &'static str,
        /// Key of what it speaks of.
        key: String,
    },
    /// The input contradicts itself, or what is known.
    #[error("{thing} {key}: {rule}")]
    Contradiction {
        /// What it speaks of, as in "order".
        thing: &'static str,
        /// Key of what it speaks of.
        key: String,
        /// The rule that somebody broke.
        rule: Cow<'static, str>,
    },
}

impl InputError {
    /// An input that breaks `rule`, said of the thing: "it has 2 lines, but 3 fulfilments".
    pub fn contradiction(thing: &'static str, key: impl Into<String>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Contradiction { thing, key: key.into(), rule: rule.into() }
    }
}

impl From<InputError> for ProcessError {
    fn from(error: InputError) -> Self {
        Self::poison(Chain(&error).to_string())
    }
}

/// Reads a message whose bytes come from the log, a store or a command.
///
/// # Errors
/// [`InputError::Undecodable`], with the message's name.
pub fn decode<M: Message + Default>(message: &'static str, bytes: impl Borrow<Bytes>) -> Result<M, InputError> {
    M::decode(bytes.borrow().clone()).map_err(|source| InputError::Undecodable { message, source })
}

/// Sees that a record stands under the key of what it speaks of.
///
/// # Errors
/// [`InputError::ForeignKey`].
pub fn check_key(thing: &'static str, key: &str, found: Option<&Bytes>) -> Result<(), InputError> {
    if found.is_some_and(|found| found == key.as_bytes()) {
        return Ok(());
    }
    Err(InputError::ForeignKey { thing, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_message_and_what_is_wrong_in_it() {
        let error = decode::<prost_types::Timestamp>("Nothing", Bytes::from_static(b"\xff")).unwrap_err();
        let ProcessError::Poison(reason) = error.into() else { panic!("it is no fault of the store") };
        assert!(reason.starts_with("the bytes are no Nothing: "), "{reason}");
    }

    #[test]
    fn a_record_under_another_key_or_none_is_refused() {
        let key = Bytes::from_static(b"o-1");
        assert!(check_key("order", "o-1", Some(&key)).is_ok());
        for found in [None, Some(&Bytes::from_static(b"o-2"))] {
            let error = check_key("order", "o-1", found).unwrap_err();
            assert_eq!(error.to_string(), "the record about order o-1 has another key");
        }
    }
}
