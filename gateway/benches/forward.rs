//! What the gateway costs: CPU of its thread for each forwarded unary call, beside a bare forwarder that passes every
//! request on unread, in the same run, to the same backend, from the same client.
//!
//! `cargo bench -p gateway --bench forward [-- CALLS [ROUNDS]]`. Each forwarder runs on a thread of its own whose time on
//! the processor the kernel counts; rounds alternate, and medians are shown. The target is a ratio of at most 1.5.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway::{Claim, Config, Current, Gateway, LocalOwner, NoOwner, Owner, Owners, Setup, Upstream};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use prost::Message;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{GetOrderRequest, GetOrderResponse, Order};
use service_host::Server;
use service_host::config::{LimitsConfig, ListenConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

const CALLS: usize = 40_000;
const ROUNDS: usize = 5;
const CALLS_AT_A_TIME: usize = 16;

/// A server on a thread of its own.
struct Peer {
    address: Uri,
    thread: String,
}

impl Peer {
    /// Runs `serve` with a listener on a thread of this name (at most 15 characters, as the kernel has it).
    fn start<F: Future<Output = ()> + Send + 'static>(
        thread: &str,
        serve: impl FnOnce(TcpListener) -> F + Send + 'static,
    ) -> Self {
        let (ready, address) = std::sync::mpsc::channel();
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                serve(listener).await;
            });
        };
        std::thread::Builder::new().name(thread.to_owned()).spawn(body).unwrap();
        let address = format!("http://{}", address.recv().unwrap()).parse().unwrap();
        Self { address, thread: thread.to_owned() }
    }

    /// Time that its thread has spent on a processor.
    fn cpu(&self) -> Duration {
        for task in std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok) {
            let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if name.trim_end() == self.thread {
                let schedstat = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
                return Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap());
            }
        }
        panic!("no thread {}", self.thread)
    }
}

fn server() -> Server {
    Server::new(&ListenConfig::default(), &LimitsConfig::default())
}

/// Answers every call with the same order.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    request.into_body().collect().await.unwrap();
    let order = Order { order_id: "0198c9d2-7b34-7c44-9f0a-3a5d1c2b7e10".to_owned(), ..Default::default() };
    let message = GetOrderResponse { order: Some(order), served_by: None }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap())
}

/// The least that a forwarder does.
async fn pass_on(channel: Channel, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(channel.oneshot(request).await.unwrap())
}

#[derive(Debug)]
struct OneUpstream(Upstream);

impl Owners for OneUpstream {
    fn partitions(&self) -> u32 {
        8
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        u32::from(key.first().copied().unwrap_or_default()) % 8
    }

    fn owner(&self, _: &str, _: u32) -> Result<Current, NoOwner> {
        Ok(Current { owner: Owner::Remote(self.0.clone()), claim: Claim { instance: "backend".into(), epoch: 1 } })
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::Sender::new(0).subscribe()
    }
}

fn bare_tonic(backend: Uri) -> Peer {
    Peer::start("bare-tonic", |listener| async move {
        let channel = Endpoint::from(backend).connect_lazy();
        let forward = tower::service_fn(move |request| pass_on(channel.clone(), request));
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder().serve_with_incoming(forward, incoming).await.unwrap();
    })
}

fn bare_host(backend: Uri) -> Peer {
    Peer::start("bare-host", |listener| async move {
        let channel = Endpoint::from(backend).connect_lazy();
        let forward = tower::service_fn(move |request| pass_on(channel.clone(), request));
        server().serve(listener, forward, CancellationToken::new()).await;
    })
}

fn gateway(backend: Uri) -> Peer {
    Peer::start("gateway", |listener| async move {
        let address = backend.authority().unwrap().as_str();
        let upstream = Upstream::new(&service_host::Dialer::plain(), address, 1).unwrap();
        let setup = Setup {
            config: Config::default(),
            message_bytes_max: 1 << 20,
            descriptors: proto::FILE_DESCRIPTOR_SET,
            owners: Arc::new(OneUpstream(upstream)),
            operations: LocalOwner::new(tower::service_fn(answer)),
            tokens: None,
            draining: CancellationToken::new(),
        };
        server().serve(listener, Gateway::new(setup).unwrap(), CancellationToken::new()).await;
    })
}

/// Makes the calls and returns how long they took.
async fn load(address: &Uri, calls: usize) -> Duration {
    let channel = Endpoint::from(address.clone()).connect().await.unwrap();
    let begin = Instant::now();
    let workers = (0..CALLS_AT_A_TIME).map(|worker| {
        let mut client = OrderServiceClient::new(channel.clone());
        tokio::spawn(async move {
            for n in 0..calls / CALLS_AT_A_TIME {
                let order_id = format!("0198c9d2-7b34-7c44-9f0a-{worker:04}{n:08}");
                client.get_order(GetOrderRequest { order_id, ..Default::default() }).await.unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    begin.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let calls = numbers.first().copied().unwrap_or(CALLS);
    let rounds = numbers.get(1).copied().unwrap_or(ROUNDS).max(1);
    let backend = Peer::start("backend", |listener| async move {
        server().serve(listener, tower::service_fn(answer), CancellationToken::new()).await;
    });
    let forwarders =
        [bare_tonic(backend.address.clone()), bare_host(backend.address.clone()), gateway(backend.address)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut micros = vec![Vec::new(); forwarders.len()];
    let mut rates = micros.clone();
    for forwarder in &forwarders {
        runtime.block_on(load(&forwarder.address, calls / 10));
    }
    for _ in 0..rounds {
        for (at, forwarder) in forwarders.iter().enumerate() {
            let before = forwarder.cpu();
            let took = runtime.block_on(load(&forwarder.address, calls));
            micros[at].push((forwarder.cpu() - before).as_secs_f64() * 1e6 / calls as f64);
            rates[at].push(calls as f64 / took.as_secs_f64());
        }
    }
    println!("{calls} calls, {CALLS_AT_A_TIME} at a time, median of {rounds} rounds");
    println!("{:<12} {:>14} {:>10} {:>8}", "forwarder", "CPU us/call", "calls/s", "ratio");
    let bare = median(&mut micros[0]);
    for (at, forwarder) in forwarders.iter().enumerate() {
        let (micros, rate) = (median(&mut micros[at]), median(&mut rates[at]));
        println!("{:<12} {micros:>14.1} {rate:>10.0} {:>8.2}", forwarder.thread, micros / bare);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
