//! One connection to a mesh, calls by the name of the method, and what can go wrong with them.
//!
//! Answers are typed for people's tables and described by the API's own descriptors for JSON, so that no method needs code
//! of its own here.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use service_host::{Code, Problem};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::output::say;
use crate::connect::{self, ConnectError, TlsFlags, TokenFlags};

/// How long a call takes unless it is told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// What an answer may take longer than its deadline on the way, before nobody is expected to answer any more.
const GRACE: Duration = Duration::from_secs(2);

/// Where the mesh is, and how to talk to it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Connection {
    /// Address of the mesh: host and port, or a URL
    #[arg(long, global = true, help_heading = "Connection", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    addr: String,
    /// Prints answers as protobuf JSON
    #[arg(long, global = true, help_heading = "Connection")]
    pub(super) json: bool,
    #[command(flatten)]
    token: TokenFlags,
    #[command(flatten)]
    tls: TlsFlags,
    /// Time for the call, such as 500ms or 1m [default: 10s; none for following]
    #[arg(long, global = true, help_heading = "Connection", value_name = "TIME", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
}

/// Why a subcommand fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server says no.
    #[error("{}", told(.0))]
    Refused(Box<Problem>),
    /// A write whose outcome nobody knows.
    #[error("{}\n  whether it happened is not known; repeat it with --request-id {request_id}", told(.problem))]
    Unknown {
        /// What the server said, if it was the server.
        problem: Box<Problem>,
        /// What makes the repeat safe.
        request_id: String,
    },
    /// Something on the command line makes no sense.
    #[error("{0}")]
    Input(String),
    /// Some of many writes failed.
    #[error("{failed} of {all} writes failed, the first one with: {first}")]
    Some {
        /// So many.
        failed: u64,
        /// Of so many.
        all: u64,
        /// What was wrong with the first.
        first: String,
    },
}

/// What a call ended with. A deadline that passed here first is a cancellation to tonic.
fn said(status: &Status) -> Box<Problem> {
    if let Some(broken) = connect::broken(status) {
        return Box::new(Problem::new(Code::Unavailable, "UNREACHABLE", broken));
    }
    Box::new(service_host::status::explain(status).unwrap_or_else(|| Problem::from(status)))
}

/// The server's reason, each fault of a field on a line of its own.
fn told(problem: &Problem) -> String {
    let mut text = format!("{} {}: {}", problem.code.name(), problem.reason, problem.message);
    for violation in &problem.violations {
        text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
    }
    for (name, value) in &problem.metadata {
        text.push_str(&format!("\n  {name}: {value}"));
    }
    text
}

/// A connection to a mesh.
#[derive(Debug, Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
    pool: DescriptorPool,
    connection: Connection,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Connect`].
    pub(super) async fn connect(connection: Connection) -> Result<Self, Failure> {
        let url = connection.tls.url(&connection.addr)?;
        let authorization = connection.token.authorization(&url)?;
        let channel = connection.tls.connect(&url, connection.deadline.unwrap_or(DEADLINE)).await?;
        let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET)
            .expect("the descriptors were compiled together with this program");
        Ok(Self { grpc: Grpc::new(channel), pool, connection, authorization })
    }

    /// Whether answers are wanted as JSON.
    pub(super) fn wants_json(&self) -> bool {
        self.connection.json
    }

    /// Reads by a method such as `ordermesh.orders.v1.OrderService/GetOrder`.
    ///
    /// # Errors
    /// What the server refuses, or that it does not answer.
    pub(super) async fn read<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> Result<A, Failure> {
        self.call(method, request).await.map_err(|status| Failure::Refused(said(&status)))
    }

    /// Writes by a method. With the request_id it can be repeated when nobody knows what became of it.
    ///
    /// # Errors
    /// What the server refuses, or that it does not answer.
    pub(super) async fn write<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        request_id: String,
        request: impl Message + 'static,
    ) -> Result<A, Failure> {
        self.call(method, request).await.map_err(|status| {
            let problem = said(&status);
            match problem.code {
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal => {
                    Failure::Unknown { problem, request_id }
                }
                _ => Failure::Refused(problem),
            }
        })
    }

    async fn call<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> Result<A, Status> {
        let deadline = self.connection.deadline.unwrap_or(DEADLINE);
        let request = self.request(request, Some(deadline));
        self.ready().await?;
        let answer = self.grpc.unary(request, path(method), ProstCodec::default());
        match tokio::time::timeout(deadline.saturating_add(GRACE), answer).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Problem::deadline_exceeded("sent").into()),
        }
    }

    /// Follows a method that streams its answers.
    ///
    /// # Errors
    /// What the server refuses, or that it does not answer.
    pub(super) async fn follow<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> Result<Streaming<A>, Failure> {
        let request = self.request(request, self.connection.deadline);
        let answer = async {
            self.ready().await?;
            self.grpc.server_streaming(request, path(method), ProstCodec::default()).await
        };
        let answer = answer.await.map_err(|status| Failure::Refused(said(&status)))?;
        Ok(answer.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc
            .ready()
            .await
            .map_err(|error| Problem::new(Code::Unavailable, "UNREACHABLE", error.to_string()).into())
    }

    fn request<Q>(&self, message: Q, deadline: Option<Duration>) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    /// Prints the answer of a method: as JSON, or as people read it.
    pub(super) fn print<A: Message>(&self, method: &str, answer: &A, for_people: impl FnOnce(&A) -> String) {
        if self.wants_json() { say(self.json(method, answer, true)) } else { say(for_people(answer)) }
    }

    /// The answer of a method as protobuf JSON, over several lines or in one.
    pub(super) fn json(&self, method: &str, answer: &impl Message, pretty: bool) -> String {
        let described = self
            .answer_of(method)
            .and_then(|descriptor| DynamicMessage::decode(descriptor, answer.encode_to_vec().as_slice()).ok());
        let described = described.expect("the answer was decoded by code that is generated from the same descriptors");
        let mut json = Vec::new();
        let options = SerializeOptions::new();
        let written = if pretty {
            described.serialize_with_options(&mut serde_json::Serializer::pretty(&mut json), &options)
        } else {
            described.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        };
        written.expect("a message that was decoded can be written, and memory is the only limit");
        String::from_utf8_lossy(&json).into_owned()
    }

    fn answer_of(&self, method: &str) -> Option<MessageDescriptor> {
        let (service, method) = method.split_once('/')?;
        let service = self.pool.get_service_by_name(service)?;
        service.methods().find(|found| found.name() == method).map(|found| found.output())
    }
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/{method}")).expect("names of methods are paths")
}
