//! The body of a response while it flows: ends at the deadline, and knows how the call ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

use super::{Ongoing, end_in, put_status};
use crate::Problem;

/// A response body and the call that it belongs to.
pub(super) struct CallBody {
    inner: Body,
    /// Boxed, for few calls have one.
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` once the call has ended: then nothing more flows.
    call: Option<Ongoing>,
}

impl CallBody {
    pub(super) fn new(inner: Body, deadline: Option<Instant>, call: Ongoing) -> Self {
        Self { inner, deadline: deadline.map(|at| Box::pin(sleep_until(at))), call: Some(call) }
    }

    fn end(&mut self, code: tonic::Code) {
        if let Some(mut call) = self.call.take() {
            call.end(code);
        }
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.call.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    let code = end_in(&mut trailers).unwrap_or(tonic::Code::Unknown);
                    this.end(code);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            }))),
            Poll::Ready(Some(Err(status))) => {
                this.end(status.code());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                // A body of ours ends with trailers; one that was forwarded may break off.
                this.end(tonic::Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !this.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
                    return Poll::Pending;
                }
                this.end(tonic::Code::DeadlineExceeded);
                let mut trailers = HeaderMap::new();
                put_status(Problem::deadline_exceeded("streaming"), &mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
