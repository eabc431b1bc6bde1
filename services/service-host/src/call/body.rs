//! The body of a response while it flows: in pieces, to the deadline at most, and with the knowledge how the call ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

use super::{Ongoing, end_in, put_status, taking};
use crate::Problem;

/// Largest piece that is handed over at once. What was handed over is out of reach here: HTTP/2 holds it until the caller lets
/// it come, even for one who lets in a byte from time to time, and past the end of the call.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// A response body and the call that it belongs to.
pub(super) struct CallBody {
    inner: Body,
    /// What came of it and was not handed over.
    rest: Bytes,
    /// Boxed, for few calls have one.
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` once the call has ended: then nothing more flows.
    call: Option<Ongoing>,
}

impl CallBody {
    pub(super) fn new(inner: Body, deadline: Option<Instant>, call: Ongoing) -> Self {
        let deadline = deadline.map(|at| Box::pin(sleep_until(at)));
        Self { inner, rest: Bytes::new(), deadline, call: Some(call) }
    }

    /// The next piece of what came.
    fn piece(&mut self) -> Frame<Bytes> {
        taking::given(self.deadline.as_ref().map(|deadline| deadline.deadline()));
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX)))
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
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    this.piece()
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    let code = end_in(&mut trailers).unwrap_or(tonic::Code::Unknown);
                    this.end(code);
                    Frame::trailers(trailers)
                }
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
                    taking::taken();
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
        self.call.is_none() || (self.rest.is_empty() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}
