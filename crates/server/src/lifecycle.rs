//! Where the server stands between its start and its end, and which requests are let in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use crate::error::ApiError;

/// When a client that was refused should come again: another server takes over, or this one is replaced.
const COME_AGAIN_S: u64 = 2;

/// Where the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The critic is being loaded and tried.
    Starting,
    /// Requests are answered.
    Ready,
    /// It was told to stop, and still answers whoever has not noticed.
    Pausing,
    /// New requests are refused, running ones are finished.
    Draining,
}

/// The phase, and how many requests run. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    // Watched values and not flags: whoever waits for a change must not miss the last one.
    phase: watch::Sender<Phase>,
    running: watch::Sender<usize>,
    leaving: watch::Sender<bool>,
    given_up: watch::Sender<bool>,
}

impl Lifecycle {
    /// A server that starts.
    pub(crate) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            running: watch::Sender::new(0),
            leaving: watch::Sender::new(false),
            given_up: watch::Sender::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Tells the server to stop, as a signal does.
    pub(crate) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Waits until the server is told to stop by [`leave`](Self::leave).
    pub(crate) async fn told_to_leave(&self) {
        // The sender is `self`, so that the wait ends by the word alone.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }

    /// Refuses whoever has no answer yet.
    pub(crate) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Waits until those who have no answer yet are refused.
    async fn giving_up(&self) {
        // The sender is `self`, so that the wait ends by the word alone.
        let _ = self.given_up.subscribe().wait_for(|given_up| *given_up).await;
    }

    /// Waits until no request runs, or `most` has passed; tells which requests were left.
    pub(crate) async fn drained(&self, most: Duration) -> usize {
        let mut running = self.running.subscribe();
        // The sender is `self`, so that the wait ends by the count or by the time alone.
        let _ = tokio::time::timeout(most, running.wait_for(|running| *running == 0)).await;
        *self.running.borrow()
    }

    /// Waits until the server takes no more requests.
    pub(crate) async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is `self`, so that the wait ends by the phase alone.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    fn begin(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(self.running.clone())
    }

    /// Why nothing is let in now.
    fn refusal(&self) -> Option<ApiError> {
        let (code, message) = match self.phase() {
            Phase::Starting => ("starting", "The critic is being loaded."),
            Phase::Ready | Phase::Pausing => return None,
            Phase::Draining => ("draining", "The server is stopping and takes no more requests."),
        };
        Some(refused(code, message))
    }
}

fn refused(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message).with_retry_after(COME_AGAIN_S)
}

/// The answer to one who shall go elsewhere, on this connection the last.
fn last(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts a request until it is dropped.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Lets a request in, or refuses it; counts it until its answer has been sent or given up.
pub(crate) async fn admit(State(lifecycle): State<Lifecycle>, request: Request, next: Next) -> Response {
    // Counted first: a request that is let in is never missed by whoever waits for the last one.
    let running = lifecycle.begin();
    if let Some(error) = lifecycle.refusal() {
        return last(error);
    }
    let response = tokio::select! {
        biased;
        response = next.run(request) => response,
        // Whether it was still being sent, waited, or was half done: it was not answered, and another server may do it.
        () = lifecycle.giving_up() => last(refused("draining", "The server stopped before the request was answered.")),
    };
    response.map(|body| Body::new(Held::new(body, running)))
}

/// The body of an answer that holds something until it ends, such as the count of what runs.
pub(crate) struct Held<G> {
    body: Body,
    _held: G,
}

impl<G> Held<G> {
    pub(crate) fn new(body: Body, held: G) -> Self {
        Self { body, _held: held }
    }
}

impl<G: Unpin> http_body::Body for Held<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{Router, middleware, routing::get};
    use futures::StreamExt;
    use tower::ServiceExt;

    use super::*;

    fn service(lifecycle: &Lifecycle) -> Router {
        let admitting = middleware::from_fn_with_state(lifecycle.clone(), admit);
        Router::new().route("/", get(|| async { "answer" })).layer(admitting)
    }

    async fn ask(lifecycle: &Lifecycle) -> Response {
        service(lifecycle).oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn requests_are_let_in_by_phase() {
        let lifecycle = Lifecycle::new();
        for (phase, status) in
            [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Pausing, 200), (Phase::Draining, 503)]
        {
            lifecycle.enter(phase);
            let response = ask(&lifecycle).await;
            assert_eq!(response.status(), status, "{phase:?}");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
        }
        assert_eq!(lifecycle.drained(Duration::ZERO).await, 0);
    }

    #[tokio::test]
    async fn who_has_no_answer_yet_is_refused_when_all_is_given_up() {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        let never = Router::new().route("/", get(std::future::pending::<&str>));
        let admitting = middleware::from_fn_with_state(lifecycle.clone(), admit);
        let asked = never.layer(admitting).oneshot(Request::get("/").body(Body::empty()).unwrap());
        let (response, ()) = tokio::join!(asked, async { lifecycle.give_up() });
        assert_eq!(response.unwrap().status(), 503);
    }

    #[tokio::test]
    async fn an_answer_that_panics_while_it_is_sent_counts_no_more() {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        async fn handler() -> Body {
            let pieces = futures::stream::once(async { panic!("as an encoder might") });
            Body::from_stream(pieces.map(|piece: Bytes| Ok::<_, Infallible>(piece)))
        }
        let admitting = middleware::from_fn_with_state(lifecycle.clone(), admit);
        let router = Router::new().route("/", get(handler));
        let response =
            router.layer(admitting).oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let sending = tokio::spawn(axum::body::to_bytes(response.into_body(), usize::MAX));
        assert!(sending.await.unwrap_err().is_panic());
        assert_eq!(lifecycle.drained(Duration::from_secs(60)).await, 0);
    }

    #[tokio::test]
    async fn an_answer_counts_until_its_body_is_gone() {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        let response = ask(&lifecycle).await;
        assert_eq!(lifecycle.drained(Duration::ZERO).await, 1);
        drop(response);
        assert_eq!(lifecycle.drained(Duration::from_secs(60)).await, 0);
    }
}
