//! A name for each request, in its logs and on its response, whatever became of it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a request, for handlers.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Takes the client's name for the request, or makes one, and puts it on the response.
pub(crate) async fn name_request(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).filter(|id| is_plain(id)).cloned();
    let id = given.unwrap_or_else(fresh);
    request.extensions_mut().insert(RequestId(id.to_str().unwrap_or_default().to_owned()));
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path()
    );
    async move {
        let start = Instant::now();
        let mut response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), elapsed = ?start.elapsed(), "answered");
        response.headers_mut().insert(HEADER, id);
        response
    }
    .instrument(span)
    .await
}

/// Whether a client's name may go into logs: short, printable, no spaces.
fn is_plain(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// A name that no other request has, in this process or, with great odds, in another.
pub(crate) fn fresh_id() -> String {
    static START: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    format!("{:016x}{:016x}", START.hash_one(count), START.hash_one((count, "second half")))
}

fn fresh() -> HeaderValue {
    HeaderValue::from_str(&format!("req-{}", fresh_id())).expect("hexadecimal digits may stand in a header")
}
