//! The answer of another instance on its way through.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use service_host::Problem;
use tonic::Status;
use tonic::body::Body;

/// Bytes of an answer that are held back until it has ended.
const HELD_BYTES_MAX: usize = 1 << 20;

/// A call counts until its answer has been read.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn broken_off() -> HeaderMap {
    let problem = Problem {
        message: "the owner broke off in the middle of its answer".to_owned(),
        ..Problem::owner_unreachable()
    };
    let mut trailers = HeaderMap::new();
    let written = Status::from(problem).add_header(&mut trailers);
    written.expect("a constant message can be a header");
    trailers
}

/// Passes an answer on. One that breaks off ends with a status: callers understand that better than a reset.
pub(super) struct Passing {
    /// What has been read of it already.
    held: VecDeque<Frame<Bytes>>,
    body: Body,
    _counted: Counted,
}

impl Passing {
    pub(super) fn new(body: Body, counted: Counted) -> Self {
        Self { held: VecDeque::new(), body, _counted: counted }
    }

    /// Reads to the end, or as much as may be held back: what is larger passes as it comes.
    ///
    /// # Errors
    /// It broke off meanwhile.
    pub(super) async fn hold(&mut self) -> Result<(), Status> {
        let mut bytes = 0;
        while bytes <= HELD_BYTES_MAX {
            let Some(frame) = self.body.frame().await.transpose()? else {
                self.body = Body::empty();
                break;
            };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            self.held.push_back(frame);
        }
        Ok(())
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(frame) = this.held.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "owner broke off");
                this.body = Body::empty();
                Poll::Ready(Some(Ok(Frame::trailers(broken_off()))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.held.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
