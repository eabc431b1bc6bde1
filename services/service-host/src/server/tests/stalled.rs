//! Callers that take nothing, or little at a time, of their answers.

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::frame as message;
use super::raw::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, frame, receive};
use super::*;

const WINDOW_UPDATE: u8 = 8;
const CANCEL: u32 = 8;

/// What begins and ends a call for an order, with these headers beside those that it needs.
fn call(stream: u32, order_id: &str, headers: &[u8]) -> Vec<u8> {
    // POST http://a/..., with what is not in the static table as literals (RFC 7541, section 6.2.2 and appendix A).
    let path = [&[4, u8::try_from(GET_ORDER.len()).unwrap()], GET_ORDER.as_bytes()].concat();
    let request = [&[0x83, 0x86, 0x41, 1, b'a'], &path[..], headers].concat();
    let body = message(&get(order_id).encode_to_vec());
    [frame(HEADERS, END_HEADERS, stream, &request), frame(DATA, END_STREAM, stream, &body)].concat()
}

/// Calls for a large answer and lets one byte of it come.
async fn call_and_take_a_byte(address: SocketAddr, headers: &[u8]) -> TcpStream {
    // SETTINGS_INITIAL_WINDOW_SIZE is 1.
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let opening = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &call(1, "large", headers)].concat();
    stream.write_all(&opening).await.unwrap();
    stream
}

/// Reads until the call is reset and returns the reason.
async fn reset(stream: &mut TcpStream) -> u32 {
    let frames = async {
        loop {
            let (kind, _, number, payload) = receive(stream).await.expect("the connection holds");
            if kind == RST_STREAM && number == 1 {
                return u32::from_be_bytes(payload.try_into().unwrap());
            }
        }
    };
    tokio::time::timeout(SOON, frames).await.expect("it is reset")
}

#[tokio::test]
async fn who_takes_nothing_is_reset_and_gives_back_his_place() {
    let limits = LimitsConfig { calls_max: 1, send_timeout: Duration::from_millis(50), ..Default::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    let mut stalled = call_and_take_a_byte(server.address, &[]).await;
    assert_eq!(reset(&mut stalled).await, CANCEL);
    let client = server.client().await;
    assert!(client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    drop(stalled);
    server.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_until_his_deadline_is_reset_then() {
    let server = Running::start(ListenConfig::default(), LimitsConfig::default()).await;
    let timeout = [&[0, 12][..], b"grpc-timeout", &[3], b"50m"].concat();
    let mut stalled = call_and_take_a_byte(server.address, &timeout).await;
    assert_eq!(reset(&mut stalled).await, CANCEL);
    drop(stalled);
    server.stop().await;
}

#[tokio::test]
async fn what_was_not_taken_of_an_answer_goes_with_the_call_and_harms_no_other() {
    let limits = LimitsConfig { send_timeout: Duration::from_millis(50), ..Default::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    let mut stalled = call_and_take_a_byte(server.address, &[]).await;
    let (mut came, mut was_reset) = (0, false);
    while !was_reset {
        let next = tokio::time::timeout(SOON, receive(&mut stalled)).await.expect("it is reset");
        let (kind, _, number, payload) = next.unwrap();
        match (kind, number) {
            (DATA, 1) => came += payload.len(),
            (RST_STREAM, 1) => was_reset = true,
            _ => {}
        }
    }
    assert_eq!(came, 1, "the rest went with the call");
    // What comes too late for the call does no harm to others of the connection.
    stalled.write_all(&frame(WINDOW_UPDATE, 0, 1, &(1_u32 << 20).to_be_bytes())).await.unwrap();
    stalled.write_all(&call(3, "unknown", &[])).await.unwrap();
    loop {
        let (kind, _, number, _) =
            tokio::time::timeout(SOON, receive(&mut stalled)).await.expect("it is answered").unwrap();
        if (kind, number) == (HEADERS, 3) {
            break;
        }
    }
    drop(stalled);
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let request: Bytes = message(&get("large").encode_to_vec());
    let answer: GetOrderResponse = client.call_raw(GET_ORDER, &[], request).await.unwrap();
    assert_eq!(answer.order.unwrap().order_id, "x".repeat(1 << 20));
    server.stop().await;
}
