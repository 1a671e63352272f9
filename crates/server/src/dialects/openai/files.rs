//! `/v1/files`: what clients leave with the server, streamed in and out.

use std::{io::Read, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{
        Multipart, Path, Query, State,
        multipart::{Field, MultipartError},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::{Deserialize, Serialize};
use store::{FilePage, FileRecord, Incoming, NewFile, Order, Part, Purpose, StoreError};
use utoipa::{IntoParams, ToSchema};

use super::{batches::Paged, examples};
use crate::{
    access::Grant,
    caller::CallerOf,
    error::{ApiError, ErrorBody},
    images,
    state::AppState,
    storage::Kept,
    url_query,
};

/// The most files of a list.
const MOST_LISTED: usize = 10_000;

/// The longest text of a field beside the file, in bytes.
const MAX_FIELD_BYTES: usize = 4096;

/// The longest name of a file, in characters.
const MAX_NAME: usize = 255;

/// How much of a file is read or written at a time: enough that the ways to the disk cost little, and little memory.
const PIECE_BYTES: usize = 256 << 10;

/// How much of a file's beginning tells its format.
const BEGINNING_BYTES: usize = 16;

/// How long a file that is refused is read on, since most clients look for the answer only when they have sent everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long clients may ask a file to be kept, in seconds: an hour to thirty days.
const LIFETIMES_S: std::ops::RangeInclusive<i64> = 3600..=2_592_000;

/// A file and what it is for, as multipart form data with its fields in any order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this is its description")]
pub(super) struct FileForm {
    /// The content.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// `batch` for the lines of a batch, `vision` or `user_data` for an image that is then named by its id; `assistants`,
    /// `fine-tune` and `evals` are kept.
    purpose: String,
    /// Always `created_at`, where it is given.
    #[schema(rename = "expires_after[anchor]")]
    expires_after_anchor: Option<String>,
    /// After how many seconds it goes, from 3600 to 2592000, where that is before the server's own time.
    #[schema(rename = "expires_after[seconds]")]
    expires_after_seconds: Option<i64>,
}

/// A file.
#[derive(Serialize, ToSchema)]
pub(super) struct FileObject {
    /// Its name for other requests: `file-` and 32 digits.
    id: String,
    /// Always `file`.
    object: &'static str,
    /// Its size.
    bytes: i64,
    /// When it was kept, in seconds since 1970.
    created_at: i64,
    /// What its owner calls it.
    filename: String,
    /// What it is for.
    purpose: &'static str,
    /// Always `processed`.
    status: &'static str,
    /// When it is gone, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// The SHA-256 of its content; an image may be named by it as `sha256:…`, too. An extension.
    sha256: String,
}

impl From<FileRecord> for FileObject {
    fn from(record: FileRecord) -> Self {
        let FileRecord { id, name, purpose, bytes, sha256, created_at, expires_at } = record;
        Self {
            id,
            object: "file",
            bytes,
            created_at,
            filename: name,
            purpose: purpose.as_str(),
            status: "processed",
            expires_at,
            sha256,
        }
    }
}

/// That a file was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct FileDeleted {
    /// Which one.
    id: String,
    /// Always `file`.
    object: &'static str,
    /// Always true.
    deleted: bool,
}

/// What a file has in it, byte by byte.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is sent as it is read; this is its description")]
pub(super) struct FileContent(Vec<u8>);

/// Which files are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FilesQuery {
    /// Only those for this.
    purpose: Option<String>,
    /// How many at most, from 1 to 10000, which is the default.
    limit: Option<usize>,
    /// The id of the file behind which the list begins.
    after: Option<String>,
    /// By when they were made: `desc`, the newest first and the default, or `asc`.
    order: Option<String>,
}

