//! A TCP proxy in front of one broker node, which can lose what passes.
//!
//! Brokers advertise the proxy's address, so that clients and the other brokers all come through it. A reset is a real one
//! (RST), as a peer that died would send it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are carried at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What the proxy does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries it.
    Pass,
    /// Accepts connections and carries nothing: a peer that hangs. What waits is carried afterwards.
    Mute,
    /// Carries requests, and resets the connection at the first byte of an answer: an append whose outcome is unknown.
    LoseAnswers,
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
    let requests = pump(client_in, server_out, order.clone(), false);
    let answers = pump(server_in, client_out, order.clone(), true);
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

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, order: watch::Receiver<Order>, answers: bool) {
    let _ = (from.as_ref().set_zero_linger(), to.as_ref().set_zero_linger());
    let order = Arc::new(order);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
        let mut watched = (*order).clone();
        // The sender lives as long as the proxy; when it is gone, so is the campaign.
        if watched.wait_for(|order| order.mode != Mode::Mute).await.is_err() {
            return;
        }
        if answers && order.borrow().mode == Mode::LoseAnswers {
            return;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
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
}
