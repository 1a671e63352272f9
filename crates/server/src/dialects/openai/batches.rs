//! `/v1/batches`: many requests as the lines of a file, processed in the background.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Batch, BatchState, LineError, NewBatch, Purpose, StoreError};
use utoipa::{IntoParams, ToSchema};

use super::{
    examples, metadata,
    page::{PageLimits, Paged, limit_within, page_error},
};
use crate::{
    batches::route_of,
    error::{ApiError, ErrorBody, ErrorCode, NoStorage, NotStored, quoted},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    request::query,
    service::state::AppState,
};

/// The routes to which lines may be sent, if the server has them.
const ENDPOINTS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/judge",
    "/reward",
    "/get_reward",
    "/v1/score/evaluation",
];

/// The header by which a repeated request to create a batch returns the batch that it created before.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The maximum length of its value in bytes.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// The maximum completion window: one week.
const LONGEST_WINDOW_S: i64 = 7 * 86_400;

/// Those of the [`ENDPOINTS`] that are documented routes of this server.
pub(crate) fn batch_endpoints(document: &utoipa::openapi::OpenApi) -> Arc<[&'static str]> {
    ENDPOINTS.into_iter().filter(|endpoint| document.paths.paths.contains_key(*endpoint)).collect()
}

/// A batch to create.
#[derive(Deserialize, ToSchema)]
pub(super) struct BatchBody {
    /// Id of a file with the purpose `batch`. Each of its lines is an object with `custom_id`, `method`, `url` and
    /// `body`.
    input_file_id: String,
    /// The route to which all lines are sent, such as `/v1/chat/completions`, `/judge` or `/reward`. OpenAI's routes
    /// may also be without `/v1`, as Azure's clients write them.
    endpoint: String,
    /// The time to run the batch: a number with the unit `s`, `m`, `h` or `d`, at most a week. Lines that are not
    /// run by then get the error `batch_expired`.
    #[serde(default = "a_day")]
    #[schema(default = "24h")]
    completion_window: String,
    /// Up to 16 entries of your own, with keys of up to 64 and values of up to 512 characters.
    metadata: Option<BTreeMap<String, String>>,
}

fn a_day() -> String {
    "24h".into()
}

/// A batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchObject {
    /// Its id: `batch_` and 32 digits.
    id: String,
    /// Always `batch`.
    object: &'static str,
    /// The route to which its lines are sent.
    endpoint: String,
    /// Name of the checkpoint.
    model: String,
    /// What is wrong with its input, if the status is `failed`.
    errors: Option<BatchErrors>,
    /// Id of the input file.
    input_file_id: String,
    /// The completion window of the request.
    completion_window: String,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or `cancelled`.
    status: &'static str,
    /// Id of the file of answers, once the batch has ended: each line is an object with `id`, `custom_id`,
    /// `response` and `error`. Null without answers.
    output_file_id: Option<String>,
    /// Id of the file of lines whose answer is an error, in the same form. Null without errors.
    error_file_id: Option<String>,
    /// When it was created, in seconds since 1970; so are all other times.
    created_at: i64,
    /// When its first lines were started.
    in_progress_at: Option<i64>,
    /// When its completion window ends.
    expires_at: Option<i64>,
    /// When all lines had an answer.
    finalizing_at: Option<i64>,
    /// When it was completed and its files were available.
    completed_at: Option<i64>,
    /// When its input was found to be invalid.
    failed_at: Option<i64>,
    /// When it ended because the completion window was over.
    expired_at: Option<i64>,
    /// When its cancellation was requested.
    cancelling_at: Option<i64>,
    /// When the cancellation was complete.
    cancelled_at: Option<i64>,
    /// Numbers of lines.
    request_counts: RequestCounts,
    /// Token counts of all lines so far.
    usage: BatchUsageBody,
    /// The metadata of the request; null without any.
    #[schema(value_type = Option<Object>)]
    metadata: Value,
}

/// Errors in the input of a batch.
#[derive(Serialize, ToSchema)]
struct BatchErrors {
    /// Always `list`.
    object: &'static str,
    /// The errors, by line.
    #[schema(value_type = Vec<LineErrorBody>)]
    data: Vec<LineError>,
}

/// An error in a line of the input.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the description of what the store keeps")]
struct LineErrorBody {
    /// A code for programs.
    code: String,
    /// Number of the line, from 1; null for errors of the whole input.
    line: Option<i64>,
    /// A message for people.
    message: String,
    /// The field of the line that is wrong.
    param: Option<String>,
}

