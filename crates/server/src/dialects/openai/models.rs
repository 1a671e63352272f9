//! The list of models, which has one: the critic.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{examples, response::now};
use crate::state::AppState;

/// The models that there are.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Always `list`.
    object: &'static str,
    /// The models: the critic alone.
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
}

impl ModelBody {
    fn new(id: String) -> Self {
        Self { id, object: "model", created: now(), owned_by: "gavel" }
    }
}

/// List the one model.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, description = "The models.", body = ModelList, example = json!(examples::models()))))]
pub(super) async fn list(State(state): State<AppState>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: vec![ModelBody::new(state.judge.model().to_owned())] })
}

/// Describe the model. Any name stands for it, as in chat requests.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "openai",
    params(("model" = String, Path, description = "Any name.", example = "gavel-mini")),
    responses((status = 200, description = "The model.", body = ModelBody, example = json!(examples::model())))
)]
pub(super) async fn retrieve(Path(model): Path<String>) -> Json<ModelBody> {
    Json(ModelBody::new(model))
}

/// Describe a model whose name is a repository's: some clients leave its slash as it is.
pub(super) async fn retrieve_repository(Path((owner, name)): Path<(String, String)>) -> Json<ModelBody> {
    Json(ModelBody::new(format!("{owner}/{name}")))
}
