//! OpenAI's interface: `POST /v1/chat/completions` and the list of models.

mod examples;
mod forms;
mod models;
mod refused;
mod request;
mod response;
mod stream;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use futures::future::try_join_all;
use judge::{CompletionParams, CompletionStream, Form};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
use forms::WantedForm;
use request::{ChatBody, ChatRequest};
use response::{ChatCompletion, ChatCompletionChunk, Header};
pub(crate) use response::{PromptDetails, now};

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(chat)).routes(routes!(models::list)).routes(routes!(models::retrieve))
}

/// Other paths that clients make of a base URL that they take for a full one, or the other way round.
pub(crate) fn aliases() -> Router<AppState> {
    const CHAT: [&str; 11] = [
        "/",
        "/v1",
        "/v1/",
        "/chat/completions",
        "/chat/completions/",
        "/v1/chat/completions/",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/{deployment}/chat/completions",
        "/openai/deployments/{deployment}/chat/completions/",
    ];
    let router = CHAT.iter().fold(Router::new(), |router, path| router.route(path, post(chat)));
    router
        .route("/models", get(models::list))
        .route("/v1/models/", get(models::list))
        .route("/v1/models/{owner}/{name}", get(models::retrieve_repository))
        .route("/openai/models", get(models::list))
        .route("/openai/v1/models", get(models::list))
}

/// Continue a conversation with text, images and videos.
///
/// Greedy unless `temperature` says otherwise: a judge gives the same answer to the same question.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    params(("x-gavel-form" = Option<String>, Header, description = "`off`, `auto` or the form of the answer.")),
    request_body(
        content = ChatBody,
        examples(
            ("whole" = (value = json!(examples::turn()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "The next turn.", content(
            (ChatCompletion = "application/json", examples(("whole" = (value = json!(examples::turn_answer()))))),
            (
                ChatCompletionChunk = "text/event-stream",
                examples(("streamed" = (value = json!(examples::streamed_answer()))))
            )
        )),
        (status = 400, description = "The request makes no sense or asks for what is not offered.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody),
        (status = 500, description = "The model failed.", body = ErrorBody),
        (status = 502, description = "The critic ended its turn without a word.", body = ErrorBody),
        (status = 503, description = "The engine has stopped.", body = ErrorBody),
        (status = 504, description = "The request ran out of time.", body = ErrorBody)
    )
)]
async fn chat(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    refused::check(&body.parse(StatusCode::BAD_REQUEST)?)?;
    let body: ChatBody = body.parse(StatusCode::BAD_REQUEST)?;
    let request = body.into_request()?;
    let form = wanted.find(&state.judge.rules(), &request.prompt)?;
    let params = forms::apply(form.as_ref(), CompletionParams { caller, ..request.params });
    Ok(RequestKind::Chat.of(answered(state, ChatRequest { params, ..request }, form).await))
}

async fn answered(state: AppState, request: ChatRequest, form: Option<Form>) -> Result<Response, ApiError> {
    let ChatRequest { prompt, params, count, model, stream } = request;
    let header = Header::new(model, state.judge.model());
    let failed = |error| ApiError::from_judge(error, Dialect::OpenAi);
    let choices = state.judge.complete(prompt, &params, count).await.map_err(failed)?;
    if let Some(options) = stream {
        return Ok(forms::told(form.as_ref(), &state, stream::events(choices, header, options)));
    }
    let choices = try_join_all(choices.into_iter().map(CompletionStream::collect)).await.map_err(failed)?;
    let completion = ChatCompletion::new(header, choices, params.top_logprobs.is_some());
    Ok(forms::told(form.as_ref(), &state, Json(completion)))
}
