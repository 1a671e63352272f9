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
mod tei;
mod transcript;

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Request},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    caller::CallerOf,
    error::{ApiError, retold},
    json_shape::Texts,
    metrics::RequestKind,
    state::AppState,
    url_query,
};
use scorer::{ScoreQuery, Scorer, WithoutImage};

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
        // Of the routes above only.
        .layer(Extension(Texts::Transcripts))
        .routes(routes!(score::score))
        .routes(routes!(generative::first_tokens))
        .routes(routes!(rerank::rerank))
        .routes(routes!(chat_reward::reward))
        .routes(routes!(decisions::decide))
        .routes(routes!(systemone::answer))
}

/// Other paths of the same, and all of them with a slash at their end, too.
pub(crate) fn aliases() -> Router<AppState> {
    let transcripts = [
        ("/get_reward", post(openrlhf::get_reward)),
        ("/get_reward_mllm", post(openrlhf::get_reward)),
        ("/rm", post(slime::remote_rm)),
        ("/v1/score/evaluation", post(llama_factory::evaluate)),
        ("/classify", post(classify::classify)),
        ("/v1/classify", post(classify::classify)),
        ("/pooling", post(classify::pooling)),
        ("/v1/embeddings", post(classify::embeddings)),
        ("/embeddings", post(classify::embeddings)),
        ("/v1/v1/embeddings", post(classify::embeddings)),
        ("/openai/v1/embeddings", post(classify::embeddings)),
        ("/openai/deployments/{deployment}/embeddings", post(classify::embeddings)),
        ("/predict", post(tei::predict)),
    ];
    let others = [
        ("/score", post(score::score)),
        ("/v1/score", post(score::score)),
        ("/generative_scoring", post(generative::first_tokens)),
        ("/rerank", post(rerank::rerank)),
        ("/v1/rerank", post(rerank::rerank)),
        ("/v2/rerank", post(rerank::rerank)),
        ("/v1/chat/reward", post(chat_reward::reward)),
        ("/v1/decisions", post(decisions::decide)),
        ("/v1/systemone", post(systemone::answer)),
    ];
    let documented = routes().get_openapi().paths.clone();
    let both_ways = |router: Router<AppState>, (path, method): (&str, MethodRouter<AppState>)| {
        let router = router.route(&format!("{path}/"), method.clone());
        if documented.paths.contains_key(path) { router } else { router.route(path, method) }
    };
    let transcripts = transcripts.into_iter().fold(Router::new(), both_ways);
    // Of the routes so far only.
    let transcripts = transcripts.layer(Extension(Texts::Transcripts));
    others.into_iter().fold(transcripts, both_ways)
}

/// How many samples were judged without an image, in the answers where there are any.
const WITHOUT_IMAGE: HeaderName = HeaderName::from_static("x-gavel-without-image");

/// Around all routes of this folder, and what lets requests in there. Tells whoever counts which kind of request this was, and the client
/// what its body has no place for. A refusal that another moment would have spared it is 503, since trainers give up at 429.
pub(crate) async fn told(mut request: Request, next: Next) -> Response {
    let without_image = WithoutImage::default();
    request.extensions_mut().insert(without_image.clone());
    let in_tei_form = tei::is_path(request.uri().path());
    let response = next.run(request).await;
    let response =
        retold(
            response,
            |error| {
                if in_tei_form { tei::told(error) } else { error.unavailable().into_response() }
            },
        );
    let mut response = RequestKind::Score.of(response);
    if without_image.count() > 0 && response.status().is_success() {
        response.headers_mut().insert(WITHOUT_IMAGE, HeaderValue::from(without_image.count()));
    }
    response
}

/// The scorer of a request, made of its URL and its caller.
impl FromRequestParts<AppState> for Scorer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let query: ScoreQuery = url_query::read(&parts.uri, &ScoreQuery::NAMES)?;
        let CallerOf(caller) = CallerOf::from_request_parts(parts, state).await?;
        let without_image = parts.extensions.get::<WithoutImage>().cloned().unwrap_or_default();
        Ok(Self::new(state.clone(), caller, query).counting(without_image))
    }
}
