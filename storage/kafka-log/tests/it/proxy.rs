//! A wire between the log and its brokers that can lose an answer, or hold a request or a new connection back. It names itself in the brokers'
//! stead wherever they say where they are, so that nothing goes past it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Number of the request that appends.
const PRODUCE: i16 = 0;

/// What is done to appends or connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Pass,
    /// They are carried out, and the connection is cut instead of the answer.
    LoseAnswers,
    /// They wait for [`Proxy::release`], and are then carried out, whoever has given them up meanwhile.
    Hold,
    /// New connections are taken and lead nowhere. Those that there are go on.
    HoldNewcomers,
}

/// The wire.
#[derive(Clone)]
pub(crate) struct Proxy {
    mode: Arc<Mutex<Mode>>,
    release: Arc<Notify>,
    appends: Arc<AtomicUsize>,
    touched: Arc<AtomicUsize>,
    newcomers: watch::Sender<usize>,
    ports: Arc<Mutex<HashMap<u16, u16>>>,
}

impl Proxy {
    /// A wire to these brokers, and their addresses behind it.
    pub(crate) async fn start(brokers: &[String]) -> (Self, Vec<String>) {
        let proxy = Self {
            mode: Arc::new(Mutex::new(Mode::Pass)),
            release: Arc::default(),
            appends: Arc::default(),
            touched: Arc::default(),
            newcomers: watch::Sender::default(),
            ports: Arc::default(),
        };
        let mut addresses = Vec::new();
        for broker in brokers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let behind: u16 = broker.rsplit_once(':').unwrap().1.parse().unwrap();
            proxy.ports.lock().unwrap().insert(behind, port);
            addresses.push(format!("127.0.0.1:{port}"));
            let (proxy, broker) = (proxy.clone(), broker.clone());
            tokio::spawn(async move {
                let mut held = Vec::new();
                while let Ok((client, _)) = listener.accept().await {
                    if *proxy.mode.lock().unwrap() == Mode::HoldNewcomers {
                        held.push(client);
                        proxy.newcomers.send_modify(|count| *count += 1);
                    } else if let Ok(broker) = TcpStream::connect(&broker).await {
                        proxy.join(client, broker);
                    }
                }
            });
        }
        (proxy, addresses)
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Lets what is held go on.
    pub(crate) fn release(&self) {
        self.release.notify_waiters();
    }

    /// How many requests that append have come by.
    pub(crate) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// How many of them something was done to.
    pub(crate) fn touched(&self) -> usize {
        self.touched.load(Ordering::SeqCst)
    }

    /// Waits until so many new connections are held.
    pub(crate) async fn holds_newcomers(&self, least: usize) {
        self.newcomers.subscribe().wait_for(|count| *count >= least).await.unwrap();
    }

    fn join(&self, client: TcpStream, broker: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let cut = Arc::new(Notify::new());
        let lose = Arc::new(Mutex::new(false));
        let (count, answered) = watch::channel(0);
        let wire = Wire { proxy: self.clone(), lose, cut, count, answered };
        tokio::spawn(wire.clone().requests(from_client, to_broker));
        tokio::spawn(wire.answers(from_broker, to_client));
    }
}

/// One connection through the proxy.
#[derive(Clone)]
struct Wire {
    proxy: Proxy,
    lose: Arc<Mutex<bool>>,
    cut: Arc<Notify>,
    /// Answers so far.
    count: watch::Sender<u32>,
    answered: watch::Receiver<u32>,
}

impl Wire {
    async fn requests(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        while let Some(frame) = tokio::select! { frame = read(&mut from) => frame, () = self.cut.notified() => None } {
            let appends = i16::from_be_bytes([frame[4], frame[5]]) == PRODUCE;
            let mode = *self.proxy.mode.lock().unwrap();
            self.proxy.appends.fetch_add(usize::from(appends), Ordering::SeqCst);
            if appends && matches!(mode, Mode::LoseAnswers | Mode::Hold) {
                self.proxy.touched.fetch_add(1, Ordering::SeqCst);
                *self.lose.lock().unwrap() = mode == Mode::LoseAnswers;
            }
            let held = appends && mode == Mode::Hold;
            if held {
                self.proxy.release.notified().await;
            }
            let before = *self.answered.borrow_and_update();
            if to.write_all(&frame).await.is_err() {
                break;
            }
            if held {
                // The client has long gone; the connection stays until the broker has carried it out.
                drop(self.answered.wait_for(|count| *count > before).await);
                break;
            }
        }
    }

    async fn answers(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        while let Some(mut frame) = read(&mut from).await {
            self.count.send_modify(|count| *count += 1);
            if *self.lose.lock().unwrap() {
                break;
            }
            self.proxy.rename(&mut frame);
            // The broker is heard to the end even when the client is gone.
            let _ = to.write_all(&frame).await;
        }
        self.cut.notify_one();
    }
}

impl Proxy {
    /// Puts our ports in the place of the brokers', which stand behind their host's name.
    fn rename(&self, frame: &mut [u8]) {
        const HOST: &[u8] = b"\x00\x09127.0.0.1\x00\x00";
        for at in 0..frame.len().saturating_sub(HOST.len() + 2) {
            if frame[at..].starts_with(HOST) {
                let port = &mut frame[at + HOST.len()..at + HOST.len() + 2];
                let ours = self.ports.lock().unwrap().get(&u16::from_be_bytes([port[0], port[1]])).copied();
                port.copy_from_slice(&ours.unwrap_or(u16::from_be_bytes([port[0], port[1]])).to_be_bytes());
            }
        }
    }
}

/// One frame with its length.
async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await.ok()?;
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}