/// Numbers of lines of a batch.
#[derive(Serialize, ToSchema)]
struct RequestCounts {
    /// All lines.
    total: i64,
    /// Lines with a successful answer.
    completed: i64,
    /// Lines whose answer is an error.
    failed: i64,
}

/// Token counts of a batch's lines.
#[derive(Serialize, ToSchema)]
struct BatchUsageBody {
    /// Tokens of prompts.
    input_tokens: i64,
    /// Details of the prompt tokens.
    input_tokens_details: CachedTokens,
    /// Tokens of answers.
    output_tokens: i64,
    /// Details of the answer tokens.
    output_tokens_details: ReasoningTokens,
    /// `input_tokens` plus `output_tokens`.
    total_tokens: i64,
}

/// Details of the prompt tokens.
#[derive(Serialize, ToSchema)]
struct CachedTokens {
    /// Prompt tokens that were taken from the prefix cache.
    cached_tokens: i64,
}

/// Details of the answer tokens.
#[derive(Serialize, ToSchema)]
struct ReasoningTokens {
    /// Tokens of reasoning, as reported by the lines' route.
    reasoning_tokens: i64,
}

impl From<Batch> for BatchObject {
    fn from(batch: Batch) -> Self {
        let usage = batch.usage;
        let time = |state| batch.time(state);
        Self {
            in_progress_at: time(BatchState::InProgress),
            finalizing_at: time(BatchState::Finalizing),
            completed_at: time(BatchState::Completed),
            failed_at: time(BatchState::Failed),
            expired_at: time(BatchState::Expired),
            cancelling_at: time(BatchState::Cancelling),
            cancelled_at: time(BatchState::Cancelled),
            object: "batch",
            status: batch.state.as_str(),
            created_at: batch.created_at,
            expires_at: Some(batch.expires_at),
            request_counts: RequestCounts {
                total: batch.counts.total,
                completed: batch.counts.completed,
                failed: batch.counts.failed,
            },
            usage: BatchUsageBody {
                input_tokens: usage.input_tokens,
                input_tokens_details: CachedTokens { cached_tokens: usage.cached_tokens },
                output_tokens: usage.output_tokens,
                output_tokens_details: ReasoningTokens { reasoning_tokens: usage.reasoning_tokens },
                total_tokens: usage.input_tokens + usage.output_tokens,
            },
            metadata: serde_json::from_str(&batch.metadata).unwrap_or(Value::Null),
            errors: (!batch.errors.is_empty()).then_some(BatchErrors { object: "list", data: batch.errors }),
            id: batch.id,
            endpoint: batch.endpoint,
            model: batch.model,
            input_file_id: batch.input_file,
            completion_window: batch.completion_window,
            output_file_id: batch.output_file,
            error_file_id: batch.error_file,
        }
    }
}

/// The batches to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BatchesQuery {
    /// Maximum number of batches, from 1 to 100; 20 by default.
    limit: Option<usize>,
    /// Id of the batch after which the list starts.
    after: Option<String>,
}

/// Create a batch.
///
/// All lines are validated first: if one of them is not a valid request, the batch fails with the errors by line,
/// and nothing is run. Then each line is answered like a request of its own, at lower priority than all other
/// requests. Answers are stored as they are made, and the batch continues after a restart of the server.
#[utoipa::path(
    post,
    path = "/v1/batches",
    operation_id = "create_batch",
    tag = "openai",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A string chosen by the client, up to 255 bytes: a \
         request with the same key returns the batch that was created before.")
    ),
    request_body(content = BatchBody, example = json!(examples::batch_body())),
    responses(
        (status = 200, description = "The batch was created.", body = BatchObject, example = json!(examples::batch())),
        (status = 400, description = "The request is invalid.", body = ErrorBody),
        NoStorage,
        (status = 409, description = "The `Idempotency-Key` was used for a different batch.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many batches are in progress.", body = ErrorBody)
    )
)]
pub(super) async fn create(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Json<BatchObject>, ApiError> {
    let store = state.storage.required()?;
    let body: BatchBody = body.parse()?;
    if !state.batch_endpoints.contains(&route_of(&body.endpoint)) {
        let known = state.batch_endpoints.join(", ");
        let message = format!("Lines cannot go to {}; there are {known}.", quoted(&body.endpoint));
        return Err(ApiError::invalid("endpoint", message));
    }
    let new = NewBatch {
        owner: caller.client.tenant.0.to_string(),
        endpoint: body.endpoint,
        input_file: body.input_file_id,
        window_s: window_s(&body.completion_window)?,
        completion_window: body.completion_window,
        metadata: metadata_json(body.metadata.as_ref())?,
        model: state.judge.model().to_owned(),
        idempotency_key: idempotency_key(&headers)?,
    };
    let begin = move |store: &Arc<store::Store>| {
        let file = store.file(&new.owner, &new.input_file)?;
        if file.purpose == Purpose::Batch { store.begin_batch(&new).map(Ok) } else { Ok(Err(file.purpose)) }
    };
    let batch_or_purpose = store.run(begin).await.map_err(|error| match error {
        StoreError::UnknownFile { id } => {
            let message = format!("There is no file {}.", quoted(&id));
            ApiError::invalid("input_file_id", message).with_code(ErrorCode::UnknownFile)
        }
        other => other.into(),
    })?;
    let batch = batch_or_purpose.map_err(|purpose| {
        let message = format!("The purpose of the input is {}, not batch.", purpose.as_str());
        ApiError::invalid("input_file_id", message).with_code(ErrorCode::InvalidPurpose)
    })?;
    store.notify();
    Ok(Json(batch.into()))
}

/// The idempotency key of a request, if it has one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()));
    let message =
        || format!("An idempotency key has 1 to {LONGEST_IDEMPOTENCY_KEY} printable characters of ASCII.");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| ApiError::out_of_bounds(IDEMPOTENCY_KEY, message()))
}

