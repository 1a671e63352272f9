//! Descriptions of the server and the critic, and a test of generation.

use axum::{Json, extract::State, http::StatusCode};
use judge::{CompletionParams, CompletionStream, JudgeError, RawPrompt};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::examples;
use crate::{
    error::{ApiError, Dialect, ErrorBody},
    extract::caller::RequestCaller,
    service::state::AppState,
};

/// The version of the server.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionBody {
    /// The version, as printed by `gavel --version`.
    version: &'static str,
}

/// Return the version of the server, as vLLM does.
#[utoipa::path(get, path = "/version", tag = "engines", responses((status = 200, description = "The version.", body = VersionBody, example = json!({ "version": "0.1.0" }))))]
pub(super) async fn version() -> Json<VersionBody> {
    Json(VersionBody { version: env!("CARGO_PKG_VERSION") })
}

/// The description of the critic.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelInfo {
    /// Name of the checkpoint.
    model_path: String,
    /// Name of the checkpoint.
    tokenizer_path: String,
    /// Always `true`: it generates text.
    is_generation: bool,
    /// Always `true`: it accepts images.
    has_image_understanding: bool,
    /// Maximum number of tokens of prompt and answer together.
    max_model_len: usize,
}

/// Describe the critic, as SGLang does.
#[utoipa::path(get, path = "/get_model_info", tag = "engines", responses((status = 200, description = "The critic.", body = ModelInfo, example = json!(examples::model_info()))))]
pub(super) async fn model_info(State(state): State<AppState>) -> Json<ModelInfo> {
    let name = || state.names.checkpoint_name().to_owned();
    Json(ModelInfo {
        model_path: name(),
        tokenizer_path: name(),
        is_generation: true,
        has_image_understanding: true,
        max_model_len: state.judge.context_length(),
    })
}

/// The description of the server for clients of text-embeddings-inference.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerInfo {
    /// Name of the checkpoint.
    model_id: String,
    /// The type of the model.
    model_type: ServedType,
    /// Maximum number of tokens of prompt and answer together.
    max_input_length: usize,
    /// Maximum number of elements of a list in a request.
    max_client_batch_size: usize,
    /// Always `false`: a text that is too long is refused.
    auto_truncate: bool,
    /// The version, as printed by `gavel --version`.
    version: &'static str,
}

/// The type of a model that ranks, with the names of its classes.
#[derive(Serialize, ToSchema)]
pub(super) struct ServedType {
    /// The single class `score`.
    #[schema(value_type = Object)]
    reranker: Value,
}

/// Describe the server, as text-embeddings-inference does.
#[utoipa::path(get, path = "/info", tag = "engines", responses((status = 200, description = "The server.", body = ServerInfo, example = json!(examples::server_info()))))]
pub(super) async fn server_info(State(state): State<AppState>) -> Json<ServerInfo> {
    Json(ServerInfo {
        model_id: state.names.checkpoint_name().to_owned(),
        model_type: ServedType {
            reranker: json!({ "id2label": { "0": "score" }, "label2id": { "score": 0 } }),
        },
        max_input_length: state.judge.context_length(),
        max_client_batch_size: state.limits.content.shape.elements,
        auto_truncate: false,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Generate one token to test the whole path of generation, as SGLang does. The request waits in the queue like any
/// other.
#[utoipa::path(
    get,
    path = "/health_generate",
    tag = "engines",
    responses(
        (status = 200, description = "The critic generates text."),
        (status = 500, description = "The critic failed.", body = ErrorBody),
        (status = 503, description = "Too many requests are waiting, or the engine has stopped.", body = ErrorBody)
    )
)]
pub(super) async fn generate(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
) -> Result<StatusCode, ApiError> {
    let judge = &state.judge;
    let failed = |error: JudgeError| ApiError::from_judge(error, Dialect::Native);
    let tokens = judge
        .tokens(RawPrompt::Text("Hello".into()), judge.context_length(), &caller)
        .await
        .map_err(failed)?;
    // Any token is a success, control tokens included.
    let params =
        CompletionParams { caller, ignore_end: true, show_control: true, ..CompletionParams::greedy(1) };
    for text in judge.continue_tokens(tokens, &params, 1).await.map_err(failed)? {
        CompletionStream::collect(text).await.map_err(failed)?;
    }
    Ok(StatusCode::OK)
}
