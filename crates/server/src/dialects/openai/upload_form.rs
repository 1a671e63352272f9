//! The multipart form of an upload, read within limits.
//!
//! The library that splits the body into fields has no limit of its own for what is no content yet: it keeps a
//! beginning without a boundary, or a head of a field without an end, whole in memory and searches it again for each
//! piece. So it is fed small pieces of the body, which are counted.

use std::{
    error::Error,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, BodyDataStream, Bytes},
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderMap, StatusCode, header},
};
use futures::Stream;

use crate::{
    error::{ApiError, Dialect, ErrorCode},
    extract::json_body::incomplete,
    request::body_memory::{BodyReservation, NoRoom},
    service::state::AppState,
};

/// The most bytes outside of the file's content: the other fields, the heads of all fields, and what stands before and
/// between them. A usual form has less than one kibibyte.
const MAX_OUTSIDE_BYTES: usize = 64 << 10;

/// The most bytes that the library gets at once: it looks at them before it gets more.
const PIECE_BYTES: usize = 16 << 10;

/// The maximum number of fields; there are four that have a meaning.
const MAX_FIELDS: usize = 32;

/// The maximum length of a form field other than the file, in bytes.
const MAX_FIELD_BYTES: usize = 4096;

/// The maximum length of a file's name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The form of an upload, which is read field by field.
pub(super) struct UploadForm {
    form: Multipart,
    counted: Arc<Mutex<Counted>>,
    fields: usize,
}

/// A field of a form.
pub(super) struct UploadField<'a> {
    field: Field<'a>,
    counted: &'a Mutex<Counted>,
}

/// The bytes of a form that are in memory. The library takes them in pieces, and the fields are read from it, in the
/// same task; the lock around it is never contended, and only held to count.
struct Counted {
    memory: BodyReservation,
    /// Bytes that the library got and that were not read as the content of a file.
    outside: usize,
    /// The most there were, which is how much of `memory` is theirs.
    reserved: usize,
}

/// Why the library gets no more of a form.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// Too much of it is outside of the file's content.
    #[error("more than {} KiB are outside of the file's content", MAX_OUTSIDE_BYTES >> 10)]
    TooMuch,
    /// The bodies of all requests take the memory that there is for them.
    #[error("there is no memory for it")]
    NoRoom(NoRoom),
}

impl UploadForm {
    /// Begins to read the body of a request.
    ///
    /// # Errors
    /// 415 when it is no form, 400 `invalid_form` when its boundary is missing.
    pub(super) async fn open(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        if !is_form(&head.headers) {
            let message = "The body must be a form, with the header content-type: multipart/form-data.";
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::UnsupportedMediaType,
                message,
            ));
        }
        let memory = state.begin_body(&head.extensions);
        let counted = Arc::new(Mutex::new(Counted { memory, outside: 0, reserved: 0 }));
        let (body, rest) = (body.into_data_stream(), Bytes::new());
        let pieces = CountedPieces { body, rest, paused: false, counted: counted.clone() };
        let request = Request::from_parts(head, Body::from_stream(pieces));
        let form = Multipart::from_request(request, state).await;
        let form = form.map_err(|error| invalid_form(&error.body_text()))?;
        Ok(Self { form, counted, fields: 0 })
    }

    /// The next field; `None` at the end of the form.
    ///
    /// # Errors
    /// 400 `invalid_form` when the body is no valid form or has too many fields or too much beside the file, 400
    /// `incomplete_body` and 408 when it ends early or comes too slowly, 429 when there is no memory for it.
    pub(super) async fn next(&mut self) -> Result<Option<UploadField<'_>>, ApiError> {
        let Self { form, counted, fields } = self;
        let Some(field) = form.next_field().await.map_err(|error| form_error(&error))? else {
            return Ok(None);
        };
        *fields += 1;
        if *fields > MAX_FIELDS {
            return Err(invalid_form(&format!("it has more than {MAX_FIELDS} fields")));
        }
        Ok(Some(UploadField { field, counted }))
    }
}

