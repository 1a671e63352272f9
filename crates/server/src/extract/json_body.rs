//! JSON bodies of requests: read within limits, checked and parsed, with errors that name what is wrong.

use std::error::Error;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{
    connections::SlowBody,
    error::{ApiError, Dialect, ErrorCode},
    json::{
        body_form::BodyForm,
        errors,
        limits::{self, JsonLimits},
        line, lone_surrogates,
    },
    metrics::Refusal,
    request::body_memory::BodyReservation,
    service::state::AppState,
};

/// The bytes of a body that is JSON within the limits, unless it was read [`unchecked`](JsonBytes::unchecked).
pub(crate) struct JsonBytes {
    bytes: Bytes,
    /// The reservation of their memory; `None` where it is not counted.
    memory: Option<BodyReservation>,
}

impl FromRequest<AppState> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let mut body = Self::unchecked(&head, body, state).await?;
        body.check(&state.limits.content.shape, BodyForm::of(&head.extensions))?;
        Ok(body)
    }
}

impl JsonBytes {
    /// Reads a body of at most the limit's size, for callers whose way to [`check`](Self::check) it depends on it.
    ///
    /// # Errors
    /// When its type is not JSON, or it is too large, comes too slowly or ends early.
    pub(crate) async fn unchecked(head: &Parts, body: Body, state: &AppState) -> Result<Self, ApiError> {
        if !is_json(&head.headers) {
            let message = "The body must be JSON in UTF-8, with the header content-type: application/json.";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedMediaType,
                message,
            ));
        }
        let dialect = head.extensions.get::<Dialect>().copied().unwrap_or(Dialect::Native);
        let memory = state.begin_body(&head.extensions);
        let (bytes, memory) =
            read(body, &head.headers, state.limits.max_body_bytes, (memory, dialect)).await?;
        Ok(Self { bytes, memory: Some(memory) })
    }

    /// A body of these bytes, whose memory is not counted.
    ///
    /// # Errors
    /// As those of [`check`](Self::check).
    pub(crate) fn checked(bytes: Bytes, limits: &JsonLimits, form: BodyForm) -> Result<Self, ApiError> {
        let mut body = Self { bytes, memory: None };
        body.check(limits, form)?;
        Ok(body)
    }

    /// Checks the whole body, before it is parsed: damage at its end is not hidden by a wrong value at its start. If it is
    /// not JSON, lone surrogates in it are replaced, and it is checked again.
    ///
    /// # Errors
    /// When it is not JSON or exceeds one of the limits.
    pub(crate) fn check(&mut self, limits: &JsonLimits, form: BodyForm) -> Result<(), ApiError> {
        match limits::check(&self.bytes, limits, form) {
            Err(error) if error.code() == ErrorCode::InvalidJson => {
                // Nothing else has the bytes, so that they are not copied.
                let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
                let has_replaced = lone_surrogates::replace(&mut bytes);
                self.bytes = bytes.into();
                if has_replaced { limits::check(&self.bytes, limits, form) } else { Err(error) }
            }
            checked => checked,
        }
    }

    /// Drops the bytes after parsing: the parsed request waits and takes about as much memory again. The returned
    /// reservation keeps that memory counted.
    pub(crate) fn into_memory(self) -> Option<BodyReservation> {
        self.memory
    }

    /// Deserialises the body as a `T`.
    ///
    /// # Errors
    /// When a value does not fit, with its path.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // serde would also accept a list for a struct, with the fields in their order.
        if !self.bytes.trim_ascii_start().starts_with(b"{") {
            let message = "The body must be a JSON object.";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message));
        }
        let mut source = serde_json::Deserializer::from_slice(&self.bytes);
        serde_path_to_error::deserialize(&mut source).map_err(|error| {
            let path = error.path().to_string();
            // The body is known to be JSON, so that a syntax error is a value of the wrong kind, such as `null` for
            // an enum.
            let error = error.into_inner();
            match error.classify() {
                Category::Data => errors::refusal((&path, "field"), &line::reason(&error)),
                Category::Io | Category::Syntax | Category::Eof => errors::no_form(&path),
            }
        })
    }
}

/// A size in mebibytes, as in the options, or in bytes if it is no whole number of them.
fn size(bytes: usize) -> String {
    match bytes >> 20 {
        mib if mib << 20 == bytes => format!("{mib} MiB"),
        _ => format!("{bytes} bytes"),
    }
}

/// The names of UTF-8 and of its part that older clients name.
const UTF_8: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Whether the content type is JSON in UTF-8. A missing one is not: a web page can send any body without a type, or as
/// plain text, to a server on the same machine without a CORS preflight.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let is_json =
        media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    let mut charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim_end() == "charset").then(|| value.trim().trim_matches('"'))
    });
    is_json && charsets.all(|charset| UTF_8.contains(&charset))
}

/// The error for a body that came too slowly or ended early.
pub(crate) fn incomplete(error: &(dyn Error + 'static)) -> ApiError {
    let mut causes =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| Error::source(*error));
    match causes.find_map(|cause| cause.downcast_ref::<SlowBody>()) {
        Some(slow) => {
            let message = format!("The body came too slowly: {slow}.");
            ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::RequestTimeout, message)
                .refused(Refusal::SlowBody)
        }
        None => {
            let message = format!("The body ended early: {error}.");
            ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::IncompleteBody, message)
        }
    }
}

