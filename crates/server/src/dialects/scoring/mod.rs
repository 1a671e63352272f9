//! The interfaces of other reward and ranking servers, one file each. A handler converts its body to samples, which
//! the common [`Scorer`] scores, and the scores to the body of its interface.

mod bodies;
mod chat_reward;
mod choices;
mod classify;
mod decisions;
mod examples;
mod generative;
mod inline_images;
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

use super::content;
use crate::{
    error::{ApiError, retold},
    extract::caller::RequestCaller,
    json::body_form::{BodyForm, ImageMembers, TextKind},
    metrics::RequestKind,
    request::query,
    service::state::AppState,
};
pub(crate) use scorer::ScoreQuery;
use scorer::{Scorer, WithoutImageCount};
pub(crate) use trainers::NativeOrTrainer;

/// The members of labels and bodies whose strings are images, besides those of parts.
pub(super) const IMAGE_MEMBERS: &[&str] = &["image", "images"];

/// Where the bodies of most routes have images.
const IMAGES: ImageMembers = ImageMembers::Anywhere(&[IMAGE_MEMBERS, content::IMAGE_MEMBERS]);

/// How bodies with transcripts are read, which may contain images.
const TRANSCRIPTS: BodyForm =
    BodyForm { texts: TextKind::Transcripts, images: IMAGES, questions: &["prompts", "labels"] };

/// How bodies with plain texts are read.
const TEXTS: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: IMAGES,
    questions: &["queries", "documents", "items", "texts", "data_1", "data_2", "text_1", "text_2"],
};

/// The documented routes whose errors have the common form.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    let of_transcripts = OpenApiRouter::new()
        .routes(routes!(openrlhf::get_reward))
        .routes(routes!(slime::remote_rm))
        .routes(routes!(llama_factory::evaluate))
        .routes(routes!(classify::classify))
        .routes(routes!(classify::pooling))
        .routes(routes!(classify::embeddings));
    let of_texts = OpenApiRouter::new()
        .routes(routes!(score::score))
        .routes(routes!(generative::first_tokens))
        .routes(routes!(rerank::rerank))
        .routes(routes!(chat_reward::reward));
    of_transcripts
        .layer(Extension(TRANSCRIPTS))
        .merge(of_texts.layer(Extension(TEXTS)))
        .merge(decisions::routes())
        .merge(systemone::routes())
}

/// The documented routes all of whose errors have the form of text-embeddings-inference.
pub(crate) fn tei_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(tei::predict)).layer(Extension(TRANSCRIPTS))
}

/// Additional paths of the routes with the common form of errors.
pub(crate) fn aliases() -> Router<AppState> {
    let of_transcripts = Router::new()
        .route("/get_reward_mllm", post(openrlhf::get_reward))
        .route("/v1/classify", post(classify::classify))
        .route("/embeddings", post(classify::embeddings))
        .route("/openai/v1/embeddings", post(classify::embeddings))
        .route("/openai/deployments/{deployment}/embeddings", post(classify::embeddings));
    let of_texts = Router::new()
        .route("/v1/score", post(score::score))
        .route("/v1/rerank", post(rerank::rerank_v1))
        .route("/v2/rerank", post(rerank::rerank_v2));
    let of_decisions = Router::new()
        .route("/decisions", post(decisions::decide))
        .route("/openai/v1/decisions", post(decisions::decide));
    of_transcripts
        .layer(Extension(TRANSCRIPTS))
        .merge(of_texts.layer(Extension(TEXTS)))
        .merge(of_decisions.layer(Extension(decisions::BODY_FORM)))
}

/// The number of samples that were judged without an image; absent if there were none.
const WITHOUT_IMAGE_HEADER: HeaderName = HeaderName::from_static("x-gavel-without-image");

/// Middleware of the [`routes`] and the [`aliases`], outside of admission. It labels the request for the metrics, adds
/// the header [`WITHOUT_IMAGE_HEADER`], and changes a refusal for lack of capacity to 503, since trainers give up at
/// 429.
pub(crate) async fn finish_response(request: Request, next: Next) -> Response {
    finished(request, next, error_for_trainers).await
}

/// The same for the [`tei_routes`], with errors in their form.
pub(crate) async fn finish_tei_response(request: Request, next: Next) -> Response {
    finished(request, next, tei::error_response).await
}

/// The response to a request of this module; `tell` makes that of an error.
async fn finished(mut request: Request, next: Next, tell: fn(ApiError) -> Response) -> Response {
    RequestKind::Score.note();
    let without_image = WithoutImageCount::default();
    request.extensions_mut().insert(without_image.clone());
    let response = next.run(request).await;
    with_image_header(retold(response, tell), &without_image)
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
