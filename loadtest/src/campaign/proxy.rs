//! A TCP proxy in front of one broker node, or before an instance's address for the others, which can lose and delay what passes.
//!
//! Brokers advertise the proxy's address, so that clients and the other brokers all come through it. A reset is a real one
//! (RST), as a peer that died would send it. Bytes of one direction of a connection never overtake each other; those of two may.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::arrivals::Draw;

/// Bytes that are carried at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that may be under way in one direction of a connection.
const HELD_MAX: usize = 64;
/// Longest delay of a slow network, in milliseconds; the mean is half of it.
const DELAY_MS: u64 = 400;
/// Of a hundred chunks, those that a lossy network loses on the way back and that are sent again.
const LOST_PERCENT: u64 = 30;
/// First time-out after which TCP sends again what was lost, in milliseconds (Linux: 200).
const RESEND_MS: u64 = 200;
/// One chunk of so many comes with a reset, when the network is lossy.
const RESET_ONE_IN: u64 = 200;

/// What the proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries it.
    Pass,
    /// Accepts connections and carries nothing: a peer that hangs. What waits is carried afterwards.
    Mute,
    /// Carries requests, and resets the connection at the first byte of an answer: an append whose outcome is unknown.
    LoseAnswers,
    /// Carries everything, each chunk up to 400 ms later, on every connection by itself.
    Delay,
    /// Of what comes back 30 % have to be sent again, and now and then a connection is reset.
    Lossy,
}

/// One order to all connections: the mode, and how often everything was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    mode: Mode,
    resets: u64,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    order: watch::Sender<Order>,
    job: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, for a broker at `upstream`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (order, watched) = watch::channel(Order { mode: Mode::Pass, resets: 0 });
        let job = tokio::spawn(async move {
            // An accept that fails (no more files, say) is a connection less.
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, watched.clone()));
            }
        });
        Ok(Self { address, order, job })
    }

    /// Does something else from now on.
    pub fn set(&self, mode: Mode) {
        self.order.send_modify(|order| order.mode = mode);
    }

    /// Resets every connection.
    pub fn reset(&self) {
        self.order.send_modify(|order| order.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.job.abort();
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, mut order: watch::Receiver<Order>) {
    let resets = order.borrow_and_update().resets;
    let Ok(server) = TcpStream::connect(upstream).await else {
        return reset(client);
    };
    // Delays that the proxy added would be taken for the mesh's.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    // No two connections share their luck.
    let luck = |way| Draw::new(u64::from(client_in.peer_addr().map_or(0, |address| address.port())), way);
    let (there, back) = (luck(0), luck(1));
    let requests = pump(client_in, server_out, order.clone(), false, there);
    let answers = pump(server_in, client_out, order.clone(), true, back);
    let was_reset = async move {
        // The sender lives as long as the proxy.
        while order.changed().await.is_ok() {
            if order.borrow().resets != resets {
                return;
            }
        }
    };
    let mut requests = std::pin::pin!(requests);
    let mut answers = std::pin::pin!(answers);
    // Whichever ends first ends the connection; both halves of a side are dropped as one socket with what is unsent.
    tokio::select! {
        () = &mut requests => {}
        () = &mut answers => {}
        () = was_reset => {}
    }
}

fn reset(stream: TcpStream) {
    // Without a lingering time the kernel sends RST at the close.
    let _ = stream.set_zero_linger();
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut order: watch::Receiver<Order>,
    is_answer: bool,
    mut luck: Draw,
) {
    let _ = (from.as_ref().set_zero_linger(), to.as_ref().set_zero_linger());
    let (sender, mut held) = mpsc::channel::<(Instant, Vec<u8>)>(HELD_MAX);
    let take = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut arrives = Instant::now();
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            // The sender lives as long as the proxy; when it is gone, so is the campaign.
            let Ok(mode) = order.wait_for(|order| order.mode != Mode::Mute).await.map(|order| order.mode) else {
                return;
            };
            let Some(delay) = fate(mode, is_answer, &mut luck) else { return };
            arrives = arrives.max(Instant::now() + delay);
            if sender.send((arrives, chunk[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((arrives, chunk)) = held.recv().await {
            if arrives > Instant::now() {
                sleep_until(arrives).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    let take_and_leave_the_rest = async {
        take.await;
        std::future::pending::<()>().await;
    };
    // When no more comes, what is held is still given.
    tokio::select! {
        () = give => {}
        () = take_and_leave_the_rest => {}
    }
}

/// How much later a chunk arrives; none, when the connection is reset instead.
fn fate(mode: Mode, is_answer: bool, luck: &mut Draw) -> Option<Duration> {
    match mode {
        Mode::Pass | Mode::Mute => Some(Duration::ZERO),
        Mode::LoseAnswers => (!is_answer).then_some(Duration::ZERO),
        Mode::Delay => Some(Duration::from_millis(luck.below(DELAY_MS + 1))),
        Mode::Lossy if luck.below(RESET_ONE_IN) == 0 => None,
        Mode::Lossy => {
            let mut delay = Duration::ZERO;
            let mut resend = Duration::from_millis(RESEND_MS);
            // Each time that it is lost again, TCP waits twice as long.
            while is_answer && luck.below(100) < LOST_PERCENT {
                delay += resend;
                resend *= 2;
            }
            Some(delay)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn said(stream: &mut TcpStream) -> std::io::Result<[u8; 2]> {
        stream.write_all(b"hi").await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn what_passes_arrives_and_a_reset_ends_it() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(&said(&mut stream).await.unwrap(), b"hi");
        proxy.reset();
        assert!(stream.read(&mut [0; 1]).await.map_or(true, |read| read == 0), "it is cut");
        let mut again = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(&said(&mut again).await.unwrap(), b"hi");
    }

    #[tokio::test]
    async fn answers_are_lost_and_what_was_held_back_arrives_later() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        proxy.set(Mode::LoseAnswers);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert!(said(&mut stream).await.is_err());
        proxy.set(Mode::Mute);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let held = tokio::spawn(async move { said(&mut stream).await });
        proxy.set(Mode::Pass);
        assert_eq!(&held.await.unwrap().unwrap(), b"hi");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_network_delays_and_loses_nothing() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        proxy.set(Mode::Delay);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let begin = Instant::now();
        for _ in 0..20 {
            assert_eq!(&said(&mut stream).await.unwrap(), b"hi");
        }
        // There and back, 20 times, each time half of the longest delay in the mean.
        let mean = begin.elapsed() / 40;
        assert!(mean > Duration::from_millis(DELAY_MS / 4) && mean < Duration::from_millis(DELAY_MS), "{mean:?}");
    }

    #[test]
    fn a_lossy_network_sends_answers_again_and_resets_now_and_then() {
        let mut luck = Draw::new(1, 1);
        let fates: Vec<_> = (0..10_000).map(|_| fate(Mode::Lossy, true, &mut luck)).collect();
        let late = fates.iter().flatten().filter(|delay| !delay.is_zero()).count();
        let reset = fates.iter().filter(|fate| fate.is_none()).count();
        assert!((2_800..3_200).contains(&late), "{late}");
        assert!((25..100).contains(&reset), "{reset}");
        assert!(
            (0..100).all(|_| fate(Mode::Lossy, false, &mut luck).is_none_or(|delay| delay.is_zero())),
            "one way only"
        );
    }
}