/// Reads a body of at most `limit` bytes, and reserves memory for its chunks as they arrive.
async fn read(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    (mut memory, dialect): (BodyReservation, Dialect),
) -> Result<(Bytes, BodyReservation), ApiError> {
    let too_large = || {
        let message = format!("The body has more than {}, which is the limit (max_body_mib).", size(limit));
        let told = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::RequestTooLarge, message);
        told.refused(Refusal::TooLarge)
    };
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| incomplete(&error))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        memory.grow(chunk.len()).map_err(|no_room| no_room.refused(dialect))?;
        make_room(&mut bytes, chunk.len(), declared.unwrap_or(limit));
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.into(), memory))
}

/// Bodies up to this size grow by doubling, which leaves as much memory behind as they take.
const SMALL: usize = 1 << 20;

/// Makes room for `more` bytes of a body of at most `whole` bytes: twice the room, or all of it for a body that is not
/// small. Memory that nothing is written to is not taken from the system, so that a client that declares a length and
/// sends nothing takes none, whereas a body that outgrew its memory several times would take twice its size.
fn make_room(bytes: &mut Vec<u8>, more: usize, whole: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let room = if needed > SMALL { whole } else { (bytes.capacity() * 2).min(whole) };
        bytes.reserve_exact(room.max(needed) - bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde::Deserialize;

    use super::{BodyForm, HeaderMap, JsonBytes, JsonLimits, SMALL, header, is_json, make_room};

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "nothing is read of what is refused")]
    struct Form {
        order: Option<Order>,
        count: Option<usize>,
        strength: Option<f32>,
        texts: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Given,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "nothing is read of what is refused")]
    struct Named {
        order: Order,
    }

    #[test]
    fn json_is_in_utf_8() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON ; Charset=UTF-8", true),
            ("application/json;charset=\"utf8\"; profile=x", true),
            ("application/ld+json; charset=us-ascii", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=latin1", false),
            ("application/json; charset=utf-8; charset=utf-16", false),
            ("application/json; charset=", false),
            ("text/json", false),
            ("text/plain; charset=utf-8", false),
            ("", false),
        ] {
            let headers: HeaderMap = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_json(&headers), json, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_lone_surrogate_is_read_as_a_replacement_and_hides_no_other_error() {
        let read = |body: &'static str| {
            let bytes = Bytes::from_static(body.as_bytes());
            let body = JsonBytes::checked(bytes, &JsonLimits::SMALL, BodyForm::default());
            body.and_then(|body| body.parse::<Form>()).map(|form| form.texts.unwrap_or_default())
        };
        for (body, text) in [
            (r#"{"texts":["a\ud800b"]}"#, "a\u{fffd}b"),
            (r#"{"texts":["\ud83d\ude00\ude00"]}"#, "\u{1f600}\u{fffd}"),
            (r#"{"texts":["\\ud800 \udc00"]}"#, "\\ud800 \u{fffd}"),
            (r#"{"texts":["\\ud800"]}"#, "\\ud800"),
        ] {
            assert_eq!(read(body).unwrap(), [text], "{body}");
        }
        for (body, code) in [
            (r#"{"texts":["\ud800"],}"#, "invalid_json"),
            (r#"{"texts":["\ud80"]}"#, "invalid_json"),
            // Two names that are the same once they are replaced.
            (r#"{"\ud800":1,"\udc00":2}"#, "invalid_request"),
        ] {
            assert_eq!(read(body).unwrap_err().code().as_str(), code, "{body}");
        }
    }

    #[test]
    fn room_is_made_as_bytes_arrive_and_never_beyond_the_whole() {
        let (mut bytes, mut rooms) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            make_room(&mut bytes, 100, 1000);
            bytes.extend_from_slice(&[0; 100]);
            if rooms.last() != Some(&bytes.capacity()) {
                rooms.push(bytes.capacity());
            }
        }
        assert_eq!(rooms, [100, 200, 400, 800, 1000]);
        // What is not small gets all of its room at once.
        let mut large = Vec::new();
        make_room(&mut large, SMALL, 1 << 30);
        assert_eq!(large.capacity(), SMALL);
        make_room(&mut large, SMALL + 1, 1 << 24);
        assert_eq!(large.capacity(), 1 << 24);
    }

    #[test]
    fn what_is_wrong_is_told_in_plain_words_and_valid_json_is_json() {
        let told = |body: &'static str, named: bool| {
            let body = JsonBytes { bytes: Bytes::from_static(body.as_bytes()), memory: None };
            let error = if named { body.parse::<Named>().err() } else { body.parse::<Form>().err() };
            let error = error.unwrap();
            (error.code().as_str(), error.message().to_owned())
        };
        let (code, message) = told(r#"{"order":null}"#, true);
        assert_eq!(
            (code, message.as_str()),
            ("invalid_request", "order has none of the forms that are read here.")
        );
        for (body, words) in [
            (r#"{"count":-1}"#, "count must be a whole number from 0."),
            (r#"{"count":"usize"}"#, "count must be a whole number from 0, not text."),
            (r#"{"strength":[]}"#, "strength must be a number, not a list."),
            (r#"{"texts":1}"#, "texts must be a list, not a number."),
            (r#"{"order":"taken"}"#, "order must be `given`, not `taken`."),
            (r#""text""#, "The body must be a JSON object."),
            (" [1]", "The body must be a JSON object."),
        ] {
            let (code, message) = told(body, false);
            assert_eq!(code, "invalid_request");
            assert_eq!(message, words, "{body}");
        }
    }
}
