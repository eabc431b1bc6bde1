//! Streams whose callers take nothing: they are reset.
//!
//! A body is asked for more only while its caller takes what there is (HTTP/2 flow control), so that it learns neither of its
//! deadline nor of time itself from one who takes nothing, and holds its place and its memory. What watches over it is the
//! task that drives the whole stream: it knows from the body when the caller was given something and had not taken it yet.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// Streams that were reset.
pub(crate) const RESET: &str = "ordermesh_streams_reset_total";

tokio::task_local! {
    /// Where the stream of this task stands.
    static STANDING: Cell<Standing>;
}

/// Where a stream stands between what it was given and what was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Standing {
    /// Pieces that it was given.
    pieces: u64,
    /// The last of them may not have been taken yet.
    is_callers_turn: bool,
    /// When its caller stops listening anyway.
    deadline: Option<Instant>,
}

/// Notes that the caller was given a piece of an answer that ends at the deadline.
pub(super) fn given(deadline: Option<Instant>) {
    // In a test a body may be read by no stream.
    let _ = STANDING.try_with(|standing| {
        let pieces = standing.get().pieces + 1;
        standing.set(Standing { pieces, is_callers_turn: true, deadline });
    });
}

/// Notes that the caller took all that there was.
pub(super) fn taken() {
    let _ = STANDING.try_with(|standing| standing.set(Standing { is_callers_turn: false, ..standing.get() }));
}

/// Runs each stream of a connection as a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    /// How long a caller may take nothing.
    pub(crate) send_timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Watched { stream, send_timeout: self.send_timeout, standing: Standing::default(), timer: None });
    }
}

pin_project! {
    /// A stream that ends when its caller takes nothing. Its end before its answer's end is a reset for the caller.
    struct Watched<F> {
        #[pin]
        stream: F,
        send_timeout: Duration,
        standing: Standing,
        // Runs out for the piece of that number. Few streams ever wait for their callers.
        timer: Option<(u64, Pin<Box<Sleep>>)>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (polled, standing) = STANDING.sync_scope(Cell::new(*this.standing), || {
            let polled = this.stream.poll(context);
            (polled, STANDING.with(Cell::get))
        });
        *this.standing = standing;
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if !standing.is_callers_turn {
            *this.timer = None;
            return Poll::Pending;
        }
        if this.timer.as_ref().is_none_or(|(piece, _)| *piece != standing.pieces) {
            let patience = Instant::now() + *this.send_timeout;
            let until = standing.deadline.map_or(patience, |deadline| deadline.min(patience));
            *this.timer = Some((standing.pieces, Box::pin(sleep_until(until))));
        }
        let timer = this.timer.as_mut().map(|(_, timer)| timer.as_mut().poll(context));
        if timer.is_none_or(|timer| timer.is_pending()) {
            return Poll::Pending;
        }
        metrics::counter!(RESET).increment(1);
        tracing::debug!("stream is reset: its caller takes nothing");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
