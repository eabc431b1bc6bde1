//! A schema registry that speaks Confluent's API over a real connection, and compiles what it is given, as those of others do:
//! what it answers, tests rely on. It also decodes values as a console does, from nothing but the value and what is registered.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost_reflect::{DynamicMessage, FieldDescriptor, FileDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Name under which a schema is compiled that is not imported by another.
const MAIN: &str = "main.proto";

/// What it does with a request instead of answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryTrouble {
    /// Answers with this status.
    Answer(u16),
    /// Never answers.
    Silence,
}

#[derive(Debug, Clone, PartialEq)]
struct Schema {
    text: String,
    references: Vec<Value>,
}

#[derive(Debug, Default)]
struct State {
    /// By id, from 1.
    schemas: Vec<Schema>,
    /// Ids by version, from 1.
    subjects: BTreeMap<String, Vec<usize>>,
    trouble: VecDeque<RegistryTrouble>,
    login: Option<String>,
    requests: usize,
}

/// A registry that listens until it is dropped.
#[derive(Debug)]
pub struct RegistryServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    job: JoinHandle<()>,
}

impl RegistryServer {
    /// A registry on a free port.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), None).await
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn over_tls(tls: rustls::ServerConfig) -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    /// The same at an address.
    ///
    /// # Panics
    /// It is taken.
    pub async fn at(address: SocketAddr) -> Self {
        Self::listen(address, None).await
    }

