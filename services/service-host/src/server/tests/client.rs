//! A gRPC client without any cleverness: it enforces no deadline of its own and sends whatever bytes it is given.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tonic::Status;

use crate::Problem;

#[derive(Clone)]
pub(super) struct Client {
    requests: SendRequest<Full<Bytes>>,
}

/// One message as gRPC frames it.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    /// Sends a body as it is and returns the response's beginning.
    pub(super) async fn send(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::post(format!("http://test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone();
        requests.ready().await?;
        requests.send_request(request.body(Full::new(body)).unwrap()).await
    }

    /// One unary call with any body.
    pub(super) async fn call_raw<T: Message + Default>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<T, Problem> {
        let response = self.send(path, headers, body).await.expect("the connection holds");
        let (parts, body) = response.into_parts();
        refused(&parts.headers)?;
        let collected = body.collect().await.expect("the connection holds");
        refused(collected.trailers().expect("a gRPC response ends with trailers"))?;
        Ok(T::decode(collected.to_bytes().slice(5..)).unwrap())
    }

    /// One unary call.
    pub(super) async fn call<T: Message + Default>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        request: &impl Message,
    ) -> Result<T, Problem> {
        self.call_raw(path, headers, frame(&request.encode_to_vec())).await
    }
}

/// The problem in headers or trailers, if one is there. Every one has exactly one `ErrorInfo` of our domain.
pub(super) fn refused(headers: &HeaderMap) -> Result<(), Problem> {
    use tonic_types::StatusExt;
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => {
            assert_eq!(status.get_error_details().error_info().expect("an ErrorInfo").domain, "ordermesh");
            Err(Problem::from(&status))
        }
        _ => Ok(()),
    }
}
