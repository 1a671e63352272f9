//! Other routes of vLLM, SGLang and text-embeddings-inference: tokenization, versions, a generation test, and the
//! generation of text as SGLang has it.

mod examples;
mod generate;
mod sampling;
mod state;
mod tokens;

use axum::{
    Extension, Router,
    routing::{get, post},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{content, generation::chat};
use crate::{
    error::Dialect,
    json::body_form::{BodyForm, ImageMembers, TextKind},
    service::state::AppState,
};

/// The members of bodies whose strings are images, besides those of conversations.
pub(super) const IMAGE_MEMBERS: &[&str] = &["image_data"];

/// How the bodies of these routes are read.
const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Anywhere(&[IMAGE_MEMBERS, chat::IMAGE_MEMBERS, content::IMAGE_MEMBERS]),
    questions: IMAGE_MEMBERS,
};

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(tokens::tokenize))
        .routes(routes!(tokens::detokenize))
        .routes(routes!(generate::generate_text))
        // These apply to the routes above only: their handlers report errors to clients of this dialect, so that those
        // of their bodies must be reported alike. The routes below have no body.
        .layer(Extension(BODY_FORM))
        .layer(Extension(Dialect::OpenAi))
        .routes(routes!(state::version))
        .routes(routes!(state::model_info))
        .routes(routes!(state::server_info))
        .routes(routes!(state::generate))
}

/// Additional paths of the same routes.
pub(crate) fn aliases() -> Router<AppState> {
    Router::new()
        .route("/v1/tokenize", post(tokens::tokenize))
        .route("/v1/detokenize", post(tokens::detokenize))
        .layer(Extension(BODY_FORM))
        .layer(Extension(Dialect::OpenAi))
        .route("/model_info", get(state::model_info))
}
