//! `/v1/files`: files of clients, streamed to and from the disk.

use std::{io::Read, sync::Arc};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::{Deserialize, Serialize};
use store::{FilePage, FileRecord, Incoming, NewFile, Order, Purpose, StoreError, StoreQuota};
use utoipa::{IntoParams, ToSchema};

use super::{
    examples,
    page::{PageLimits, Paged, limit_within, page_error},
    upload_form::{UploadField, UploadForm},
};
use crate::{
    access::Grant,
    error::{ApiError, ErrorBody, ErrorCode, NoStorage, NotStored, quoted},
    extract::caller::RequestCaller,
    images,
    request::query,
    service::state::AppState,
    storage::StoreHandle,
};

/// The maximum number of files in a list.
const MAX_LISTED: usize = 10_000;

/// The maximum length of a file's name in characters; longer ones are cut.
const MAX_NAME_CHARACTERS: usize = 255;

/// The unit of reading and writing: large enough that the overhead of each disk access is small, and still little
/// memory.
const PIECE_BYTES: usize = 256 << 10;

/// How many bytes of a file's beginning are kept to recognise its format.
const BEGINNING_BYTES: usize = 16;

/// The lifetimes that clients may request, in seconds: from an hour to thirty days.
const LIFETIMES_S: std::ops::RangeInclusive<i64> = 3600..=2_592_000;

/// A file and its purpose, as multipart form data with the fields in any order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this is its description")]
pub(super) struct FileForm {
    /// The content.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// `batch` for the input of a batch; `vision` for an image, which requests then name by its id. `user_data` is
    /// for files of any kind, whose format is not checked on upload; an image among them can be named as well. Files
    /// for `assistants`, `fine-tune` and `evals` are only stored.
    purpose: String,
    /// Must be `created_at`; may be left out.
    #[schema(rename = "expires_after[anchor]")]
    expires_after_anchor: Option<String>,
    /// Lifetime in seconds, from 3600 to 2592000. If the server has a limit of its own, the shorter one applies.
    #[schema(rename = "expires_after[seconds]")]
    expires_after_seconds: Option<i64>,
}

/// A file.
#[derive(Serialize, ToSchema)]
pub(super) struct FileObject {
    /// Its id: `file-` and 32 digits.
    id: String,
    /// Always `file`.
    object: &'static str,
    /// Size in bytes.
    bytes: i64,
    /// When it was stored, in seconds since 1970.
    created_at: i64,
    /// The name under which it was uploaded.
    filename: String,
    /// Its purpose.
    purpose: &'static str,
    /// Always `processed`.
    status: &'static str,
    /// When it expires, in seconds since 1970. Absent if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// SHA-256 of the content in hexadecimal; an image can also be named by it as `sha256:…`. An extension.
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

/// The confirmation that a file was deleted.
#[derive(Serialize, ToSchema)]
pub(super) struct FileDeleted {
    /// Id of the file.
    id: String,
    /// Always `file`.
    object: &'static str,
    /// Always `true`.
    deleted: bool,
}

/// The content of a file, byte for byte.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it is sent as it is read; this is its description")]
pub(super) struct FileContent(Vec<u8>);

/// The files to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FilesQuery {
    /// Only files of this purpose.
    purpose: Option<String>,
    /// Maximum number of files, from 1 to 10000; 10000 by default.
    limit: Option<usize>,
    /// Id of the file after which the list starts.
    after: Option<String>,
    /// Order by the time of creation: `desc`, newest first, which is the default, or `asc`.
    order: Option<String>,
}