/// List batches, newest first.
#[utoipa::path(
    get,
    path = "/v1/batches",
    operation_id = "list_batches",
    tag = "openai",
    params(BatchesQuery),
    responses(
        (status = 200, description = "The batches.", body = Paged<BatchObject>, example = json!(examples::batches())),
        (status = 400, description = "`limit` or `after` is invalid.", body = ErrorBody),
        NoStorage
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    query: Result<Query<BatchesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paged<BatchObject>>, ApiError> {
    let store = state.storage.required()?;
    let Query(BatchesQuery { limit, after }) = query.map_err(|error| query::refused(&error))?;
    let limit = limit_within(limit, PageLimits { default: 20, max: 100 })?;
    let find =
        move |store: &Arc<store::Store>| store.batches(&caller.client.tenant.0, after.as_deref(), limit);
    let (batches, has_more) = store.run(find).await.map_err(page_error)?;
    let batches: Vec<BatchObject> = batches.into_iter().map(BatchObject::from).collect();
    Ok(Json(Paged::new(batches, has_more, |batch| &batch.id)))
}

/// Retrieve the state of a batch.
#[utoipa::path(
    get,
    path = "/v1/batches/{batch_id}",
    operation_id = "retrieve_batch",
    tag = "openai",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses(
        (status = 200, description = "The batch.", body = BatchObject, example = json!(examples::batch())),
        NotStored
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, ApiError> {
    let batch = state.storage.required()?.run(move |store| store.batch(&caller.client.tenant.0, &id)).await?;
    Ok(Json(batch.into()))
}

/// Cancel a batch. Its files have the answers so far when its status is `cancelled`.
///
/// A batch that has ended, or whose lines have all been run, is returned unchanged, so that the request can be
/// repeated. A body is ignored.
#[utoipa::path(
    post,
    path = "/v1/batches/{batch_id}/cancel",
    operation_id = "cancel_batch",
    tag = "openai",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses(
        (status = 200, description = "The batch, with its status after the request.", body = BatchObject, example = json!(examples::batch())),
        NotStored
    )
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, ApiError> {
    let store = state.storage.required()?;
    let batch = store.run(move |store| store.cancel_batch(&caller.client.tenant.0, &id)).await?;
    store.notify();
    Ok(Json(batch.into()))
}

/// The seconds of a completion window.
fn window_s(text: &str) -> Result<i64, ApiError> {
    let seconds =
        [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)].into_iter().find_map(|(unit, seconds)| {
            let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(seconds)
        });
    seconds.filter(|seconds| (1..=LONGEST_WINDOW_S).contains(seconds)).ok_or_else(|| {
        let text = quoted(text);
        let message =
            format!("The completion window is a number with s, m, h or d, a week at most, not {text}.");
        ApiError::invalid("completion_window", message)
    })
}

/// Validates metadata and writes them as JSON.
fn metadata_json(pairs: Option<&BTreeMap<String, String>>) -> Result<String, ApiError> {
    let Some(pairs) = pairs else { return Ok("null".into()) };
    metadata::check(pairs.iter().map(|(key, value)| (key, value.chars().count())))?;
    Ok(serde_json::to_string(pairs).expect("texts can be written as JSON"))
}
