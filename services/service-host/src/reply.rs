//! The bytes that a task answers a command with: a response message or a problem. They are remembered by request id, so
//! that a repeated call gets the same answer, and therefore outlive the process: the layout must stay readable.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::Problem;

/// First byte of an answer that is a message.
const OK: u8 = 0;
/// First byte of an answer that is a problem, in postcard.
const PROBLEM: u8 = 1;

/// An answer that is a message.
pub fn encode_ok(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(OK);
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

/// An answer that is a problem.
pub fn encode_problem(problem: &Problem) -> Bytes {
    let bytes =
        postcard::to_extend(problem, vec![PROBLEM]).expect("a problem is plain data and memory is the only limit");
    bytes.into()
}

/// Reads an answer.
///
/// # Errors
/// The problem, if the answer is one; INTERNAL when the bytes are no answer.
pub fn decode<T: Message + Default>(answer: Bytes) -> Result<T, Problem> {
    T::decode(decode_bytes(answer)?).map_err(|error| unreadable(&error))
}

/// Reads an answer and leaves its message encoded.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(mut answer: Bytes) -> Result<Bytes, Problem> {
    let Some(&kind) = answer.first() else { return Err(unreadable(&"it is empty")) };
    let body = answer.split_off(1);
    match kind {
        OK => Ok(body),
        PROBLEM => Err(postcard::from_bytes(&body).unwrap_or_else(|error| unreadable(&error))),
        kind => Err(unreadable(&format_args!("its kind {kind} is unknown"))),
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "answer of a task is unreadable");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::common::v1::Money;

    use super::*;

    #[test]
    fn message_comes_back() {
        let money = Money { currency_code: "EUR".into(), minor_units: -5 };
        assert_eq!(decode::<Money>(encode_ok(&money)).unwrap(), money);
        assert_eq!(decode::<Money>(encode_ok(&Money::default())).unwrap(), Money::default());
    }

    #[test]
    fn problem_comes_back_whole() {
        let problem = Problem::version_conflict(3, 2).retry_after(Duration::from_millis(7));
        assert_eq!(decode::<Money>(encode_problem(&problem)).unwrap_err(), problem);
        let problem = Problem::invalid_field("order.lines", "must not be empty");
        assert_eq!(decode::<Money>(encode_problem(&problem)).unwrap_err(), problem);
    }

    #[test]
    fn bytes_that_are_no_answer_are_internal() {
        for bytes in [&b""[..], b"\x07abc", b"\x01\xff\xff", b"\x00\xff\xff\xff"] {
            assert_eq!(decode::<Money>(Bytes::from_static(bytes)).unwrap_err().reason, "INTERNAL", "{bytes:?}");
        }
    }
}
