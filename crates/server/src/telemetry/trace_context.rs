//! The trace that a request belongs to, from its header `traceparent` (W3C Trace Context).

use axum::http::{HeaderMap, Method};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Makes `span` part of the trace that `headers` name, and records the trace id for the log. Does nothing if no
/// traces are exported.
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    // An error means that no layer records spans, because no collector is configured. Without a valid parent the
    // span starts a new trace.
    if span.set_parent(parent).is_err() {
        return;
    }
    // The kind must be recorded before the span's context is read, which fixes it.
    span.record("otel.kind", "server");
    if let Some(own) = recorded(span) {
        span.record("trace_id", tracing::field::display(own.trace_id()));
    }
}

/// Names `span` by method and route, if it is exported; in the log, the path is enough.
pub(crate) fn name_route(span: &Span, method: &Method, route: &str) {
    let context = span.context();
    let recorded = context.span();
    if recorded.is_recording() {
        recorded.update_name(format!("{method} {route}"));
        recorded.set_attribute(KeyValue::new("http.route", route.to_owned()));
    }
}

/// The context of `span`, if it is recorded for a collector.
pub(super) fn recorded(span: &Span) -> Option<SpanContext> {
    Some(span.context().span().span_context().clone()).filter(SpanContext::is_valid)
}
