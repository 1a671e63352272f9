//! Request metrics: each request is counted once, when its answer is complete or its client has left.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponseParts, Response, ResponseParts},
};
use http_body::{Frame, SizeHint};
use judge::Kind;
use tracing::Span;

use super::{Metrics, names};
use crate::telemetry::name_route;

/// The metric label of a request's key, attached to its response as an extension.
#[derive(Debug, Clone)]
pub(crate) struct KeyLabel(pub(crate) Arc<str>);

tokio::task_local! {
    /// The kind of the current request, once it is known. It is task-local instead of part of the response, because
    /// a request whose client leaves early has no response but is counted all the same.
    static KIND: Arc<OnceLock<RequestKind>>;
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A score.
    Pointwise,
    /// A comparison.
    Pairwise,
    /// Rewards of several responses.
    Reward,
    /// Scores for clients of other servers' interfaces.
    Score,
    /// The next message of a conversation.
    Chat,
    /// Raw text to continue.
    Completion,
}

impl From<Kind> for RequestKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pointwise => Self::Pointwise,
            Kind::Pairwise => Self::Pairwise,
        }
    }
}

impl Metrics {
    /// Records an attempt to fetch an image from another host, by its success.
    pub(crate) fn fetched<T, E>(&self, duration: Duration, fetched: &Result<T, E>) {
        let outcome = if fetched.is_ok() { "fetched" } else { "failed" };
        self.counter(&names::IMAGE_FETCH_TOTAL, [outcome]).increment(1);
        self.histogram(&names::IMAGE_FETCH_SECONDS, []).record(duration);
    }
}

impl RequestKind {
    /// Sets the kind under which [`count_request`] counts the current request, however it ends. Only the first call
    /// has an effect.
    pub(crate) fn note(self) {
        // Outside of `count_request` the task-local does not exist.
        let _ = KIND.try_with(|kind| kind.set(self));
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Pointwise => "pointwise",
            Self::Pairwise => "pairwise",
            Self::Reward => "reward",
            Self::Score => "score",
            Self::Chat => "chat",
            Self::Completion => "completion",
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered,
    /// It was invalid.
    Invalid,
    /// It was refused for lack of capacity or quota, timed out in the queue, or came while the server starts or stops.
    Refused,
    /// It exceeded its time limit.
    TimedOut,
    /// The critic's text contained no verdict.
    Unparsable,
    /// The server failed.
    Failed,
    /// Its client left before the end of the answer.
    Cancelled,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unparsable => "unparsable",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a request was refused without being run. Counted by reason and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its body or its prompt is too large, regardless of other requests.
    TooLarge,
    /// It has no key, or an unknown one.
    Unauthenticated,
    /// It has an unknown key, and its address has sent too many of these.
    Guessing,
    /// Its key does not permit this.
    Forbidden,
    /// Its `Host` is not served, or its `Origin` is another site.
    Host,
    /// Its key has used up its requests per minute.
    Requests,
    /// Its key has used up its tokens per minute.
    Tokens,
    /// Its key has used up its images per minute.
    Images,
    /// Its key has the maximum number of concurrent requests.
    Concurrent,
    /// Its key has used up its share of the queue.
    QueueShare,
    /// It has crashed the engine before.
    Quarantined,
    /// Its body arrived too slowly.
    SlowBody,
    /// The bodies of other requests use up the memory for bodies, or its key's share of it.
    Bodies,
    /// Its body has an unsupported content encoding.
    Encoding,
    /// Its head is too long or invalid.
    Head,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Guessing => "guessing",
            Self::Forbidden => "forbidden",
            Self::Host => "host",
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Images => "images",
            Self::Concurrent => "concurrent",
            Self::QueueShare => "queue_share",
            Self::Quarantined => "quarantined",
            Self::SlowBody => "slow_body",
            Self::Bodies => "bodies",
            Self::Encoding => "encoding",
            Self::Head => "head",
        }
    }
}

/// The outcome of a stream after its head was sent, shared by the response and the writer of the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamOutcome(Arc<OnceLock<Outcome>>);

impl StreamOutcome {
    /// Creates the two handles: one for the response, one for the writer.
    pub(crate) fn pair() -> (Self, Self) {
        let fate = Self::default();
        (fate.clone(), fate)
    }

    /// Sets the outcome of a stream that fails. Only the first call has an effect.
    pub(crate) fn end(&self, outcome: Outcome) {
        let _ = self.0.set(outcome);
    }
}

impl IntoResponseParts for StreamOutcome {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Middleware that counts a request and its duration by route, kind and outcome.
pub(crate) async fn count_request(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".into());
    // The route, which names the span of the request, is first known here.
    name_route(&Span::current(), request.method(), &route);
    // Its answer is sent without a body.
    let is_head = request.method() == Method::HEAD;
    let kind = Arc::new(OnceLock::new());
    let start = Instant::now();
    let count = Count { metrics, route, kind: kind.clone(), outcome: Outcome::Cancelled, start };
    let mut response = KIND.scope(kind, next.run(request)).await;
    let extensions = response.extensions_mut();
    let key = extensions.remove::<KeyLabel>();
    if let Some(refusal) = extensions.remove::<Refusal>() {
        let key = key.as_ref().map_or("none", |KeyLabel(key)| key);
        let reason = refusal.as_str();
        count.metrics.counter(&names::REFUSALS_TOTAL, [reason, key]).increment(1);
        if refusal == Refusal::TooLarge {
            count.metrics.counter(&names::ADMISSION_REJECTIONS_TOTAL, [reason]).increment(1);
        }
    }
    let head = extensions.remove::<Outcome>().unwrap_or(if response.status().is_client_error() {
        Outcome::Invalid
    } else if response.status().is_server_error() {
        Outcome::Failed
    } else {
        Outcome::Answered
    });
    let fate = response.extensions_mut().remove::<StreamOutcome>().unwrap_or_default();
    response.map(|body| {
        let mut body = CountedBody { body, count, head, fate };
        if is_head {
            body.end();
        } else {
            body.look_for_end();
        }
        Body::new(body)
    })
}

/// Counts a request when it is dropped.
struct Count {
    metrics: Metrics,
    route: String,
    kind: Arc<OnceLock<RequestKind>>,
    /// The outcome to count, unless it is replaced before the drop.
    outcome: Outcome,
    start: Instant,
}

impl Drop for Count {
    fn drop(&mut self) {
        let endpoint = self.route.as_str();
        let kind = self.kind.get().copied().map_or("none", RequestKind::as_str);
        let outcome = self.outcome.as_str();
        self.metrics.counter(&names::REQUESTS_TOTAL, [endpoint, kind, outcome]).increment(1);
        let duration = self.metrics.histogram(&names::REQUEST_DURATION_SECONDS, [endpoint, kind]);
        duration.record(self.start.elapsed());
    }
}

/// A body that detects its end.
struct CountedBody {
    body: Body,
    count: Count,
    head: Outcome,
    fate: StreamOutcome,
}

impl CountedBody {
    /// At the end of the body, sets the outcome; until then the request counts as cancelled.
    fn look_for_end(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.count.outcome = self.fate.0.get().copied().unwrap_or(self.head);
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(_) => self.look_for_end(),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
