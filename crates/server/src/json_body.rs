//! Bodies of requests: bounded, JSON, and told apart by what is wrong with them.

use std::{error::Error, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{connections::SlowBody, error::ApiError, metrics::Refusal, state::AppState};

/// The bytes of a body that says it is JSON and is not too large.
pub(crate) struct JsonBytes(Bytes);

impl FromRequest<AppState> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        if !is_json(&head.headers) {
            let message = "The body must be JSON, with the header content-type: application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        read(body, &head.headers, state.max_body_bytes).await.map(Self)
    }
}

impl JsonBytes {
    /// The body as a `T`. JSON of the wrong form is refused with the status `wrong_form`.
    pub(crate) fn parse<T: DeserializeOwned>(&self, wrong_form: StatusCode) -> Result<T, ApiError> {
        // First the whole body as JSON, so that damage at its end is not hidden by a wrong form at its start.
        serde_json::from_slice::<IgnoredAny>(&self.0).map_err(|error| not_json(&error))?;
        let mut source = serde_json::Deserializer::from_slice(&self.0);
        serde_path_to_error::deserialize(&mut source).map_err(|error| {
            let path = error.path().to_string();
            let error = error.into_inner();
            match error.classify() {
                serde_json::error::Category::Data if path == "." => ApiError::new(
                    wrong_form,
                    "invalid_request",
                    format!("The body has the wrong form: {error}."),
                ),
                serde_json::error::Category::Data => {
                    let message = format!("{path} has the wrong form: {error}.");
                    ApiError::new(wrong_form, "invalid_request", message).with_param(path)
                }
                _ => not_json(&error),
            }
        })
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", format!("The body is not JSON: {error}."))
}

/// A missing type is refused too: a page in a browser can send any body without one, or as plain text, to a server
/// on the same machine without asking it first.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// A body that did not come to its end.
pub(crate) fn incomplete(error: &(dyn Error + 'static)) -> ApiError {
    let mut causes =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| Error::source(*error));
    match causes.find_map(|cause| cause.downcast_ref::<SlowBody>()) {
        Some(slow) => {
            let message = format!("The body came too slowly: {slow}.");
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).refused(Refusal::SlowBody)
        }
        None => {
            let message = format!("The body ended early: {error}.");
            ApiError::new(StatusCode::BAD_REQUEST, "incomplete_body", message)
        }
    }
}

/// Reads at most `limit` bytes. A larger body is read on for a while without being kept, since most clients look for
/// the answer only when they have sent everything.
async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("The body has more than {limit} bytes, which is the limit.");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
    };
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) && headers.contains_key(header::EXPECT) {
        return Err(too_large()); // this client waits for leave to send
    }
    let mut bytes = Vec::with_capacity(declared.unwrap_or(0).min(limit));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| incomplete(&error))?;
        if bytes.len() + chunk.len() > limit {
            let mut left = limit.saturating_mul(4);
            let discard = async {
                while let Some(Ok(chunk)) = chunks.next().await {
                    left = left.saturating_sub(chunk.len());
                    if left == 0 {
                        return;
                    }
                }
            };
            // Whether everything came or time ran out, the answer is the same.
            let _ = tokio::time::timeout(Duration::from_secs(10), discard).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}
