//! Requests in figures: each is counted once, when the last of its answer is sent or its client has left.

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
    middleware::Next,
    response::{IntoResponse, IntoResponseParts, Response, ResponseParts},
};
use http_body::{Frame, SizeHint};
use judge::Kind;
use tracing::Span;

use super::Metrics;
use crate::{access::KeyLabel, telemetry::name_route};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// A score.
    Pointwise,
    /// A comparison.
    Pairwise,
    /// Rewards of several responses.
    Reward,
    /// Scores for programs that know other servers.
    Score,
    /// The next turn of a conversation.
    Chat,
    /// Text that is continued as it stands.
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
    /// Notes that an image came from another host, or that none did.
    pub(crate) fn fetched(&self, duration: Duration, came: bool) {
        let outcome = if came { "fetched" } else { "failed" };
        self.counter("gavel_image_fetch_total", &[("outcome", outcome)]).increment(1);
        self.histogram("gavel_image_fetch_seconds", &[]).record(duration);
    }
}

impl RequestKind {
    /// The response to a request of this kind, which then says so to whoever counts.
    pub(crate) fn of(self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        response.extensions_mut().insert(self);
        response
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

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered,
    /// It made no sense.
    Invalid,
    /// The waiting line was full, or it waited there in vain.
    Refused,
    /// It ran out of time.
    TimedOut,
    /// The critic wrote no verdict.
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

/// Why a request was not let in, where only HTTP knows it. Each has a count by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its body or its prompt is too large, whatever else waits.
    TooLarge,
    /// It shows no key, or none that is known.
    Unauthenticated,
    /// It shows no key that is known, and its address has shown many of these.
    Guessing,
    /// Its key is not for this.
    Forbidden,
    /// It asks for a host that is not served, or a page of another site asks.
    Host,
    /// Its key has had its requests of this minute.
    Requests,
    /// Its key has had its tokens of this minute.
    Tokens,
    /// Its key has had its images of this minute.
    Images,
    /// As many requests of its key run as may.
    Concurrent,
    /// Its key has its share of the waiting line.
    QueueShare,
    /// Engines died over it.
    Quarantined,
    /// Its body came too slowly.
    SlowBody,
    /// The bodies of other requests take all the memory that there is for bodies.
    Bodies,
    /// Its body is packed in a way that is not unpacked here.
    Encoding,
    /// Its head is too long, or makes no sense.
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

/// What becomes of a stream after its head was sent: part of its response, and held by whoever writes the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamFate(Arc<OnceLock<Outcome>>);

impl StreamFate {
    /// The two ends: one for the response, one for the writer.
    pub(crate) fn pair() -> (Self, Self) {
        let fate = Self::default();
        (fate.clone(), fate)
    }

    /// Notes that the stream ends badly. Only the first word counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        let _ = self.0.set(outcome);
    }
}

impl IntoResponseParts for StreamFate {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Counts a request and its time by its route, kind and outcome.
pub(crate) async fn count_request(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".into());
    // The span of the request is named by its route, which is known here first.
    name_route(&Span::current(), request.method(), &route);
    let mut count = Count { metrics, route, kind: None, outcome: Outcome::Cancelled, start: Instant::now() };
    let mut response = next.run(request).await;
    let extensions = response.extensions_mut();
    count.kind = extensions.remove::<RequestKind>();
    let key = extensions.remove::<KeyLabel>();
    if let Some(refusal) = extensions.remove::<Refusal>() {
        let key = ("key", key.as_ref().map_or("none", |KeyLabel(key)| key));
        let reason = ("reason", refusal.as_str());
        count.metrics.counter("gavel_refusals_total", &[reason, key]).increment(1);
        if refusal == Refusal::TooLarge {
            count.metrics.counter("gavel_admission_rejections_total", &[reason]).increment(1);
        }
    }
    let head = extensions.remove::<Outcome>().unwrap_or(if response.status().is_client_error() {
        Outcome::Invalid
    } else if response.status().is_server_error() {
        Outcome::Failed
    } else {
        Outcome::Answered
    });
    let fate = response.extensions_mut().remove::<StreamFate>().unwrap_or_default();
    response.map(|body| {
        let mut body = CountedBody { body, count, head, fate };
        body.look_for_end();
        Body::new(body)
    })
}

/// Counts its request when it is dropped.
struct Count {
    metrics: Metrics,
    route: String,
    kind: Option<RequestKind>,
    /// What is counted if nothing else comes.
    outcome: Outcome,
    start: Instant,
}

impl Drop for Count {
    fn drop(&mut self) {
        let endpoint = ("endpoint", self.route.as_str());
        let kind = ("kind", self.kind.map_or("none", RequestKind::as_str));
        let outcome = ("outcome", self.outcome.as_str());
        self.metrics.counter("gavel_requests_total", &[endpoint, kind, outcome]).increment(1);
        let duration = self.metrics.histogram("gavel_request_duration_seconds", &[endpoint, kind]);
        duration.record(self.start.elapsed());
    }
}

/// A body that knows when all of it was taken.
struct CountedBody {
    body: Body,
    count: Count,
    head: Outcome,
    fate: StreamFate,
}

impl CountedBody {
    /// When nothing more comes, the outcome is what was told, and no client's leaving.
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
