//! The W3C trace context: between headers of calls, headers of records, and spans.
//!
//! Whatever cannot be read counts as absent: a bad `traceparent` never fails a call or a record.

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Header that names trace and span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header that carries what vendors add.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
const TRACEPARENT_LEN: usize = 55;

/// Reads a `traceparent`.
pub fn parse(traceparent: &[u8]) -> Option<SpanContext> {
    let text = std::str::from_utf8(traceparent.get(..TRACEPARENT_LEN)?).ok()?;
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let well_formed = text.bytes().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => byte == b'-',
        _ => lower_hex(byte),
    });
    // A later version may be longer, but begins the same.
    let ends_well = match traceparent.get(TRACEPARENT_LEN) {
        None => true,
        Some(next) => *next == b'-' && !text.starts_with("00"),
    };
    if !well_formed || !ends_well || text.starts_with("ff") {
        return None;
    }
    let trace = TraceId::from_hex(text.get(3..35)?).ok()?;
    let span = SpanId::from_hex(text.get(36..52)?).ok()?;
    let flags = u8::from_str_radix(text.get(53..55)?, 16).ok()?;
    let context =
        SpanContext::new(trace, span, TraceFlags::new(flags) & TraceFlags::SAMPLED, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// Writes a `traceparent`.
pub fn format(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags() & TraceFlags::SAMPLED)
}

/// The context that a call brings.
pub fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let context = parse(headers.get(TRACEPARENT)?.as_bytes())?;
    let state = headers.get(TRACESTATE).and_then(|state| TraceState::from_str(state.to_str().ok()?).ok());
    Some(SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags(),
        true,
        state.unwrap_or_default(),
    ))
}

/// Puts the context of a span into the headers of a call, in place of what stands there. Without a recorded span nothing
/// changes, so that a caller's context passes through.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let Some(context) = of_span(span) else { return };
    if let Ok(value) = HeaderValue::from_str(&format(&context)) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The `traceparent` of a span, for the headers of records. `None` when it is not recorded.
pub fn traceparent(span: &Span) -> Option<Bytes> {
    of_span(span).map(|context| Bytes::from(format(&context)))
}

/// Makes a span the child of a context. It must not have been entered yet.
pub fn set_parent(span: &Span, parent: SpanContext) {
    // Fails only for a span that nobody records, which needs no parent.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// Links a span to another one that it is no child of.
pub fn add_link(span: &Span, other: &Span) {
    if let Some(context) = of_span(other) {
        span.add_link(context);
    }
}

fn of_span(span: &Span) -> Option<SpanContext> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_comes_back() {
        let context = parse(GOOD.as_bytes()).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(format(&context), GOOD);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        assert!(parse(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }

    #[test]
    fn nonsense_counts_as_absent() {
        let bad = [
            "",
            "x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-0123",
        ];
        for text in bad {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(&[0xff; 55]).is_none());
    }

    #[test]
    fn headers_of_a_call_pass_through_when_nothing_is_recorded() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        inject(&Span::none(), &mut headers);
        let context = extract(&headers).unwrap();
        assert_eq!(format(&context), GOOD);
        assert_eq!(context.trace_state().get("a"), Some("1"));
    }
}
