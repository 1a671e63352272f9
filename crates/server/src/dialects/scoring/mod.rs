//! The interfaces of other reward and ranking servers, one file each. A handler converts its body to samples, which
//! the common [`Scorer`] scores, and the scores to the body of its interface.

mod bodies;
mod chat_reward;
mod choices;
mod classify;
mod decisions;
mod examples;
mod generative;
mod llama_factory;
mod messages;
mod openrlhf;
mod rerank;
mod sample;
mod score;
mod scorer;
mod slime;
mod systemone;
mod tei;
mod text_or_parts;
mod trainers;
mod transcript;

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Request},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::post,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, retold},
    extract::caller::RequestCaller,
    json::limits::TextKind,
    metrics::RequestKind,
    request::query,
    service::state::AppState,
};
pub(crate) use scorer::ScoreQuery;
use scorer::{Scorer, WithoutImageCount};
pub(crate) use trainers::NativeOrTrainer;

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(openrlhf::get_reward))
        .routes(routes!(slime::remote_rm))
        .routes(routes!(llama_factory::evaluate))
        .routes(routes!(classify::classify))
        .routes(routes!(classify::pooling))
        .routes(routes!(classify::embeddings))
        .routes(routes!(tei::predict))
        // Applies to the routes above only: their texts are transcripts, which may contain images.
        .layer(Extension(TextKind::Transcripts))
        .routes(routes!(score::score))
        .routes(routes!(generative::first_tokens))
        .routes(routes!(rerank::rerank))
        .routes(routes!(chat_reward::reward))
        .routes(routes!(decisions::decide))
        .routes(routes!(systemone::answer))
}

/// Additional paths of these routes.
pub(crate) fn aliases() -> Router<AppState> {
    Router::new()
        .route("/get_reward_mllm", post(openrlhf::get_reward))
        .route("/v1/classify", post(classify::classify))
        .route("/embeddings", post(classify::embeddings))
        .route("/openai/v1/embeddings", post(classify::embeddings))
        .route("/openai/deployments/{deployment}/embeddings", post(classify::embeddings))
        // Applies to the routes above only, as in `routes`.
        .layer(Extension(TextKind::Transcripts))
        .route("/v1/score", post(score::score))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v2/rerank", post(rerank::rerank))
        .route("/decisions", post(decisions::decide))
        .route("/openai/v1/decisions", post(decisions::decide))
}

/// The number of samples that were judged without an image; absent if there were none.
const WITHOUT_IMAGE_HEADER: HeaderName = HeaderName::from_static("x-gavel-without-image");

/// Middleware of all routes of this module, outside of admission. It labels the request for the metrics, adds the
/// header [`WITHOUT_IMAGE_HEADER`], and converts errors to the form of the route. A refusal for lack of capacity
/// becomes 503, since trainers give up at 429.
pub(crate) async fn finish_response(mut request: Request, next: Next) -> Response {
    RequestKind::Score.note();
    let without_image = WithoutImageCount::default();
    request.extensions_mut().insert(without_image.clone());
    let in_tei_form = tei::is_tei_path(request.uri().path());
    let response = next.run(request).await;
    let error_response = if in_tei_form { tei::error_response } else { error_for_trainers };
    with_image_header(retold(response, error_response), &without_image)
}

/// The response to an error for clients that give up at 429: a refusal for lack of capacity is 503.
fn error_for_trainers(error: ApiError) -> Response {
    error.unavailable().into_response()
}

/// Adds the header [`WITHOUT_IMAGE_HEADER`] to a successful response.
fn with_image_header(mut response: Response, without_image: &WithoutImageCount) -> Response {
    if without_image.count() > 0 && response.status().is_success() {
        response.headers_mut().insert(WITHOUT_IMAGE_HEADER, HeaderValue::from(without_image.count()));
    }
    response
}

/// Extracts the scorer of a request from its URL and its caller.
impl FromRequestParts<AppState> for Scorer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let query: ScoreQuery = query::read(&parts.uri, &ScoreQuery::NAMES)?;
        let RequestCaller(caller) = RequestCaller::from_request_parts(parts, state).await?;
        let without_image = parts.extensions.get::<WithoutImageCount>().cloned().unwrap_or_default();
        Ok(Self::new(state.clone(), caller, query).with_counter(without_image))
    }
}
