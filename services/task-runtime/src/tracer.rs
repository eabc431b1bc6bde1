//! The seam for tracing: the runtime carries `traceparent` bytes, what they mean is the host's affair.

use std::sync::Arc;

use bytes::Bytes;
use tracing::Span;

/// Record header that carries the W3C trace context.
pub const TRACE_HEADER: &str = "traceparent";

/// A tracer that is shared by all tasks.
pub type SharedTracer = Arc<dyn Tracer>;

/// One piece of work, as a span describes it.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Service and partition.
    pub service: &'static str,
    /// Partition of the task.
    pub partition: u32,
    /// `command CreateOrder`, `process orders`, `timer timeout`: operation and destination.
    pub operation: &'static str,
    /// Topic, command or timer.
    pub name: &'a str,
    /// Key of the record, command or timer.
    pub key: &'a [u8],
}

/// Makes spans. Every method is called on the hot path: a tracer that is off must cost nothing.
pub trait Tracer: Send + Sync + std::fmt::Debug + 'static {
    /// Whether anything is recorded. If not, no other method is called and contexts pass through unchanged.
    fn is_enabled(&self) -> bool;

    /// A span for one piece of work, child of the context that came with it.
    fn work(&self, work: Work<'_>, parent: Option<&[u8]>) -> Span;

    /// The context of a span, to be carried by what the work emits.
    fn traceparent(&self, span: &Span) -> Option<Bytes>;

    /// A span for one commit, linked to the work in it.
    fn commit(&self, service: &'static str, partition: u32, epoch: u64, work: &[Span]) -> Span;
}

/// Records nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTracer;

impl Tracer for NoTracer {
    fn is_enabled(&self) -> bool {
        false
    }

    fn work(&self, _: Work<'_>, _: Option<&[u8]>) -> Span {
        Span::none()
    }

    fn traceparent(&self, _: &Span) -> Option<Bytes> {
        None
    }

    fn commit(&self, _: &'static str, _: u32, _: u64, _: &[Span]) -> Span {
        Span::none()
    }
}