/// Upload a file.
///
/// The file is on the disk before the request is answered. Only requests with the same key can find it.
#[utoipa::path(
    post,
    path = "/v1/files",
    operation_id = "create_file",
    tag = "openai",
    request_body(content = FileForm, content_type = "multipart/form-data", example = json!(examples::file_form())),
    responses(
        (status = 200, description = "The file was stored.", body = FileObject, example = json!(examples::file())),
        (status = 400, description = "The form is invalid, or a file for `vision` is not an image.", body = ErrorBody),
        NoStorage,
        (status = 408, description = "The form came too slowly.", body = ErrorBody),
        (status = 413, description = "The file is too large, or the storage limit is reached.", body = ErrorBody),
        (status = 415, description = "The request body is not a form.", body = ErrorBody),
        (status = 429, description = "There is no memory for the form; retry after the time in `Retry-After`.", body = ErrorBody)
    )
)]
pub(super) async fn create(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    grant: Option<Extension<Arc<Grant>>>,
    request: Request,
) -> Result<Json<FileObject>, ApiError> {
    let store = state.storage.required()?;
    let owner = caller.client.tenant.0.to_string();
    let share = grant.map_or(1.0, |Extension(grant)| f64::from(grant.account().stored_share()));
    let quota = StoreQuota { owner: owner.clone(), share };
    let mut form = UploadForm::open(request, &state).await?;
    let (mut file, mut purpose, mut seconds) = (None, None, None);
    while let Some(field) = form.next().await? {
        match field.name() {
            "file" if file.is_some() => return Err(ApiError::invalid("file", "Send one file at a time.")),
            "purpose" if purpose.is_some() => return Err(ApiError::invalid("purpose", "Send one purpose.")),
            "expires_after[seconds]" if seconds.is_some() => {
                return Err(ApiError::invalid("expires_after", "Send one expires_after[seconds]."));
            }
            "file" => file = Some(receive(store, &quota, field).await?),
            "purpose" => purpose = Some(field.text().await?),
            "expires_after[anchor]" => check_anchor(&field.text().await?)?,
            "expires_after[seconds]" => seconds = Some(field.text().await?),
            _ => drop(field.text().await?),
        }
    }
    let purpose = purpose.ok_or_else(|| ApiError::invalid("purpose", "The form needs a purpose."))?;
    let purpose = parse_purpose(&purpose)?;
    if purpose == Purpose::BatchOutput {
        return Err(ApiError::invalid("purpose", "Only batches write files for batch_output."));
    }
    let Upload { name, beginning, incoming } =
        file.ok_or_else(|| ApiError::invalid("file", "The form needs a file."))?;
    if purpose == Purpose::Vision {
        check_image(&beginning)?;
    }
    let expires_after_s = seconds.map(|seconds| lifetime(&seconds)).transpose()?;
    let new = NewFile { owner, name, purpose, expires_after_s };
    Ok(Json(store.run(move |store| store.keep(incoming, &new)).await?.into()))
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
        (status = 400, description = "A parameter of the list is invalid.", body = ErrorBody),
        NoStorage
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    query: Result<Query<FilesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paged<FileObject>>, ApiError> {
    let store = state.storage.required()?;
    let Query(FilesQuery { purpose, limit, after, order }) = query.map_err(|error| query::refused(&error))?;
    let page = FilePage {
        purpose: purpose.map(|purpose| parse_purpose(&purpose)).transpose()?,
        after,
        limit: limit_within(limit, PageLimits { default: MAX_LISTED, max: MAX_LISTED })?,
        order: match order.as_deref() {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(ApiError::invalid("order", "The order is asc or desc.")),
        },
    };
    let (files, has_more) =
        store.run(move |store| store.files(&caller.client.tenant.0, &page)).await.map_err(page_error)?;
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
        (status = 200, description = "The file's metadata.", body = FileObject, example = json!(examples::file())),
        NotStored
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    Path(id): Path<String>,
) -> Result<Json<FileObject>, ApiError> {
    let file = state.storage.required()?.run(move |store| store.file(&caller.client.tenant.0, &id)).await?;
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
            description = "The file's content.",
            content_type = "application/octet-stream",
            body = FileContent,
            example = json!(examples::lines())
        ),
        NotStored
    )
)]
pub(super) async fn content(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let open = move |store: &Arc<store::Store>| {
        let record = store.file(&caller.client.tenant.0, &id)?;
        Ok((store.open_content(&record.id)?, record))
    };
    let store = state.storage.required()?.clone();
    let (content, record) = store.run(open).await?;
    let pieces = stream::try_unfold((store, content), |(store, mut content)| async move {
        let read = move |_: &Arc<store::Store>| {
            let mut piece = vec![0; PIECE_BYTES];
            let length = content.read(&mut piece)?;
            piece.truncate(length);
            Ok((piece, content))
        };
        let (piece, content) = store.run(read).await?;
        Ok::<_, StoreError>((!piece.is_empty()).then(|| (Bytes::from(piece), (store, content))))
    });
    let body = Body::from_stream(pieces);
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(record.bytes));
    // Browsers must not render what clients have uploaded.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Delete a file.
