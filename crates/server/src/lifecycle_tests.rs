//! Requests by phase, one after another. `tests/interleavings.rs` has several at once.

use std::time::Duration;

use axum::{
    Router, body::Body, extract::Request, http::header, middleware, response::Response, routing::get,
};
use tower::ServiceExt;

use super::lifecycle::*;

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
async fn an_answer_counts_until_its_body_is_gone() {
    let lifecycle = Lifecycle::new();
    lifecycle.enter(Phase::Ready);
    let response = ask(&lifecycle).await;
    assert_eq!(lifecycle.drained(Duration::ZERO).await, 1);
    drop(response);
    assert_eq!(lifecycle.drained(Duration::from_secs(60)).await, 0);
}
