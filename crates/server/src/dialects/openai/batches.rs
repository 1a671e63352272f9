//! `/v1/batches`: many requests as the lines of a file, answered in their own time.

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
    examples,
    files::{limit_within, of_page},
};
use crate::{
    caller::CallerOf,
    error::{ApiError, ErrorBody},
    json_body::JsonBytes,
    state::AppState,
    url_query,
};

/// The routes that lines may go to, where the server has them.
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

/// The most pairs of metadata, and the longest key and value, in characters.
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// By which a client that asks again finds the batch that it began before.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest of them, in bytes.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// The longest completion window: a week.
const LONGEST_WINDOW_S: i64 = 7 * 86_400;

/// Those of the [`ENDPOINTS`] that are documented routes.
pub(crate) fn batch_endpoints(document: &utoipa::openapi::OpenApi) -> Arc<[&'static str]> {
    ENDPOINTS.into_iter().filter(|endpoint| document.paths.paths.contains_key(*endpoint)).collect()
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Paged<T> {
    /// Always `list`.
    object: &'static str,
    /// What is in it.
    data: Vec<T>,
    /// The id of the first.
    first_id: Option<String>,
    /// The id of the last, behind which the next part begins.
    last_id: Option<String>,
    /// Whether there are more behind the last.
    has_more: bool,
}

impl<T> Paged<T> {
    pub(super) fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> &String) -> Self {
        let (first_id, last_id) =
            (data.first().map(|item| id(item).clone()), data.last().map(|item| id(item).clone()));
        Self { object: "list", first_id, last_id, has_more, data }
    }
}

/// A batch to begin.
#[derive(Deserialize, ToSchema)]
pub(super) struct BatchBody {
    /// A file for the purpose `batch`: in each line an object with `custom_id`, `method`, `url` and `body`.
    input_file_id: String,
    /// The route that all its lines go to, such as `/v1/chat/completions`, `/judge` or `/reward`.
    endpoint: String,
    /// How long it has: a number with `s`, `m`, `h` or `d`, a week at most. Lines that were not run by then are told so.
    #[serde(default = "a_day")]
    #[schema(default = "24h")]
    completion_window: String,
    /// Up to 16 pairs of texts to find it by.
    metadata: Option<BTreeMap<String, String>>,
}

fn a_day() -> String {
    "24h".into()
}

/// A batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchObject {
    /// Its name for other requests: `batch_` and 32 digits.
    id: String,
    /// Always `batch`.
    object: &'static str,
    /// The route that its lines go to.
    endpoint: String,
    /// The critic that runs it.
    model: String,
    /// What is wrong with its input, when it failed.
    errors: Option<BatchErrors>,
    /// The file that has its lines.
    input_file_id: String,
    /// How long it has.
    completion_window: String,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or `cancelled`.
    status: &'static str,
    /// The file of answers: in each line an object with `id`, `custom_id`, `response` and `error`.
    output_file_id: Option<String>,
    /// The file of answers that are errors, in the same form.
    error_file_id: Option<String>,
    /// When it was begun, in seconds since 1970.
    created_at: i64,
    /// When its lines began to be run.
    in_progress_at: Option<i64>,
    /// When its time is over.
    expires_at: Option<i64>,
    /// When all lines had an answer.
    finalizing_at: Option<i64>,
    /// When its files were there.
    completed_at: Option<i64>,
    /// When its input was found wrong.
    failed_at: Option<i64>,
    /// When it was ended because its time was over.
    expired_at: Option<i64>,
    /// When its owner stopped it.
    cancelling_at: Option<i64>,
    /// When it had stopped.
    cancelled_at: Option<i64>,
    /// Lines by what became of them.
    request_counts: RequestCounts,
    /// Tokens of all lines so far.
    usage: BatchUsageBody,
    /// What its owner noted.
    #[schema(value_type = Option<Object>)]
    metadata: Value,
}

/// What is wrong with an input.
#[derive(Serialize, ToSchema)]
struct BatchErrors {
    /// Always `list`.
    object: &'static str,
    /// Line by line.
    #[schema(value_type = Vec<LineErrorBody>)]
    data: Vec<LineError>,
}

