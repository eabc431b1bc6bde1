//! A broker of a test's own: it speaks the protocol over real connections and answers what the test says. Only with the
//! feature `testing`.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, DescribeClientQuotasRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Largest request that is taken, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// A broker on a port of its own, until it is dropped.
#[derive(Debug)]
pub struct Broker {
    address: String,
    _listening: AbortOnDropHandle<()>,
}

/// A request that has come.
#[derive(Debug)]
pub struct Asked {
    key: i16,
    version: i16,
    body: Bytes,
}

impl Asked {
    /// The answer to a request of this kind; `None` if it is of another.
    ///
    /// # Panics
    /// The request cannot be read, or the answer cannot be written in its version.
    pub fn answer<R: Request>(&self, answer: impl FnOnce(R) -> R::Response) -> Option<Bytes> {
        if self.key != R::KEY {
            return None;
        }
        let request = R::decode(&mut self.body.clone(), self.version).expect("the client writes what can be read");
        let mut bytes = BytesMut::new();
        answer(request).encode(&mut bytes, self.version).expect("the test answers what its version has");
        Some(bytes.freeze())
    }

    /// Whether it is of this kind.
    #[must_use]
    pub fn is<R: Request>(&self) -> bool {
        self.key == R::KEY
    }
}

impl Broker {
    /// A broker that gives these answers. Where there is none it ends the connection. Versions it tells by itself.
    ///
    /// # Panics
    /// The machine has no free port.
    pub async fn start<F: Future<Output = Option<Bytes>> + Send>(
        answers: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let answers = Arc::new(answers);
        let listening = tokio::spawn(async move {
            // Connections end with the broker.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answers = answers.clone();
                connections.spawn(async move { serve(stream, &*answers).await });
            }
        });
        Self { address, _listening: AbortOnDropHandle::new(listening) }
    }

    /// Where it is, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// What brokers say about themselves and the topics that are asked for: the first of these addresses leads all partitions.
///
/// # Panics
/// An address is none, or there are more than the protocol has numbers for.
#[must_use]
pub fn metadata(request: &MetadataRequest, brokers: &[&str], topics: &[(&str, u32)]) -> MetadataResponse {
    let brokers = (0..).zip(brokers).map(|(number, address)| {
        let (host, port) = address.rsplit_once(':').expect("an address is host:port");
        let port = port.parse().expect("a port is a number");
        let host = StrBytes::from_string(host.to_owned());
        MetadataResponseBroker::default().with_node_id(BrokerId(number)).with_host(host).with_port(port)
    });
    let named = |name: &str| TopicName(StrBytes::from_string(name.to_owned()));
    let wanted: Vec<TopicName> = match &request.topics {
        Some(wanted) => wanted.iter().filter_map(|topic| topic.name.clone()).collect(),
        None => topics.iter().map(|(name, _)| named(name)).collect(),
    };
    let topics = wanted.into_iter().map(|name| {
        let topic = MetadataResponseTopic::default().with_name(Some(name.clone()));
        let Some((_, partitions)) = topics.iter().find(|(known, _)| *known == name.as_str()) else {
            return topic.with_error_code(ResponseError::UnknownTopicOrPartition.code());
        };
        let partitions = (0..*partitions).map(|number| {
            let number = i32::try_from(number).expect("there are few partitions");
            let nodes = vec![BrokerId(0)];
            let partition = MetadataResponsePartition::default().with_partition_index(number);
            partition.with_leader_id(BrokerId(0)).with_replica_nodes(nodes.clone()).with_isr_nodes(nodes)
        });
        topic.with_partitions(partitions.collect())
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_controller_id(BrokerId(0))
        .with_topics(topics.collect())
}

async fn serve<F: Future<Output = Option<Bytes>>>(mut stream: TcpStream, answers: &impl Fn(Asked) -> F) -> Option<()> {
    loop {
        let length =
            usize::try_from(stream.read_u32().await.ok()?).ok().filter(|length| *length < REQUEST_BYTES_MAX)?;
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await.ok()?;
        let mut body = Bytes::from(frame);
        let (key, version) = (body.get(..2)?.get_i16(), body.get(2..4)?.get_i16());
        let (request_header, response_header) = headers(key, version)?;
        let header = RequestHeader::decode(&mut body, request_header).ok()?;
        let asked = Asked { key, version, body };
        let answer = match asked.answer(|_: ApiVersionsRequest| versions()) {
            Some(answer) => answer,
            None => answers(asked).await?,
        };
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        let told = ResponseHeader::default().with_correlation_id(header.correlation_id);
        told.encode(&mut frame, response_header).ok()?;
        frame.extend_from_slice(&answer);
        let length = u32::try_from(frame.len() - 4).ok()?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&frame).await.ok()?;
    }
}

/// The kinds of requests that are known here, each with its versions and those of its headers.
macro_rules! known {
    ($($request:ty),+ $(,)?) => {
        fn headers(key: i16, version: i16) -> Option<(i16, i16)> {
            $(if key == <$request>::KEY {
                let answer = <<$request as Request>::Response as HeaderVersion>::header_version(version);
                return Some((<$request as HeaderVersion>::header_version(version), answer));
            })+
            None
        }

        fn versions() -> ApiVersionsResponse {
            let keys = [$((<$request>::KEY, <$request as Message>::VERSIONS)),+].map(|(key, versions)| {
                ApiVersion::default().with_api_key(key).with_min_version(versions.min).with_max_version(versions.max)
            });
            ApiVersionsResponse::default().with_api_keys(keys.to_vec())
        }
    };
}

known!(
    ApiVersionsRequest,
    CreateTopicsRequest,
    DescribeClientQuotasRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    FetchRequest,
    FindCoordinatorRequest,
    ListOffsetsRequest,
    MetadataRequest,
    ProduceRequest,
);
