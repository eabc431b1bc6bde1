//! Watches as gRPC: messages go out as the bytes that they are, or as values for callers of the generated service.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::Service;

use super::Messages;
use crate::Problem;

/// Flag and length in front of each message.
const PREFIX: usize = 5;
/// Largest request of a watch, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<Messages, Problem>> + Send>>;
type Opens = Arc<dyn Fn(MetadataMap, Bytes) -> Opening + Send + Sync>;

/// A gRPC service whose watches go out as bytes that all of them share, past the codec of the generated code. Everything
/// else is the service's own.
#[derive(Clone)]
pub struct Watched<S> {
    service: S,
    watches: Arc<Vec<(String, Opens)>>,
}

impl<S: NamedService> Watched<S> {
    /// The service, as yet without such watches.
    pub fn new(service: S) -> Self {
        Self { service, watches: Arc::default() }
    }

    /// The same with one more method that is answered by `open`.
    ///
    /// # Panics
    /// When it was cloned already.
    #[must_use]
    pub fn watch<R, F>(mut self, method: &str, open: impl Fn(MetadataMap, R) -> F + Send + Sync + 'static) -> Self
    where
        R: Message + Default,
        F: Future<Output = Result<Messages, Problem>> + Send + 'static,
    {
        let opens: Opens = Arc::new(move |metadata, message| match R::decode(message) {
            Ok(request) => Box::pin(open(metadata, request)),
            Err(error) => {
                let problem = Problem::malformed_request(format!("the request cannot be read: {error}"));
                Box::pin(std::future::ready(Err(problem)))
            }
        });
        let watches = Arc::get_mut(&mut self.watches).expect("watches are named before the service is used");
        watches.push((format!("/{}/{method}", S::NAME), opens));
        self
    }
}

impl<S> std::fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.watches.iter().map(|(path, _)| path)).finish()
    }
}

impl<S: NamedService> NamedService for Watched<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Watched<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.watches.iter().find(|(path, _)| path == request.uri().path()) {
            Some((_, opens)) => {
                let opens = opens.clone();
                Box::pin(async move { Ok(answer(request, &opens).await.unwrap_or_else(Problem::into_http)) })
            }
            None => Box::pin(self.service.call(request)),
        }
    }
}

async fn answer<B>(request: Request<B>, opens: &Opens) -> Result<Response<Body>, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Problem::message_too_large(Some(REQUEST_BYTES_MAX)))?.to_bytes();
    let is_whole = body.len() >= PREFIX
        && body[0] == 0
        && u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize == body.len() - PREFIX;
    if !is_whole {
        return Err(Problem::malformed_request("the request is not one uncompressed message"));
    }
    let messages = opens(MetadataMap::from_headers(head.headers), body.slice(PREFIX..)).await?;
    let frames = messages.map(Some).chain(futures::stream::iter([None])).scan(false, |is_over, item| {
        // The end of a watch is its error; one without would be OK.
        let frame = (!*is_over).then(|| frame(item, is_over));
        std::future::ready(frame)
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn frame(item: Option<Result<Bytes, Problem>>, is_over: &mut bool) -> Result<Frame<Bytes>, Status> {
    match item {
        Some(Ok(message)) => {
            let mut framed = BytesMut::with_capacity(PREFIX + message.len());
            framed.put_u8(0);
            // Messages are bounded far below 4 GiB.
            framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
            framed.put_slice(&message);
            Ok(Frame::data(framed.freeze()))
        }
        end => {
            *is_over = true;
            let status = end.and_then(Result::err).map_or_else(|| Status::ok(""), Status::from);
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            Ok(Frame::trailers(trailers))
        }
    }
}

/// The messages of a watch as values.
pub struct Typed<M> {
    messages: Messages,
    message: PhantomData<fn() -> M>,
}

impl<M> Typed<M> {
    /// These messages as values.
    pub fn new(messages: Messages) -> Self {
        Self { messages, message: PhantomData }
    }
}

impl<M: Message + Default> Stream for Typed<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.messages.as_mut().poll_next(context));
        Poll::Ready(next.map(|message| {
            let message = M::decode(message?).map_err(|error| {
                tracing::error!(%error, "message of a watch is unreadable");
                Problem::internal()
            });
            Ok(message?)
        }))
    }
}

impl<M> std::fmt::Debug for Typed<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed")
    }
}
