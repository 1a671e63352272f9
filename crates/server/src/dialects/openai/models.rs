//! The list of models, which has one: the critic. It goes by other names too.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use judge::GenerationDefaults;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{examples, response::now};
use crate::{
    error::{ApiError, ErrorBody},
    state::AppState,
    url_query,
};

/// The models that there are.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Always `list`.
    object: &'static str,
    /// The critic, by one name or by all of its names.
    data: Vec<ModelBody>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelBody {
    /// Name of the checkpoint, or the name that was asked for.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// Seconds since 1970: now.
    created: u64,
    /// Always `gavel`.
    owned_by: &'static str,
    /// Name of the checkpoint that answers.
    root: String,
    /// Of the prompt and the answer together, in tokens.
    max_model_len: usize,
    /// Of the checkpoint, where a request names none: the penalty on tokens already generated. 1 is none.
    repetition_penalty: f32,
    /// The checkpoint's tokens any of which ends a reply.
    end_token_ids: Vec<u32>,
}

impl ModelBody {
    fn new(id: String, state: &AppState) -> Self {
        let (root, max_model_len) = (state.names.truth().to_owned(), state.judge.context_length());
        let GenerationDefaults { end_tokens, repetition_penalty } = state.judge.generation();
        Self {
            id,
            object: "model",
            created: now(),
            owned_by: "gavel",
            root,
            max_model_len,
            repetition_penalty: *repetition_penalty,
            end_token_ids: end_tokens.iter().map(|token| token.0).collect(),
        }
    }
}

/// What is listed.
#[derive(Deserialize, IntoParams)]
pub(super) struct ListQuery {
    /// `1` lists the critic's other names too. Without it there is one entry, since many programs take the first or want
    /// only one.
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
        (status = 400, description = "The URL makes no sense.", body = ErrorBody)
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ModelList>, ApiError> {
    let Query(query) = query.map_err(|error| url_query::refused(&error))?;
    let all = query.aliases.is_some_and(|aliases| !["", "0", "false"].contains(&aliases.as_str()));
    let aliases = state.names.aliases().iter().filter(|_| all).cloned();
    let names = [state.names.truth().to_owned()].into_iter().chain(aliases);
    Ok(Json(ModelList { object: "list", data: names.map(|name| ModelBody::new(name, &state)).collect() }))
}

/// Describe the model. Any name stands for it, as in chat requests, unless the server refuses unknown ones.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "openai",
    params(("model" = String, Path, description = "A name of the critic.", example = "gavel-mini")),
    responses(
        (status = 200, description = "The model.", body = ModelBody, example = json!(examples::model())),
        (status = 404, description = "The critic is not called so.", body = ErrorBody)
    )
)]
pub(super) async fn retrieve(
    State(state): State<AppState>,
    Path(model): Path<String>,
) -> Result<Json<ModelBody>, ApiError> {
    state.names.check(&model)?;
    Ok(Json(ModelBody::new(model, &state)))
}

/// Describe a model whose name is a repository's: some clients leave its slash as it is.
pub(super) async fn retrieve_repository(
    state: State<AppState>,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<ModelBody>, ApiError> {
    retrieve(state, Path(format!("{owner}/{name}"))).await
}