    async fn listen(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let job = tokio::spawn(accept(listener, tls, state.clone()));
        Self { address, scheme, state, job }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Answers only those who log in like this from now on.
    pub fn wants_login(&self, username: &str, password: &str) {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        lock(&self.state).login = Some(format!("Basic {pair}"));
    }

    /// Does this to the next requests, one each.
    pub fn misbehave(&self, trouble: impl IntoIterator<Item = RegistryTrouble>) {
        lock(&self.state).trouble.extend(trouble);
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// All subjects, each with how many versions it has.
    #[must_use]
    pub fn subjects(&self) -> BTreeMap<String, usize> {
        lock(&self.state).subjects.iter().map(|(name, versions)| (name.clone(), versions.len())).collect()
    }

    /// Registers a schema without imports, as somebody else did before.
    ///
    /// # Panics
    /// It cannot be compiled.
    pub fn has(&self, subject: &str, text: &str) {
        let mut state = lock(&self.state);
        let (status, answer) = state.register(subject, Schema { text: text.to_owned(), references: Vec::new() });
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// Deletes a subject, as people do who made a mistake.
    pub fn forgets(&self, subject: &str) {
        lock(&self.state).subjects.remove(subject);
    }

    /// The message that a value is, and its content as JSON: what a console shows.
    ///
    /// # Panics
    /// The value is not framed, or what is registered does not fit.
    #[must_use]
    pub fn decode(&self, value: &[u8]) -> (String, Value) {
        let (zero, rest) = value.split_first().expect("a value");
        assert_eq!(*zero, 0, "a framed value begins with zero");
        let (id, mut rest) = rest.split_first_chunk::<4>().expect("the number of a schema");
        let id = u32::from_be_bytes(*id) as usize;
        let path: Vec<usize> = match numbers(&mut rest, 1)[0] {
            0 => vec![0],
            count => numbers(&mut rest, count),
        };
        let state = lock(&self.state);
        let file = state.compile(&state.schemas[id - 1]).expect("what is registered compiles");
        let mut message = file.messages().nth(path[0]).expect("the file has the message");
        for index in &path[1..] {
            let inner = message.child_messages().nth(*index);
            message = inner.expect("the message has the message");
        }
        let name = message.full_name().to_owned();
        let decoded = DynamicMessage::decode(message, rest).expect("the value is the message");
        (name, serde_json::to_value(&decoded).expect("messages are JSON"))
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.job.abort();
    }
}

/// Numbers as protobuf's `sint32` has them, none of them negative.
fn numbers(rest: &mut &[u8], count: usize) -> Vec<usize> {
    let mut next = || {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (byte, behind) = rest.split_first().expect("a number");
            *rest = behind;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number / 2
    };
    (0..count).map(|_| next()).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client that goes away, or does not trust us, is none of the server's business.
            match tls {
                None => drop(server.serve_connection(TokioIo::new(connection), service).await),
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        drop(server.serve_connection(TokioIo::new(connection), service).await);
                    }
                }
            }
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let login = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let trouble = {
        let mut state = lock(&state);
        state.requests += 1;
        state.trouble.pop_front()
    };
    let (status, answer) = match trouble {
        Some(RegistryTrouble::Silence) => std::future::pending().await,
        Some(RegistryTrouble::Answer(status)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, json!({ "error_code": 50001, "message": "trouble" }))
        }
        None => lock(&state).answer(&method, &path, login.as_deref(), &body),
    };
    let response = Response::builder().status(status).header("content-type", "application/vnd.schemaregistry.v1+json");
    Ok(response.body(Full::from(answer.to_string())).expect("a response of constant parts"))
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, login: Option<&str>, body: &[u8]) -> (StatusCode, Value) {
        if self.login.is_some() && self.login.as_deref() != login {
            return error(40101, "Unauthorized");
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let schema = serde_json::from_slice(body).ok().and_then(|body: Value| {
            let references = body.get("references").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_protobuf = body.get("schemaType").and_then(Value::as_str) == Some("PROTOBUF");
            let text = body.get("schema").and_then(Value::as_str).filter(|_| is_protobuf)?.to_owned();
            Some(Schema { text, references })
        });
        match (method, parts.as_slice(), schema) {
            (&Method::POST, ["subjects", subject, "versions"], Some(schema)) => self.register(subject, schema),
            (&Method::POST, ["subjects", subject], Some(schema)) => self.look_up(subject, &schema),
            (&Method::POST, _, None) => error(42201, "Invalid schema"),
            _ => error(404, "HTTP 404 Not Found"),
        }
    }

    fn register(&mut self, subject: &str, schema: Schema) -> (StatusCode, Value) {
        let compiled = match self.compile(&schema) {
            Ok(compiled) => compiled,
            Err(reason) => return error(42201, &format!("Invalid schema: {reason}")),
        };
        let latest = self.subjects.get(subject).and_then(|versions| versions.last()).map(|id| &self.schemas[id - 1]);
        let before = latest.and_then(|latest| self.compile(latest).ok());
        if let Some(broken) = before.and_then(|before| first_break(&before, &compiled)) {
            let problem = "Schema being registered is incompatible with an earlier schema for subject";
            return error(409, &format!("{problem} \"{subject}\", details: [{broken}]"));
        }
        let id = self.schemas.iter().position(|known| *known == schema).map_or_else(
            || {
                self.schemas.push(schema);
                self.schemas.len()
            },
            |index| index + 1,
        );
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        (StatusCode::OK, json!({ "id": id }))
    }

    fn look_up(&self, subject: &str, schema: &Schema) -> (StatusCode, Value) {
        let Some(versions) = self.subjects.get(subject) else { return error(40401, "Subject not found") };
        let Some(version) = versions.iter().position(|id| self.schemas[id - 1] == *schema) else {
            return error(40403, "Schema not found");
        };
        let answer =
            json!({ "subject": subject, "id": versions[version], "version": version + 1, "schema": schema.text });
        (StatusCode::OK, answer)
    }

    fn compile(&self, schema: &Schema) -> Result<FileDescriptor, String> {
        let mut files = BTreeMap::from([(MAIN.to_owned(), schema.text.clone())]);
        self.gather(schema, &mut files)?;
        let mut resolver = ChainFileResolver::new();
        resolver.add(Registered(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(MAIN).map_err(|error| error.to_string())?;
        compiler.descriptor_pool().get_file_by_name(MAIN).ok_or_else(|| "it is not there".to_owned())
    }

    fn gather(&self, schema: &Schema, files: &mut BTreeMap<String, String>) -> Result<(), String> {
        for reference in &schema.references {
            let text = |name: &str| reference.get(name).and_then(Value::as_str).ok_or(format!("no {name}"));
            let (name, subject) = (text("name")?, text("subject")?);
            let version = reference.get("version").and_then(Value::as_u64).ok_or("no version")? as usize;
            let versions = self.subjects.get(subject).ok_or(format!("no subject {subject}"))?;
            let id = versions.get(version.wrapping_sub(1)).ok_or(format!("no version {version} of {subject}"))?;
            let imported = &self.schemas[id - 1];
            if files.insert(name.to_owned(), imported.text.clone()).is_none() {
                self.gather(imported, files)?;
            }
        }
        Ok(())
    }
}

fn error(code: u32, message: &str) -> (StatusCode, Value) {
    let status = if code > 999 { code / 100 } else { code };
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), json!({ "error_code": code, "message": message }))
}

/// The first field that another type has now: the least that every registry looks at.
fn first_break(before: &FileDescriptor, after: &FileDescriptor) -> Option<String> {
    for message in before.messages() {
        let Some(now) = after.messages().find(|now| now.full_name() == message.full_name()) else { continue };
        for field in message.fields() {
            // By name: they were compiled apart, and are never the same.
            let kind = |field: &FieldDescriptor| format!("{:?}", field.kind());
            if now.get_field(field.number()).is_some_and(|now| kind(&now) != kind(&field)) {
                return Some(format!("FIELD_SCALAR_KIND_CHANGED {}", field.full_name()));
            }
        }
    }
    None
}

struct Registered(BTreeMap<String, String>);

impl FileResolver for Registered {
    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        path.to_str().filter(|name| self.0.contains_key(*name)).map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, text)
    }
}