/// Keep a file.
///
/// It is on the disk when this is answered. It belongs to whoever sent it, by the key of the request, and nobody else finds it.
#[utoipa::path(
    post,
    path = "/v1/files",
    operation_id = "create_file",
    tag = "openai",
    request_body(content = FileForm, content_type = "multipart/form-data", example = json!(examples::file_form())),
    responses(
        (status = 200, description = "It is kept.", body = FileObject, example = json!(examples::file())),
        (status = 400, description = "The form makes no sense, or the file is no image and is for `vision`.", body = ErrorBody),
        (status = 404, description = "The server keeps no files.", body = ErrorBody),
        (status = 413, description = "The file is too large, or too much is kept.", body = ErrorBody)
    )
)]
pub(super) async fn create(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    grant: Option<Extension<Arc<Grant>>>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<Json<FileObject>, ApiError> {
    let kept = state.storage.get()?;
    let owner = caller.tenant.0.to_string();
    let share = grant.map_or(1.0, |Extension(grant)| f64::from(grant.account().stored_share()));
    let part = Part { owner: owner.clone(), share };
    let mut form = form.map_err(|error| broken(&error.body_text()))?;
    let (mut file, mut purpose, mut seconds) = (None, None, None);
    while let Some(field) = form.next_field().await.map_err(told)? {
        match field.name().unwrap_or_default() {
            "file" if file.is_some() => return Err(ApiError::invalid("file", "Send one file at a time.")),
            "file" => file = Some(receive(kept, &part, field).await?),
            "purpose" => purpose = Some(text(field).await?),
            "expires_after[seconds]" => seconds = Some(text(field).await?),
            _ => drop(text(field).await?),
        }
    }
    let purpose = purpose.ok_or_else(|| ApiError::invalid("purpose", "The form needs a purpose."))?;
    let purpose = parse_purpose(&purpose)?;
    if purpose == Purpose::BatchOutput {
        return Err(ApiError::invalid("purpose", "Only batches write files for batch_output."));
    }
    let Received { name, beginning, incoming } =
        file.ok_or_else(|| ApiError::invalid("file", "The form needs a file."))?;
    if purpose == Purpose::Vision {
        check_image(&beginning)?;
    }
    let expires_after_s = seconds.map(|seconds| lifetime(&seconds)).transpose()?;
    let new = NewFile { owner, name, purpose, expires_after_s };
    Ok(Json(kept.run(move |store| store.keep(incoming, &new)).await?.into()))
}

/// List files.
#[utoipa::path(
    get,
    path = "/v1/files",
    operation_id = "list_files",
    tag = "openai",
    params(FilesQuery),
    responses(
        (status = 200, description = "The files.", body = Paged<FileObject>, example = json!(examples::files())),
        (status = 400, description = "The page makes no sense.", body = ErrorBody),
        (status = 404, description = "The server keeps no files.", body = ErrorBody)
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    query: Result<Query<FilesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paged<FileObject>>, ApiError> {
    let kept = state.storage.get()?;
    let Query(FilesQuery { purpose, limit, after, order }) =
        query.map_err(|error| url_query::refused(&error))?;
    let page = FilePage {
        purpose: purpose.map(|purpose| parse_purpose(&purpose)).transpose()?,
        after,
        limit: limit_within(limit, (MOST_LISTED, MOST_LISTED))?,
        order: match order.as_deref() {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(ApiError::invalid("order", "The order is asc or desc.")),
        },
    };
    let (files, has_more) =
        kept.run(move |store| store.files(&caller.tenant.0, &page)).await.map_err(of_page)?;
    let files: Vec<FileObject> = files.into_iter().map(FileObject::from).collect();
    Ok(Json(Paged::new(files, has_more, |file| &file.id)))
}

/// Describe a file.
#[utoipa::path(
    get,
    path = "/v1/files/{file_id}",
    operation_id = "retrieve_file",
    tag = "openai",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "What is known about it.", body = FileObject, example = json!(examples::file())),
        (status = 404, description = "There is none.", body = ErrorBody)
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    Path(id): Path<String>,
) -> Result<Json<FileObject>, ApiError> {
    let file = state.storage.get()?.run(move |store| store.file(&caller.tenant.0, &id)).await?;
    Ok(Json(file.into()))
}

/// Read the content of a file.
#[utoipa::path(
    get,
    path = "/v1/files/{file_id}/content",
    operation_id = "file_content",
    tag = "openai",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses(
        (
            status = 200,
            description = "What is in it.",
            content_type = "application/octet-stream",
            body = FileContent,
            example = json!(examples::lines())
        ),
        (status = 404, description = "There is none.", body = ErrorBody)
    )
)]
pub(super) async fn content(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let open = move |store: &Arc<store::Store>| {
        let record = store.file(&caller.tenant.0, &id)?;
        Ok((store.open_content(&record.id)?, record))
    };
    let kept = state.storage.get()?.clone();
    let (content, record) = kept.run(open).await?;
    let pieces = stream::try_unfold((kept, content), |(kept, mut content)| async move {
        let read = move |_: &Arc<store::Store>| {
            let mut piece = vec![0; PIECE_BYTES];
            let length = content.read(&mut piece)?;
            piece.truncate(length);
            Ok((piece, content))
        };
        let (piece, content) = kept.run(read).await?;
        Ok::<_, StoreError>((!piece.is_empty()).then(|| (Bytes::from(piece), (kept, content))))
    });
    let body = Body::from_stream(pieces);
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(record.bytes));
    // What a client left here is never shown by a browser.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Remove a file.