/// What is wrong with a line.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the description of what the store keeps")]
struct LineErrorBody {
    /// For programs.
    code: String,
    /// The line, counted from 1.
    line: Option<i64>,
    /// For people.
    message: String,
    /// The part of the line that is to blame.
    param: Option<String>,
}

/// Lines by what became of them.
#[derive(Serialize, ToSchema)]
struct RequestCounts {
    /// All.
    total: i64,
    /// Those that were answered.
    completed: i64,
    /// Those whose answer is an error.
    failed: i64,
}

/// Tokens of all lines so far.
#[derive(Serialize, ToSchema)]
struct BatchUsageBody {
    /// Of prompts.
    input_tokens: i64,
    /// More about those.
    input_tokens_details: CachedTokens,
    /// Of answers.
    output_tokens: i64,
    /// More about those.
    output_tokens_details: ReasoningTokens,
    /// Their sum.
    total_tokens: i64,
}

/// Tokens that were kept from earlier prompts.
#[derive(Serialize, ToSchema)]
struct CachedTokens {
    /// Those that were kept from earlier prompts.
    cached_tokens: i64,
}

/// Tokens that are thoughts.
#[derive(Serialize, ToSchema)]
struct ReasoningTokens {
    /// Those that are thoughts.
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

/// Which batches are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BatchesQuery {
    /// How many at most, from 1 to 100; 20 by default.
    limit: Option<usize>,
    /// The id of the batch behind which the list begins.
    after: Option<String>,
}

/// Begin a batch.
///
/// Its lines are looked at first; when one of them is no request, the batch fails with the lines' numbers and nothing is run.
/// Then each is answered as if it had been sent by itself, whenever nobody waits for other answers. What was done outlives the
/// server.
#[utoipa::path(
    post,
    path = "/v1/batches",
    operation_id = "create_batch",
    tag = "openai",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client's, 255 bytes at most: whoever asks \
         again by the same one gets the batch that was begun before.")
    ),
    request_body(content = BatchBody, example = json!(examples::batch_body())),
    responses(
        (status = 200, description = "It is begun.", body = BatchObject, example = json!(examples::batch())),
        (status = 400, description = "It makes no sense.", body = ErrorBody),
        (status = 404, description = "The server keeps no batches.", body = ErrorBody),
        (status = 409, description = "Another batch was begun by the same Idempotency-Key.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many batches have not ended.", body = ErrorBody)
    )
)]
pub(super) async fn create(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Json<BatchObject>, ApiError> {
    let kept = state.storage.get()?;
    let body: BatchBody = body.parse()?;
    if !state.batch_endpoints.contains(&body.endpoint.as_str()) {
        let known = state.batch_endpoints.join(", ");
        let message = format!("Lines cannot go to {:?}; there are {known}.", body.endpoint);
        return Err(ApiError::invalid("endpoint", message));
    }
    let new = NewBatch {
        owner: caller.tenant.0.to_string(),
        endpoint: body.endpoint,
        input_file: body.input_file_id,
        window_s: window_s(&body.completion_window)?,
        completion_window: body.completion_window,
        metadata: metadata(body.metadata.as_ref())?,
        model: state.judge.model().to_owned(),
        idempotency_key: idempotency_key(&headers)?,
    };
    let input = move |store: &Arc<store::Store>| {
        let file = store.file(&new.owner, &new.input_file)?;
        if file.purpose == Purpose::Batch { store.begin_batch(&new).map(Ok) } else { Ok(Err(file.purpose)) }
    };
    let begun = kept.run(input).await.map_err(|error| match error {
        StoreError::UnknownFile { id } => {
            ApiError::invalid("input_file_id", format!("There is no file {id:?}.")).with_code("unknown_file")
        }
        other => other.into(),
    })?;
    let batch = begun.map_err(|purpose| {
        let message = format!("The purpose of the input is {}, not batch.", purpose.as_str());
        ApiError::invalid("input_file_id", message).with_code("invalid_purpose")
    })?;
    kept.notify();
    Ok(Json(batch.into()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_IDEMPOTENCY_KEY).contains(&key.len()));
    let message =
        || format!("An idempotency key has 1 to {LONGEST_IDEMPOTENCY_KEY} printable characters of ASCII.");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| ApiError::out_of_bounds(IDEMPOTENCY_KEY, message()))
}

