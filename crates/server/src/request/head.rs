//! Checks the head of every request before access control and handlers, and sets headers of every response.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    error::{ApiError, ErrorCode},
    metrics::Refusal,
    request::path,
};

/// Limits of the head of a request. The HTTP library bounds what it reads; these limits give an error that says what
/// is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Maximum length of the URI, in bytes.
    pub(crate) uri: usize,
    /// Maximum size of all header fields together, in bytes.
    pub(crate) fields: usize,
}

impl HeadLimits {
    /// No limits.
    pub(crate) const NONE: Self = Self { uri: usize::MAX, fields: usize::MAX };
}

/// Middleware that refuses requests with an invalid head, and sets the headers that browsers and caches need on each
/// response.
pub(crate) async fn check(State(limits): State<HeadLimits>, request: Request, next: Next) -> Response {
    let mut response = match validate(&request, limits) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Cacheable responses have the header already. Streams have `no-cache`, which still allows caches to store them.
    let streams = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if streams || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// # Errors
/// When the URI or the header is too long, the host is missing (from HTTP/1.1 on) or repeated, or the body is
/// compressed.
fn validate(request: &Request, limits: HeadLimits) -> Result<(), ApiError> {
    let uri = path::sent(request).path_and_query().map_or(0, |uri| uri.as_str().len());
    if uri > limits.uri {
        let message = format!("The URI has {uri} bytes; the limit is {} (max_uri_kib).", limits.uri);
        return Err(
            ApiError::new(StatusCode::URI_TOO_LONG, ErrorCode::UriTooLong, message).refused(Refusal::Head)
        );
    }
    // Their size as sent: with a colon, a space and the end of a line for each.
    let fields: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if fields > limits.fields {
        let message =
            format!("The header has {fields} bytes; the limit is {} (max_head_kib).", limits.fields);
        let error =
            ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorCode::HeaderTooLarge, message);
        return Err(error.refused(Refusal::Head));
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        let error = ApiError::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::InvalidHost,
            "A request needs the header host, once.",
        );
        return Err(error.refused(Refusal::Head));
    }
    let packed = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.headers().get_all(header::CONTENT_ENCODING).iter().any(packed) {
        let message =
            "The server reads no compressed bodies: send the body without the header content-encoding.";
        let error =
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::UnsupportedEncoding, message);
        return Err(error.refused(Refusal::Encoding));
    }
    Ok(())
}
