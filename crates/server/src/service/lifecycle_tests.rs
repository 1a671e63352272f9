//! Tests the admission of single requests by phase. `tests/interleavings.rs` tests concurrent ones.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::header,
    middleware,
    response::Response,
    routing::get,
};
use futures::StreamExt;
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
async fn who_has_no_answer_yet_is_refused_when_all_is_aborted() {
    let lifecycle = Lifecycle::new();
    lifecycle.enter(Phase::Ready);
    let never = Router::new().route("/", get(std::future::pending::<&str>));
    let admitting = middleware::from_fn_with_state(lifecycle.clone(), admit);
    let asked = never.layer(admitting).oneshot(Request::get("/").body(Body::empty()).unwrap());
    let (response, ()) = tokio::join!(asked, async { lifecycle.abort() });
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