impl UploadField<'_> {
    /// The name of the field; empty if it has none.
    pub(super) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    /// The name of the file, if the field is one.
    ///
    /// # Errors
    /// 400 `invalid_form` when it is too long.
    pub(super) fn file_name(&self) -> Result<Option<&str>, ApiError> {
        match self.field.file_name() {
            Some(name) if name.len() > MAX_NAME_BYTES => {
                Err(invalid_form(&format!("the name of the file has more than {MAX_NAME_BYTES} bytes")))
            }
            name => Ok(name),
        }
    }

    /// Reserves memory in which the content is collected, until the form is dropped.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), ApiError> {
        lock(self.counted).memory.grow(bytes).map_err(no_room)
    }

    /// The next bytes of the content of a file; `None` at its end.
    ///
    /// # Errors
    /// As those of [`UploadForm::next`].
    pub(super) async fn content(&mut self) -> Result<Option<Bytes>, ApiError> {
        let bytes = self.field.chunk().await.map_err(|error| form_error(&error))?;
        let mut counted = lock(self.counted);
        counted.outside = counted.outside.saturating_sub(bytes.as_ref().map_or(0, Bytes::len));
        Ok(bytes)
    }

    /// The text of a short field.
    ///
    /// # Errors
    /// As those of [`UploadForm::next`], and 400 when it is not short.
    pub(super) async fn text(mut self) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.field.chunk().await.map_err(|error| form_error(&error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_FIELD_BYTES {
                let message = format!("A field beside the file has at most {MAX_FIELD_BYTES} bytes.");
                return Err(ApiError::invalid(self.name(), message));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

impl Counted {
    /// Counts bytes that the library gets.
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.outside += bytes;
        // Two pieces may be content that was not read yet: the rest of the one that ended the field's head, and the
        // next, which the library takes before it gives out any of them.
        if self.outside > MAX_OUTSIDE_BYTES + 2 * PIECE_BYTES {
            return Err(Refused::TooMuch);
        }
        if self.outside > self.reserved {
            self.memory.grow(self.outside - self.reserved).map_err(Refused::NoRoom)?;
            self.reserved = self.outside;
        }
        Ok(())
    }
}

/// The body of a form in small pieces.
struct CountedPieces {
    body: BodyDataStream,
    /// The rest of the last chunk of `body`.
    rest: Bytes,
    /// Whether the library is to look at its last piece before it gets another: it takes pieces as long as there are
    /// any.
    paused: bool,
    counted: Arc<Mutex<Counted>>,
}

impl Stream for CountedPieces {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { body, rest, paused, counted } = &mut *self;
        if mem::take(paused) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_next(context)) {
                Some(Ok(chunk)) => *rest = chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        *paused = true;
        let added = lock(counted).add(piece.len());
        Poll::Ready(Some(added.map(|()| piece).map_err(Into::into)))
    }
}

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the content type is that of a form.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("multipart/form-data")
}

/// The error for a form that cannot be read: by its content, or because the body failed.
fn form_error(error: &MultipartError) -> ApiError {
    let first: &(dyn Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| Error::source(*error));
    let causes: Vec<&(dyn Error + 'static)> = causes.collect();
    if let Some(refused) = causes.iter().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return match refused {
            Refused::NoRoom(reason) => no_room(*reason),
            Refused::TooMuch => invalid_form(&refused.to_string()),
        };
    }
    // The library's own errors have no such cause.
    match causes.iter().find(|cause| cause.is::<axum::Error>()) {
        Some(failed) => incomplete(*failed),
        None => invalid_form(&error.body_text()),
    }
}

/// The error for a form for which there is no memory, as these clients know it.
fn no_room(reason: NoRoom) -> ApiError {
    reason.refused(Dialect::OpenAi)
}

/// The error for a body that is not the form of an upload.
fn invalid_form(reason: &str) -> ApiError {
    let message = format!("The body must be multipart form data with the fields file and purpose: {reason}.");
    ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidForm, message)
}
