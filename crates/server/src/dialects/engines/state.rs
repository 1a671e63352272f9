//! What the server is, and whether it can write.

use axum::{Json, extract::State, http::StatusCode};
use judge::{CompletionParams, CompletionStream, JudgeError, RawPrompt};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::examples;
use crate::{
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    state::AppState,
};

/// The version of the server.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionBody {
    /// As `gavel --version` tells it.
    version: &'static str,
}

/// Tell the version of the server, as vLLM does.
#[utoipa::path(get, path = "/version", tag = "engines", responses((status = 200, description = "The version.", body = VersionBody, example = json!({ "version": "0.1.0" }))))]
pub(super) async fn version() -> Json<VersionBody> {
    Json(VersionBody { version: env!("CARGO_PKG_VERSION") })
}

/// What the critic is.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelInfo {
    /// Name of the checkpoint.
    model_path: String,
    /// The same.
    tokenizer_path: String,
    /// Always `true`: it writes text.
    is_generation: bool,
    /// Always `true`: it sees images.
    has_image_understanding: bool,
    /// Of the prompt and the answer together, in tokens.
    max_model_len: usize,
}

/// Tell what the critic is, as SGLang does.
#[utoipa::path(get, path = "/get_model_info", tag = "engines", responses((status = 200, description = "The critic.", body = ModelInfo, example = json!(examples::model_info()))))]
pub(super) async fn model_info(State(state): State<AppState>) -> Json<ModelInfo> {
    let name = || state.names.truth().to_owned();
    Json(ModelInfo {
        model_path: name(),
        tokenizer_path: name(),
        is_generation: true,
        has_image_understanding: true,
        max_model_len: state.judge.context_length(),
    })
}

/// What the server is, to clients of text-embeddings-inference.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerInfo {
    /// Name of the checkpoint.
    model_id: String,
    /// What it does.
    model_type: ServedType,
    /// Of the prompt and the answer together, in tokens.
    max_input_length: usize,
    /// The most elements of a list of texts.
    max_client_batch_size: usize,
    /// Always `false`: a text that is too long is refused.
    auto_truncate: bool,
    /// As `gavel --version` tells it.
    version: &'static str,
}

/// A server that ranks, with the names of its classes.
#[derive(Serialize, ToSchema)]
pub(super) struct ServedType {
    /// The one class.
    #[schema(value_type = Object)]
    reranker: Value,
}

/// Tell what the server is, as text-embeddings-inference does.
#[utoipa::path(get, path = "/info", tag = "engines", responses((status = 200, description = "The server.", body = ServerInfo, example = json!(examples::server_info()))))]
pub(super) async fn server_info(State(state): State<AppState>) -> Json<ServerInfo> {
    Json(ServerInfo {
        model_id: state.names.truth().to_owned(),
        model_type: ServedType {
            reranker: json!({ "id2label": { "0": "score" }, "label2id": { "score": 0 } }),
        },
        max_input_length: state.judge.context_length(),
        max_client_batch_size: state.content.shape.elements,
        auto_truncate: false,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Write one token, so that everything that writing needs is tried, as SGLang does. It waits its turn.
#[utoipa::path(
    get,
    path = "/health_generate",
    tag = "engines",
    responses(
        (status = 200, description = "The critic can write."),
        (status = 500, description = "The model failed.", body = ErrorBody),
        (status = 503, description = "Too many requests wait, or the engine has stopped.", body = ErrorBody)
    )
)]
pub(super) async fn generate(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
) -> Result<StatusCode, ApiError> {
    let judge = &state.judge;
    let failed = |error: JudgeError| ApiError::from_judge(error, Dialect::Native);
    let tokens = judge
        .tokens(RawPrompt::Text("Hello".into()), judge.context_length(), &caller)
        .await
        .map_err(failed)?;
    // Whatever token it is counts, one of control too.
    let params =
        CompletionParams { caller, ignore_end: true, show_control: true, ..CompletionParams::greedy(1) };
    for text in judge.continue_tokens(tokens, &params, 1).map_err(failed)? {
        CompletionStream::collect(text).await.map_err(failed)?;
    }
    Ok(StatusCode::OK)
}
