//! What attackers send on purpose: floods that cost them little. They are cut, and others are answered meanwhile.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncWriteExt, BufReader};

use super::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, REQUEST, RST_STREAM,
    SETTINGS, connect, frame, receive,
};
use super::*;

/// Sends what `again` gives, numbered, until the connection has ended. Returns why it was ended, if that could still be read:
/// what was sent and not read turns the end into a reset.
async fn flood(address: SocketAddr, opening: &[u8], again: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let (mut read, mut write) = connect(address, opening).await.into_split();
    let sends = async {
        for number in 0.. {
            if write.write_all(&again(number)).await.is_err() {
                return;
            }
        }
    };
    let reads = async {
        let mut reason = None;
        while let Ok((kind, _, _, payload)) = receive(&mut read).await {
            if kind == GOAWAY {
                reason = payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
        reason
    };
    tokio::join!(sends, reads).1
}

/// Awaits an attack while somebody else makes calls, each of which must be answered.
async fn beside_good_calls<T>(server: &Running, attack: impl Future<Output = T>) -> T {
    let (client, over) = (server.client().await, AtomicBool::new(false));
    let good = async {
        while !over.load(Ordering::Relaxed) {
            let request = get("o-1");
            let answer = client.call::<GetOrderResponse>(GET_ORDER, &[], &request);
            tokio::time::timeout(SOON, answer).await.expect("it is answered").unwrap();
        }
    };
    let bad = async {
        let ended = tokio::time::timeout(SOON, attack).await.expect("the attack comes to an end");
        over.store(true, Ordering::Relaxed);
        ended
    };
    tokio::join!(good, bad).1
}

async fn is_cut(opening: &[u8], again: impl Fn(u32) -> Vec<u8>) {
    let server = Running::start_default().await;
    let reason = beside_good_calls(&server, flood(server.address, opening, again)).await;
    assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{reason:?}");
    server.stop().await;
}

#[tokio::test]
async fn who_resets_one_stream_after_the_other_is_cut() {
    let call = |number| {
        let stream = 2 * number + 1;
        let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
        [opened, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    is_cut(&[], |number| (number * 10_000..(number + 1) * 10_000).flat_map(call).collect()).await;
}

#[tokio::test]
async fn who_never_ends_his_headers_is_cut() {
    let opening = frame(HEADERS, END_STREAM, 1, REQUEST);
    is_cut(&opening, |_| frame(CONTINUATION, 0, 1, &[]).repeat(1_000)).await;
    // A header that is not in a table, with a value of 100 bytes.
    let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
    is_cut(&opening, |_| frame(CONTINUATION, 0, 1, &field).repeat(100)).await;
}

#[tokio::test]
async fn who_sends_nothing_in_frame_after_frame_is_cut() {
    let opening = frame(HEADERS, END_HEADERS, 1, REQUEST);
    is_cut(&opening, |_| frame(DATA, 0, 1, &[]).repeat(1_000)).await;
}

#[tokio::test]
async fn whose_headers_unpack_to_many_times_their_size_is_cut() {
    // Put into the table once, and named 8,000 times: 24 MB in 11 KB.
    let large = [&[0x40, 1, b'x', 0x7f, 0xb9, 0x16][..], &[b'y'; 3_000]].concat();
    let bomb = [REQUEST, &large, &[0xbe; 8_000]].concat();
    is_cut(&[], |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &bomb)).await;
}

#[tokio::test]
async fn who_asks_for_signs_of_life_all_the_time_gets_them_and_holds_nobody_up() {
    const PINGS: usize = 100_000;
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, &[])] {
        let server = Running::start_default().await;
        let answers = async {
            let (read, mut write) = connect(server.address, &[]).await.into_split();
            let mut read = BufReader::new(read);
            let sends = async { write.write_all(&frame(kind, 0, 0, payload).repeat(PINGS)).await.unwrap() };
            let reads = async {
                let mut answers = 0;
                while answers < PINGS {
                    let (answer, flags, _, _) = receive(&mut read).await.unwrap();
                    answers += usize::from(answer == kind && flags == ACK);
                }
            };
            tokio::join!(sends, reads);
        };
        beside_good_calls(&server, answers).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_cut_and_who_does_may_stay_without_a_call() {
    // Long enough that a busy machine answers in time.
    let (keepalive_interval, keepalive_timeout) = (Duration::from_millis(50), Duration::from_secs(3));
    let limits = LimitsConfig { keepalive_interval, keepalive_timeout, ..LimitsConfig::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    let quiet = server.client().await;
    let mut dead = connect(server.address, &[]).await;
    let mut asked = 0;
    let cut = async {
        while let Ok((kind, flags, ..)) = receive(&mut dead).await {
            asked += u32::from(kind == PING && flags == 0);
        }
    };
    tokio::time::timeout(SOON, cut).await.expect("it is cut");
    assert!(asked > 0, "it was asked before");
    assert!(quiet.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    server.stop().await;
}
