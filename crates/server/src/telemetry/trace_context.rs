//! The trace that a request is part of, as its client names it in the header `traceparent` (W3C Trace Context).

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

/// Lets `span` be part of the trace that `headers` name, and notes the name of its trace in the log. Does nothing where no
/// traces are told to anybody.
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    // No layer that records spans is no error: nobody asked for them. Without a valid parent the span begins a trace.
    if span.set_parent(parent).is_err() {
        return;
    }
    // Its kind is fixed when its name is asked for.
    span.record("otel.kind", "server");
    if let Some(own) = recorded(span) {
        span.record("trace_id", tracing::field::display(own.trace_id()));
    }
}

/// Names `span` by what is asked for and the route that answers, as far as a collector is told of it: in a log, the path says
/// as much.
pub(crate) fn name_route(span: &Span, method: &Method, route: &str) {
    let context = span.context();
    let recorded = context.span();
    if recorded.is_recording() {
        recorded.update_name(format!("{method} {route}"));
        recorded.set_attribute(KeyValue::new("http.route", route.to_owned()));
    }
}

/// The name of `span`, when it is recorded for a collector.
pub(super) fn recorded(span: &Span) -> Option<SpanContext> {
    Some(span.context().span().span_context().clone()).filter(SpanContext::is_valid)
}
