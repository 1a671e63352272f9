//! The phases of the server from its start to its end, and which requests are admitted in each.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    connections::guarded_body::GuardedBody,
    error::{ApiError, ErrorCode},
    sync::watch,
};

/// `Retry-After` of a refused request, in seconds: by then another server has taken over, or this one is replaced.
const RETRY_AFTER_S: u64 = 2;

/// A phase of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The critic is being loaded and warmed up.
    Starting,
    /// Requests are answered.
    Ready,
    /// The server was told to stop, and still answers clients that have not noticed.
    Pausing,
    /// New requests are refused, running ones are finished.
    Draining,
}

/// The phase, and the number of running requests. Clones share both.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    // Watch channels and not flags: a task that waits for a change must not miss the last one.
    phase: watch::Sender<Phase>,
    running: watch::Sender<usize>,
    shutdown_requested: watch::Sender<bool>,
    aborted: watch::Sender<bool>,
}

impl Lifecycle {
    /// A server in the phase [`Phase::Starting`].
    pub(crate) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            running: watch::Sender::new(0),
            shutdown_requested: watch::Sender::new(false),
            aborted: watch::Sender::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Tells the server to stop, as a termination signal does.
    pub(crate) fn request_shutdown(&self) {
        self.shutdown_requested.send_replace(true);
    }

    /// Waits until [`request_shutdown`](Self::request_shutdown) is called.
    pub(crate) async fn shutdown_requested(&self) {
        // `self` holds the sender, so that the wait does not end by a closed channel.
        let _ = self.shutdown_requested.subscribe().wait_for(|requested| *requested).await;
    }

    /// Refuses all requests that have no response yet.
    pub(crate) fn abort(&self) {
        self.aborted.send_replace(true);
    }

    /// Waits until [`abort`](Self::abort) is called.
    async fn aborted(&self) {
        // `self` holds the sender, so that the wait does not end by a closed channel.
        let _ = self.aborted.subscribe().wait_for(|aborted| *aborted).await;
    }

    /// Waits until no request runs, or `most` has passed; returns the number of requests that still run.
    pub(crate) async fn drained(&self, most: Duration) -> usize {
        let mut running = self.running.subscribe();
        // `self` holds the sender, so that the wait ends by the count or by the time alone.
        let _ = tokio::time::timeout(most, running.wait_for(|running| *running == 0)).await;
        self.running()
    }

    /// Number of running requests.
    pub(crate) fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until the server accepts no more requests.
    pub(crate) async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // `self` holds the sender, so that the wait does not end by a closed channel.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Admits a request, which counts as running until the returned guard is dropped.
    ///
    /// # Errors
    /// 503 with the code `starting` or `draining`, in these phases.
    pub(crate) fn begin(&self) -> Result<Running, ApiError> {
        // Counted first, so that a task that waits for the last request never misses an admitted one.
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(running),
        }
    }

    /// The error for new requests in this phase; `None` where they are admitted.
    fn refusal(&self) -> Option<ApiError> {
        match self.phase() {
            Phase::Starting => Some(starting()),
            Phase::Ready | Phase::Pausing => None,
            Phase::Draining => {
                Some(refused(ErrorCode::Draining, "The server is stopping and takes no more requests."))
            }
        }
    }
}

/// The error for a request that arrives before the critic is loaded.
pub(crate) fn starting() -> ApiError {
    refused(ErrorCode::Starting, "The critic is being loaded.")
}

fn refused(code: ErrorCode, message: &str) -> ApiError {
    ApiError::out_of_service(code, message).with_retry_after(RETRY_AFTER_S)
}

/// The response to a client that should use another server: the last one on its connection.
fn last(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts a request as running until this is dropped.
pub(crate) struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Middleware that admits or refuses a request, and counts it until its response has been sent or abandoned.
pub(crate) async fn admit(State(lifecycle): State<Lifecycle>, request: Request, next: Next) -> Response {
    let running = match lifecycle.begin() {
        Ok(running) => running,
        Err(refusal) => return last(refusal),
    };
    let response = tokio::select! {
        biased;
        response = next.run(request) => response,
        // The request may be half received, queued or half computed: it has no response, and another server may
        // answer it.
        () = lifecycle.aborted() => last(refused(ErrorCode::Draining, "The server stopped before the request was answered.")),
    };
    response.map(|body| Body::new(GuardedBody::new(body, running)))
}
