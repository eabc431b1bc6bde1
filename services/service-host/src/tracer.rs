//! The spans of tasks: each piece of work continues the trace that its record or command brought, and each commit is
//! linked to the work in it.

use bytes::Bytes;
use task_runtime::{Tracer, Work};
use tracing::{Span, field};

use crate::telemetry::{TRACE_TARGET, Telemetry};
use crate::trace_context;

/// What the key of a piece of work names: the field that a search for it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyName {
    /// `order_id`.
    Order,
    /// `product_id`.
    Product,
    /// `customer_id`.
    Customer,
    /// Something else.
    Other,
}

/// Makes the spans of tasks.
#[derive(Debug, Clone, Copy)]
pub struct SpanTracer {
    enabled: bool,
    key_name: fn(&Work<'_>) -> KeyName,
}

impl SpanTracer {
    /// A tracer that records if `telemetry` does. `key_name` knows what the keys of each service's inputs are.
    pub fn new(telemetry: &Telemetry, key_name: fn(&Work<'_>) -> KeyName) -> Self {
        Self { enabled: telemetry.traces(), key_name }
    }
}

impl Tracer for SpanTracer {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn work(&self, work: Work<'_>, parent: Option<&[u8]>) -> Span {
        let span = tracing::info_span!(
            target: TRACE_TARGET,
            parent: None,
            "work",
            otel.name = format_args!("{} {}", work.operation, work.name),
            otel.kind = "consumer",
            service = work.service,
            messaging.operation.name = work.operation,
            messaging.destination.name = work.name,
            messaging.destination.partition.id = work.partition,
            order_id = field::Empty,
            product_id = field::Empty,
            customer_id = field::Empty,
            key = field::Empty,
        );
        if span.is_disabled() {
            return span;
        }
        let field = match (self.key_name)(&work) {
            KeyName::Order => "order_id",
            KeyName::Product => "product_id",
            KeyName::Customer => "customer_id",
            KeyName::Other => "key",
        };
        span.record(field, String::from_utf8_lossy(work.key).as_ref());
        if let Some(parent) = parent.and_then(trace_context::parse) {
            trace_context::set_parent(&span, parent);
        }
        span
    }

    fn traceparent(&self, span: &Span) -> Option<Bytes> {
        trace_context::traceparent(span)
    }

    fn commit(&self, service: &'static str, partition: u32, epoch: u64, work: &[Span]) -> Span {
        let span = tracing::info_span!(
            target: TRACE_TARGET,
            parent: None,
            "commit",
            otel.name = format_args!("commit {service}"),
            otel.kind = "internal",
            service,
            partition,
            epoch,
            work = work.len(),
        );
        if !span.is_disabled() {
            work.iter().for_each(|work| trace_context::add_link(&span, work));
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::{attribute, recorded};

    const WORK: Work<'_> =
        Work { service: "orders", partition: 3, operation: "process", name: "shipments", key: b"o-1" };

    fn tracer() -> SpanTracer {
        SpanTracer { enabled: true, key_name: |_| KeyName::Order }
    }

    #[test]
    fn work_continues_the_trace_of_its_record_and_hands_it_on() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut handed_on = None;
        let spans = recorded(|| {
            let span = tracer().work(WORK, Some(parent.as_bytes()));
            handed_on = tracer().traceparent(&span);
        });
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((span.name.as_ref(), attribute(span, "order_id").as_deref()), ("process shipments", Some("o-1")));
        assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
        let handed_on = trace_context::parse(&handed_on.unwrap()).unwrap();
        assert_eq!(handed_on.span_id(), span.span_context.span_id());
        assert_eq!(handed_on.trace_id(), span.span_context.trace_id());
    }

    #[test]
    fn work_without_a_context_begins_a_trace() {
        for parent in [None, Some(&b"nonsense"[..])] {
            let spans = recorded(|| drop(tracer().work(WORK, parent)));
            assert_eq!(spans[0].parent_span_id, opentelemetry::trace::SpanId::INVALID);
        }
    }

    #[test]
    fn commit_is_linked_to_its_work_and_no_part_of_its_traces() {
        let spans = recorded(|| {
            let work = [tracer().work(WORK, None), tracer().work(WORK, None)];
            drop(tracer().commit("orders", 3, 7, &work));
        });
        let commit = spans.iter().find(|span| span.name == "commit orders").unwrap();
        let linked: Vec<_> = commit.links.iter().map(|link| link.span_context.span_id()).collect();
        let work: Vec<_> = spans.iter().filter(|span| span.name != "commit orders").collect();
        assert!(work.len() == 2 && work.iter().all(|span| linked.contains(&span.span_context.span_id())), "{spans:?}");
        assert!(work.iter().all(|span| span.span_context.trace_id() != commit.span_context.trace_id()));
    }
}
