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

use crate::{error::ApiError, sync::watch};

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
        self.running()
    }

    /// How many requests run.
    pub(crate) fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until the server takes no more requests.
    pub(crate) async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is `self`, so that the wait ends by the phase alone.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Lets a request in, which runs until what is returned is dropped.
    ///
    /// # Errors
    /// When nothing is let in now.
    pub(crate) fn begin(&self) -> Result<Running, ApiError> {
        // Counted first: a request that is let in is never missed by whoever waits for the last one.
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(running),
        }
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
pub(crate) struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Lets a request in, or refuses it; counts it until its answer has been sent or given up.
pub(crate) async fn admit(State(lifecycle): State<Lifecycle>, request: Request, next: Next) -> Response {
    let running = match lifecycle.begin() {
        Ok(running) => running,
        Err(refusal) => return last(refusal),
    };
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