#[utoipa::path(
    delete,
    path = "/v1/files/{file_id}",
    operation_id = "delete_file",
    tag = "openai",
    params(("file_id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "The file was deleted.", body = FileDeleted, example = json!(examples::file_deleted())),
        (status = 400, description = "The file is the input of a batch in progress.", body = ErrorBody),
        NotStored
    )
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    Path(id): Path<String>,
) -> Result<Json<FileDeleted>, ApiError> {
    let deleted = id.clone();
    state.storage.required()?.run(move |store| store.delete_file(&caller.client.tenant.0, &deleted)).await?;
    Ok(Json(FileDeleted { id, object: "file", deleted: true }))
}

/// An uploaded file that is not recorded yet.
struct Upload {
    name: String,
    /// The first bytes of its content, by which the format is recognised.
    beginning: Vec<u8>,
    incoming: Incoming,
}

/// Refuses a file that does not begin like an image, so that the error occurs on upload rather than on use.
fn check_image(beginning: &[u8]) -> Result<(), ApiError> {
    if beginning.is_empty() {
        return Err(ApiError::image("file", "It is empty").with_code(ErrorCode::EmptyImageFile));
    }
    if images::format_of(beginning).is_some() {
        return Ok(());
    }
    let message = "It is none of PNG, JPEG, WebP, GIF and BMP, whatever it is called";
    Err(ApiError::image("file", message).with_code(ErrorCode::UnsupportedImageMediaType))
}

/// Streams a field to the disk. No thread is blocked by a slow client.
async fn receive(
    handle: &StoreHandle,
    quota: &StoreQuota,
    mut field: UploadField<'_>,
) -> Result<Upload, ApiError> {
    let name = field.file_name()?.unwrap_or("file");
    let name = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME_CHARACTERS).collect();
    field.reserve(PIECE_BYTES)?;
    let mut incoming = {
        let quota = quota.clone();
        handle.run(move |store| Incoming::begin(store, quota)).await?
    };
    let mut beginning = Vec::new();
    loop {
        let (mut piece, mut ended) = (Vec::with_capacity(PIECE_BYTES), false);
        while piece.len() < PIECE_BYTES && !ended {
            match field.content().await? {
                Some(chunk) => piece.extend_from_slice(&chunk),
                None => ended = true,
            }
        }
        let missing = BEGINNING_BYTES.saturating_sub(beginning.len());
        beginning.extend_from_slice(&piece[..piece.len().min(missing)]);
        let write = move |_: &Arc<store::Store>| incoming.write(&piece).map(|()| incoming);
        incoming = handle.run(write).await?;
        if ended {
            return Ok(Upload { name, beginning, incoming });
        }
    }
}

/// Refuses an anchor other than the only one that there is.
fn check_anchor(anchor: &str) -> Result<(), ApiError> {
    if anchor == "created_at" {
        return Ok(());
    }
    Err(ApiError::invalid("expires_after", "expires_after[anchor] must be created_at."))
}

/// A lifetime in seconds.
fn lifetime(text: &str) -> Result<i64, ApiError> {
    let seconds = text.parse().ok().filter(|seconds| LIFETIMES_S.contains(seconds));
    seconds.ok_or_else(|| {
        let (low, high) = LIFETIMES_S.into_inner();
        ApiError::invalid("expires_after", format!("expires_after[seconds] is from {low} to {high}."))
    })
}

/// The purpose of this name.
fn parse_purpose(name: &str) -> Result<Purpose, ApiError> {
    Purpose::parse(name).ok_or_else(|| {
        let known = Purpose::ALL.map(Purpose::as_str).join(", ");
        ApiError::invalid("purpose", format!("There is no purpose {}; there are {known}.", quoted(name)))
    })
}
