//! The list of models. The critic is the only one, and may have several names.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use judge::GenerationDefaults;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::examples;
use crate::{
    error::{ApiError, ErrorBody, UnknownModel},
    process::clock::unix_seconds,
    request::query,
    service::state::AppState,
};

/// The list of models.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Always `list`.
    object: &'static str,
    /// The critic, under its own name or under all of its names.
    data: Vec<ModelBody>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelBody {
    /// Name of the checkpoint, or the name in the request.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// The current time, in seconds since 1970.
    created: u64,
    /// Always `gavel`.
    owned_by: &'static str,
    /// Name of the checkpoint.
    root: String,
    /// Maximum number of tokens of prompt and answer together.
    max_model_len: usize,
    /// The checkpoint's default of the penalty on tokens already generated; 1 means none.
    repetition_penalty: f32,
    /// The checkpoint's end tokens; any of them ends a reply.
    end_token_ids: Vec<u32>,
}

impl ModelBody {
    fn new(id: String, state: &AppState) -> Self {
        let (root, max_model_len) = (state.names.checkpoint_name().to_owned(), state.judge.context_length());
        let GenerationDefaults { end_tokens, repetition_penalty } = state.judge.generation();
        Self {
            id,
            object: "model",
            created: unix_seconds(),
            owned_by: "gavel",
            root,
            max_model_len,
            repetition_penalty: *repetition_penalty,
            end_token_ids: end_tokens.iter().map(|token| token.0).collect(),
        }
    }
}

/// The names to list.
#[derive(Deserialize, IntoParams)]
pub(super) struct ListQuery {
    /// `1` lists the configured aliases too. Without it the list has one entry, since many programs take the first
    /// or expect a single one.
    #[param(example = "1")]
    aliases: Option<String>,
}

/// List the one model.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    params(ListQuery),
    responses(
        (status = 200, description = "The models.", body = ModelList, example = json!(examples::models())),
        (status = 400, description = "A query parameter is invalid.", body = ErrorBody)
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ModelList>, ApiError> {
    let Query(query) = query.map_err(|error| query::refused(&error))?;
    let all = query.aliases.is_some_and(|aliases| !["", "0", "false"].contains(&aliases.as_str()));
    let aliases = state.names.aliases().iter().filter(|_| all).cloned();
    let names = [state.names.checkpoint_name().to_owned()].into_iter().chain(aliases);
    Ok(Json(ModelList { object: "list", data: names.map(|name| ModelBody::new(name, &state)).collect() }))
}

/// Describe the model. Any name is accepted, as in chat requests, unless the server refuses unknown ones.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "openai",
    params(("model" = String, Path, description = "Name of the model.", example = "gavel-mini")),
    responses(
        (status = 200, description = "The model.", body = ModelBody, example = json!(examples::model())),
        (status = 400, description = "The name is longer than 256 bytes.", body = ErrorBody),
        UnknownModel
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<ModelBody>, ApiError> {
    state.names.check(&model)?;
    Ok(Json(ModelBody::new(model, &state)))
}

/// Describes a model whose name contains a slash, which some clients do not escape.
pub(super) async fn retrieve_repository(
    state: State<AppState>,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<ModelBody>, ApiError> {
    retrieve(state, Path(format!("{owner}/{name}"))).await
}
