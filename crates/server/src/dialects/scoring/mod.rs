//! Interfaces of other reward and ranking servers, one file for each: bodies in, samples to the one [`Scorer`], bodies out.

mod chat_reward;
mod choices;
mod classify;
mod decisions;
mod examples;
mod failures;
mod generative;
mod llama_factory;
mod openrlhf;
mod rerank;
mod sample;
mod score;
mod scorer;
mod slime;
mod systemone;
mod transcript;

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
    middleware,
    response::Response,
    routing::post,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{caller::CallerOf, error::ApiError, json_shape::Texts, metrics::RequestKind, state::AppState};
use scorer::{ScoreQuery, Scorer};

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(openrlhf::get_reward))
        .routes(routes!(slime::remote_rm))
        .routes(routes!(llama_factory::evaluate))
        .routes(routes!(classify::classify))
        .routes(routes!(classify::pooling))
        .routes(routes!(classify::embeddings))
        // Of the routes above only.
        .layer(Extension(Texts::Transcripts))
        .routes(routes!(score::score))
        .routes(routes!(generative::first_tokens))
        .routes(routes!(rerank::rerank))
        .routes(routes!(chat_reward::reward))
        .routes(routes!(decisions::decide))
        .routes(routes!(systemone::answer))
        .layer(middleware::map_response(counted))
}

/// Other paths of the same.
pub(crate) fn aliases() -> Router<AppState> {
    Router::new()
        .route("/get_reward_mllm", post(openrlhf::get_reward))
        .route("/v1/classify", post(classify::classify))
        // Of the routes above only.
        .layer(Extension(Texts::Transcripts))
        .route("/v1/score", post(score::score))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v2/rerank", post(rerank::rerank))
        .layer(middleware::map_response(counted))
}

/// Tells whoever counts which kind of request this was.
async fn counted(response: Response) -> Response {
    RequestKind::Score.of(response)
}

/// The scorer of a request, made of its URL and its caller.
impl FromRequestParts<AppState> for Scorer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let query = Query::<ScoreQuery>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                format!("The URL: {}.", error.body_text()),
            )
        })?;
        let CallerOf(caller) = CallerOf::from_request_parts(parts, state).await?;
        Ok(Self::new(state.clone(), caller, query))
    }
}
