//! An id for each request, in its logs and on its response, whatever its outcome.

use std::{
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use tracing::{Instrument, Span, field};

use crate::{request::path, telemetry::continue_trace};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, for handlers.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Middleware that takes the client's id for the request, or generates one, and puts it on the response.
pub(crate) async fn name_request(mut request: Request, next: Next) -> Response {
    let id = name_of(&request);
    request.extensions_mut().insert(RequestId(id.to_str().unwrap_or_default().to_owned()));
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = path::sent(&request).path(),
        trace_id = field::Empty,
        "otel.kind" = field::Empty,
        status = field::Empty,
    );
    continue_trace(&span, request.headers());
    async move {
        let start = Instant::now();
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        Span::current().record("status", status);
        tracing::debug!(status, elapsed = ?start.elapsed(), "answered");
        response.headers_mut().insert(HEADER, id);
        response.map(|body| Body::new(TracedBody { body, span: Span::current() }))
    }
    .instrument(span)
    .await
}

/// A body that is polled in the span of its request, which lasts until the body is dropped.
struct TracedBody {
    body: Body,
    span: Span,
}

impl HttpBody for TracedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, span } = &mut *self;
        span.in_scope(|| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Adds the request's id to a response that does not go through the middleware, and is not logged.
pub(crate) fn named(request: &Request, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(HEADER, name_of(request));
    response
}

/// The client's id for the request, or a new one.
fn name_of(request: &Request) -> HeaderValue {
    let given = request.headers().get(&HEADER).filter(|id| is_plain(id)).cloned();
    given.unwrap_or_else(fresh)
}

/// Whether a client's id may be written to logs: short, printable, no spaces.
fn is_plain(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// An id that, with overwhelming probability, no other request has, in this process or another.
pub(crate) fn fresh_id() -> String {
    static START: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    format!("{:016x}{:016x}", START.hash_one(count), START.hash_one((count, "second half")))
}

fn fresh() -> HeaderValue {
    HeaderValue::from_str(&format!("req-{}", fresh_id())).expect("hexadecimal digits may stand in a header")
}