#[utoipa::path(
    delete,
    path = "/v1/files/{file_id}",
    operation_id = "delete_file",
    tag = "openai",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "It is gone.", body = FileDeleted, example = json!(examples::file_deleted())),
        (status = 400, description = "A batch that has not ended reads it.", body = ErrorBody),
        (status = 404, description = "There is none.", body = ErrorBody)
    )
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    Path(id): Path<String>,
) -> Result<Json<FileDeleted>, ApiError> {
    let gone = id.clone();
    state.storage.get()?.run(move |store| store.delete_file(&caller.tenant.0, &gone)).await?;
    Ok(Json(FileDeleted { id, object: "file", deleted: true }))
}

/// A file that came, and is not kept yet.
struct Received {
    name: String,
    /// As much of its content as tells its format.
    beginning: Vec<u8>,
    incoming: Incoming,
}

/// Refuses what is no image by its beginning: whoever registers it hears of it, and not whoever names it later.
fn check_image(beginning: &[u8]) -> Result<(), ApiError> {
    if beginning.is_empty() {
        return Err(ApiError::image("file", "It is empty").with_code("empty_image_file"));
    }
    if images::is_image(beginning) {
        return Ok(());
    }
    let message = "It is none of PNG, JPEG, WebP, GIF and BMP, whatever it is called";
    Err(ApiError::image("file", message).with_code("unsupported_image_media_type"))
}

/// Writes a field to the disk as it comes; its name and the content. No thread waits for a client that is slow.
async fn receive(kept: &Kept, part: &Part, mut field: Field<'_>) -> Result<Received, ApiError> {
    let name: String = field.file_name().unwrap_or("file").to_owned();
    let name = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
    let mut incoming = {
        let part = part.clone();
        kept.run(move |store| Incoming::begin(store, part)).await?
    };
    let mut beginning = Vec::new();
    loop {
        let (mut piece, mut ended) = (Vec::with_capacity(PIECE_BYTES), false);
        while piece.len() < PIECE_BYTES && !ended {
            match field.chunk().await.map_err(told)? {
                Some(chunk) => piece.extend_from_slice(&chunk),
                None => ended = true,
            }
        }
        let lacking = BEGINNING_BYTES.saturating_sub(beginning.len());
        beginning.extend_from_slice(&piece[..piece.len().min(lacking)]);
        let write = move |_: &Arc<store::Store>| incoming.write(&piece).map(|()| incoming);
        incoming = match kept.run(write).await {
            Ok(incoming) => incoming,
            Err(error) => {
                let discard = async { while let Ok(Some(_)) = field.chunk().await {} };
                let _ = tokio::time::timeout(PATIENCE, discard).await;
                return Err(error.into());
            }
        };
        if ended {
            return Ok(Received { name, beginning, incoming });
        }
    }
}

/// The text of a short field.
async fn text(mut field: Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(told)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_FIELD_BYTES {
            let name = field.name().unwrap_or_default().to_owned();
            let message = format!("A field beside the file has at most {MAX_FIELD_BYTES} bytes.");
            return Err(ApiError::invalid(name, message));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn lifetime(text: &str) -> Result<i64, ApiError> {
    let found = text.parse().ok().filter(|seconds| LIFETIMES_S.contains(seconds));
    found.ok_or_else(|| {
        let (low, high) = LIFETIMES_S.into_inner();
        ApiError::invalid("expires_after", format!("expires_after[seconds] is from {low} to {high}."))
    })
}

fn parse_purpose(name: &str) -> Result<Purpose, ApiError> {
    Purpose::parse(name).ok_or_else(|| {
        let known = Purpose::ALL.map(Purpose::as_str).join(", ");
        ApiError::invalid("purpose", format!("There is no purpose {name:?}; there are {known}."))
    })
}

/// The limit of a list, which is `usual` where none is given.
pub(super) fn limit_within(limit: Option<usize>, (usual, most): (usize, usize)) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::invalid("limit", format!("The limit is from 1 to {most}.")))
}

/// A page behind something that is not there makes no sense.
pub(super) fn of_page(error: StoreError) -> ApiError {
    match error {
        StoreError::UnknownFile { id } | StoreError::UnknownBatch { id } => {
            ApiError::invalid("after", format!("There is no {id:?} behind which a list could begin."))
        }
        other => other.into(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn told(error: MultipartError) -> ApiError {
    broken(&error.body_text())
}

fn broken(reason: &str) -> ApiError {
    let message = format!("The body must be multipart form data with the fields file and purpose: {reason}.");
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_form", message)
}
