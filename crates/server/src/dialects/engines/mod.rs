//! Other routes of vLLM, SGLang and text-embeddings-inference: tokenization, versions, a generation test, and the
//! generation of text as SGLang has it.

mod examples;
mod generate;
mod state;
mod tokens;

use axum::{
    Router,
    routing::{get, post},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::state::AppState;

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(tokens::tokenize))
        .routes(routes!(tokens::detokenize))
        .routes(routes!(state::version))
        .routes(routes!(state::model_info))
        .routes(routes!(state::server_info))
        .routes(routes!(state::generate))
        .routes(routes!(generate::generate_text))
}

/// Additional paths of the same routes.
pub(crate) fn aliases() -> Router<AppState> {
    Router::new()
        .route("/v1/tokenize", post(tokens::tokenize))
        .route("/v1/detokenize", post(tokens::detokenize))
        .route("/model_info", get(state::model_info))
}
