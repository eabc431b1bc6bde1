//! What the tests share: a scripted owner, a gateway in front of it, and calls to the gateway as bytes.

#![expect(clippy::disallowed_methods, reason = "an owner that answers as no owner of ours does")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use gateway::{Claim, Config, Current, Gateway, Hint, LocalOwner, NoOwner, Owner, Owners, Setup, Upstream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use service_host::config::{LimitsConfig, ListenConfig};
use service_host::{AccessTokens, Dialer, Problem, Server};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const MESSAGE_BYTES_MAX: usize = 2048;
pub(crate) const GET_ORDER: &str = "/ordermesh.orders.v1.OrderService/GetOrder";
pub(crate) const CREATE_ORDER: &str = "/ordermesh.orders.v1.OrderService/CreateOrder";
pub(crate) const LIST_ORDERS: &str = "/ordermesh.orders.v1.OrderService/ListOrders";
pub(crate) const WATCH_ORDER: &str = "/ordermesh.orders.v1.OrderService/WatchOrder";
pub(crate) const WATCH_ORDERS: &str = "/ordermesh.orders.v1.OrderService/WatchOrders";

/// What an owner received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
}

impl Seen {
    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Script = Arc<dyn Fn(Seen) -> Answering + Send + Sync>;

/// An owner that notes what it is asked and answers as its script says.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Script,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    pub(crate) fn new<F>(script: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self { script: Arc::new(move |seen| Box::pin(script(seen))), seen: Arc::default() }
    }

    /// An owner that answers every call with this message.
    pub(crate) fn answering(message: &impl Message) -> Self {
        let message = message.encode_to_vec();
        Self::new(move |_| std::future::ready(ok_bytes(&message)))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn service(
        &self,
    ) -> impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static {
        let this = self.clone();
        tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let message = if body.len() < 5 { Bytes::new() } else { body.slice(5..) };
                let seen = Seen { path: head.uri.path().to_owned(), headers: head.headers, message };
                this.seen.lock().unwrap().push(seen.clone());
                Ok((this.script)(seen).await)
            }
        })
    }
}

/// One owner for everything, but for partitions that have none.
#[derive(Debug)]
pub(crate) struct OneOwner {
    owner: Mutex<Owner>,
    epoch: AtomicU64,
    /// Who takes over when somebody names it.
    pub(crate) next: Mutex<Option<Owner>>,
    pub(crate) standbys: Mutex<Vec<Owner>>,
    changes: watch::Sender<u64>,
    pub(crate) asked: Mutex<Vec<(String, u32)>>,
    pub(crate) without: Mutex<HashSet<u32>>,
}

impl OneOwner {
    pub(crate) fn new(owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            owner: Mutex::new(owner),
            epoch: AtomicU64::new(1),
            next: Mutex::default(),
            standbys: Mutex::default(),
            changes: watch::Sender::new(0),
            asked: Mutex::default(),
            without: Mutex::default(),
        })
    }

    /// Another owner has claimed everything.
    pub(crate) fn claimed_by(&self, owner: Owner) {
        *self.owner.lock().unwrap() = owner;
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.without.lock().unwrap().clear();
        self.changes.send_modify(|number| *number += 1);
    }
}

impl Owners for OneOwner {
    fn partitions(&self) -> u32 {
        PARTITIONS
    }

    fn partition_of(&self, key: &[u8]) -> u32 {
        partition_of(key)
    }

    fn owner(&self, role: &str, partition: u32) -> Result<Current, NoOwner> {
        self.asked.lock().unwrap().push((role.to_owned(), partition));
        if self.without.lock().unwrap().contains(&partition) {
            return Err(NoOwner);
        }
        let claim = Claim { instance: "owner".into(), epoch: self.epoch.load(Ordering::Relaxed) };
        Ok(Current { owner: self.owner.lock().unwrap().clone(), claim })
    }

    fn standbys(&self, _: &str, _: u32) -> Vec<Owner> {
        self.standbys.lock().unwrap().clone()
    }

    fn heed(&self, _: &str, _: u32, hint: &Hint) {
        let is_newer = hint.claim.epoch > self.epoch.load(Ordering::Relaxed);
        if let Some(next) = self.next.lock().unwrap().take().filter(|_| is_newer) {
            self.claimed_by(next);
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Tests need a partitioning that they know, not the real one.
pub(crate) fn partition_of(key: &[u8]) -> u32 {
    key.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))) % PARTITIONS
}

/// A gateway on a free port and a connection to it.
pub(crate) struct Fixture {
    pub(crate) owners: Arc<OneOwner>,
    pub(crate) draining: CancellationToken,
    pub(crate) address: http::Uri,
    client: Client<HttpConnector, Body>,
}

impl Fixture {
    pub(crate) async fn new(owner: &Scripted) -> Self {
        Self::with(Owner::Local(LocalOwner::new(owner.service())), Config::default()).await
    }

    pub(crate) async fn configured(owner: &Scripted, config: Config) -> Self {
        Self::with(Owner::Local(LocalOwner::new(owner.service())), config).await
    }

