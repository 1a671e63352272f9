//! What holds for every request before anything looks at it, and for every response when everything has.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{error::ApiError, metrics::Refusal};

/// How large the head of a request may be. The HTTP library bounds what it reads; this says what is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// The longest URI, in bytes.
    pub(crate) uri: usize,
    /// The most that all header fields may have together, in bytes.
    pub(crate) fields: usize,
}

impl HeadLimits {
    /// None.
    pub(crate) const NONE: Self = Self { uri: usize::MAX, fields: usize::MAX };
}

/// Refuses requests whose head makes no sense here, and puts on each response what browsers and caches on the way must know.
pub(crate) async fn edge(State(limits): State<HeadLimits>, request: Request, next: Next) -> Response {
    let mut response = match check(&request, limits) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What may be kept says so itself; streams only say that they must be asked for again.
    let streams = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if streams || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn check(request: &Request, limits: HeadLimits) -> Result<(), ApiError> {
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri > limits.uri {
        let message = format!("The URI has {uri} bytes; the limit is {} (max_uri_kib).", limits.uri);
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "uri_too_long", message).refused(Refusal::Head));
    }
    // As they are written: a colon, a space and the end of a line for each.
    let fields: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if fields > limits.fields {
        let message =
            format!("The header has {fields} bytes; the limit is {} (max_head_kib).", limits.fields);
        let error = ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_too_large", message);
        return Err(error.refused(Refusal::Head));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        let error =
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_host", "A request needs the header host, once.");
        return Err(error.refused(Refusal::Head));
    }
    let packed = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.headers().get_all(header::CONTENT_ENCODING).iter().any(packed) {
        let message =
            "The server reads no compressed bodies: send the body without the header content-encoding.";
        let error = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message);
        return Err(error.refused(Refusal::Encoding));
    }
    Ok(())
}