/// List batches, the newest first.
#[utoipa::path(
    get,
    path = "/v1/batches",
    operation_id = "list_batches",
    tag = "openai",
    params(BatchesQuery),
    responses(
        (status = 200, description = "The batches.", body = Paged<BatchObject>, example = json!(examples::batches())),
        (status = 400, description = "The page makes no sense.", body = ErrorBody),
        (status = 404, description = "The server keeps no batches.", body = ErrorBody)
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    query: Result<Query<BatchesQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paged<BatchObject>>, ApiError> {
    let kept = state.storage.get()?;
    let Query(BatchesQuery { limit, after }) = query.map_err(|error| url_query::refused(&error))?;
    let limit = limit_within(limit, (20, 100))?;
    let find = move |store: &Arc<store::Store>| store.batches(&caller.tenant.0, after.as_deref(), limit);
    let (batches, has_more) = kept.run(find).await.map_err(of_page)?;
    let batches: Vec<BatchObject> = batches.into_iter().map(BatchObject::from).collect();
    Ok(Json(Paged::new(batches, has_more, |batch| &batch.id)))
}

/// Tell where a batch stands.
#[utoipa::path(
    get,
    path = "/v1/batches/{batch_id}",
    operation_id = "retrieve_batch",
    tag = "openai",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses(
        (status = 200, description = "Where it stands.", body = BatchObject, example = json!(examples::batch())),
        (status = 404, description = "There is none.", body = ErrorBody)
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, ApiError> {
    let batch = state.storage.get()?.run(move |store| store.batch(&caller.tenant.0, &id)).await?;
    Ok(Json(batch.into()))
}

/// Stop a batch: what was done so far is in its files when it is `cancelled`.
///
/// One that has ended, or all of whose lines were run, stays as it is, so that nobody has to be the first. Whatever body comes
/// is not looked at.
#[utoipa::path(
    post,
    path = "/v1/batches/{batch_id}/cancel",
    operation_id = "cancel_batch",
    tag = "openai",
    params(("batch_id" = String, Path, description = "The batch's id.")),
    responses(
        (status = 200, description = "Where it stands now.", body = BatchObject, example = json!(examples::batch())),
        (status = 404, description = "There is none.", body = ErrorBody)
    )
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    Path(id): Path<String>,
) -> Result<Json<BatchObject>, ApiError> {
    let kept = state.storage.get()?;
    let batch = kept.run(move |store| store.cancel_batch(&caller.tenant.0, &id)).await?;
    kept.notify();
    Ok(Json(batch.into()))
}

/// A window in seconds.
fn window_s(text: &str) -> Result<i64, ApiError> {
    let seconds =
        [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)].into_iter().find_map(|(unit, seconds)| {
            let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(seconds)
        });
    seconds.filter(|seconds| (1..=LONGEST_WINDOW_S).contains(seconds)).ok_or_else(|| {
        let message =
            format!("The completion window is a number with s, m, h or d, a week at most, not {text:?}.");
        ApiError::invalid("completion_window", message)
    })
}

/// Metadata as JSON.
fn metadata(pairs: Option<&BTreeMap<String, String>>) -> Result<String, ApiError> {
    let Some(pairs) = pairs else { return Ok("null".into()) };
    let (most, longest_key, longest_value) = METADATA;
    let is_long = |(key, value): (&String, &String)| {
        key.chars().count() > longest_key || value.chars().count() > longest_value
    };
    if pairs.len() > most || pairs.iter().any(is_long) {
        let message = format!(
            "Metadata has at most {most} pairs, with keys of {longest_key} and values of {longest_value} characters."
        );
        return Err(ApiError::invalid("metadata", message));
    }
    Ok(serde_json::to_string(pairs).expect("texts can be written as JSON"))
}