    /// The owner in another server, as in another process.
    pub(crate) async fn remote(owner: &Scripted) -> Self {
        let address = serve(owner.service()).await;
        Self::with(remote(&address, 2), Config::default()).await
    }

    pub(crate) async fn with(owner: Owner, config: Config) -> Self {
        Self::guarded(owner, config, None).await
    }

    pub(crate) async fn guarded(owner: Owner, config: Config, tokens: Option<AccessTokens>) -> Self {
        let owners = OneOwner::new(owner);
        let draining = CancellationToken::new();
        let operations = Scripted::answering(&());
        let operations = LocalOwner::new(operations.service());
        let setup = Setup {
            config,
            message_bytes_max: MESSAGE_BYTES_MAX,
            descriptors: proto::FILE_DESCRIPTOR_SET,
            owners: owners.clone(),
            operations,
            tokens,
            draining: draining.clone(),
        };
        let address = serve(Gateway::new(setup).unwrap()).await;
        Self { owners, draining, address, client: client() }
    }

    /// Another client of the same gateway, with a connection of its own.
    pub(crate) fn another_client(&self) -> Self {
        let Self { owners, draining, address, .. } = self;
        Self { owners: owners.clone(), draining: draining.clone(), address: address.clone(), client: client() }
    }

    pub(crate) async fn call(&self, path: &str, message: &impl Message) -> Answer {
        self.call_with(path, &[], &message.encode_to_vec()).await
    }

    pub(crate) async fn call_with(&self, path: &str, headers: &[(&'static str, &str)], message: &[u8]) -> Answer {
        self.call_raw(path, headers, framed(message)).await
    }

    /// A call with any bytes as its body.
    pub(crate) async fn call_raw(&self, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> Answer {
        self.call_body(path, headers, Body::new(Full::new(body))).await
    }

    /// A call with any body, which need not end.
    pub(crate) async fn call_body(&self, path: &str, headers: &[(&'static str, &str)], body: Body) -> Answer {
        let (head, body) = self.begin(path, headers, body).await.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let body = collected.to_bytes();
        let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
        let message = if body.len() < 5 { Bytes::new() } else { body.slice(5..) };
        Answer {
            http: head.status,
            headers: head.headers,
            status: status.unwrap_or_else(|| Status::unknown("none")),
            message,
        }
    }

    /// Opens a stream, and leaves it to be read.
    pub(crate) async fn open(&self, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> Body {
        self.begin(path, headers, Body::new(Full::new(body))).await.into_body()
    }

    async fn begin(&self, path: &str, headers: &[(&'static str, &str)], body: Body) -> Response<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        let type_and_te = [("content-type", "application/grpc"), ("te", "trailers")];
        for (name, value) in type_and_te.iter().chain(headers) {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        *request.uri_mut() = format!("{}{}", self.address.to_string().trim_end_matches('/'), path).parse().unwrap();
        // Not a client of tonic, which ends calls by itself at their deadline.
        self.client.request(request).await.unwrap().map(Body::new)
    }
}

fn client() -> Client<HttpConnector, Body> {
    // Whatever an owner answers shall be seen, also what other clients would not take.
    Client::builder(TokioExecutor::new()).http2_only(true).http2_max_header_list_size(1 << 20).build_http()
}

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: http::StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) status: Status,
    pub(crate) message: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok<M: Message + Default>(&self) -> M {
        assert_eq!(self.status.code(), Code::Ok, "{:?}", self.problem());
        M::decode(self.message.clone()).unwrap()
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem::from(&self.status)
    }

    /// Code and reason of a refusal.
    pub(crate) fn refusal(&self) -> (Code, String) {
        (self.status.code(), self.problem().reason.into_owned())
    }
}

/// An owner at the other end of connections.
pub(crate) fn remote(address: &http::Uri, connections: usize) -> Owner {
    Owner::Remote(Upstream::new(&Dialer::plain(), address.authority().unwrap().as_str(), connections).unwrap())
}

/// An owner whose answers begin with an empty message and do not end.
pub(crate) fn beginning() -> Scripted {
    Scripted::new(move |_| async move {
        let first = stream::iter([Ok::<_, Infallible>(Frame::data(framed(b"")))]);
        streamed(first.chain(stream::pending()))
    })
}

/// An answer of these frames.
pub(crate) fn streamed<E>(frames: impl Stream<Item = Result<Frame<Bytes>, E>> + Send + 'static) -> Response<Body>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Body::new(StreamBody::new(Box::pin(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// Serves on a free port until the test ends.
pub(crate) async fn serve<S>(service: S) -> http::Uri
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(&ListenConfig::default(), &LimitsConfig::default());
    tokio::spawn(server.serve(listener, service, CancellationToken::new()));
    format!("http://{address}").parse().unwrap()
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    body.into()
}

/// A successful answer.
pub(crate) fn ok(message: &impl Message) -> Response<Body> {
    ok_bytes(&message.encode_to_vec())
}

pub(crate) fn ok_bytes(message: &[u8]) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed(message)).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}
