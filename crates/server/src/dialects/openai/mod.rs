//! OpenAI's interface: conversations, responses, continued text, files, batches and the list of models.

mod apart;
mod batches;
mod best;
mod completions;
mod examples;
mod files;
mod forms;
pub(in crate::dialects) mod image_params;
mod models;
pub(in crate::dialects) mod refused;
mod request;
mod response;
mod responses;
pub(in crate::dialects) mod shape;
mod stream;
pub(in crate::dialects) mod tokens;
mod tools;
mod turns;
mod values;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, State},
    http::request::Parts,
    response::Response,
    routing::{get, post},
};
use futures::future::try_join_all;
use judge::{Caller, CompletionParams, CompletionStream, Form, Prompt};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    images::with_images,
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
pub(crate) use batches::batch_endpoints;
use best::best;
use forms::WantedForm;
use image_params::ImageParams;
use request::{ChatBody, ChatRequest, Texts};
use response::{ChatCompletion, ChatCompletionChunk, Header, UsageBody};
pub(crate) use response::{PromptDetails, now};
use shape::Asked;

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(chat))
        .routes(routes!(responses::respond))
        .routes(routes!(completions::complete))
        .routes(routes!(models::list))
        .routes(routes!(models::retrieve))
        .merge(kept())
        .layer(Extension(Dialect::OpenAi))
}

/// Files and batches.
fn kept() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(files::create, files::list))
        .routes(routes!(files::retrieve, files::delete))
        .routes(routes!(files::content))
        .routes(routes!(batches::create, batches::list))
        .routes(routes!(batches::retrieve))
        .routes(routes!(batches::cancel))
        // The store has bounds of its own; what comes is written as it comes.
        .layer(DefaultBodyLimit::disable())
}

/// Other paths that clients make of a base URL that they take for a full one, or the other way round; each with a slash at
/// its end, too.
pub(crate) fn aliases() -> Router<AppState> {
    const CHAT: [&str; 8] = [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/chat/completions",
        "/chat/completions/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/{deployment}/chat/completions",
    ];
    const RESPONSES: [&str; 7] = [
        "/v1/responses",
        "/responses",
        "/v1/v1/responses",
        "/v1/responses/responses",
        "/openai/responses",
        "/openai/v1/responses",
        "/openai/deployments/{deployment}/responses",
    ];
    const COMPLETIONS: [&str; 6] = [
        "/v1/completions",
        "/completions",
        "/v1/v1/completions",
        "/v1/completions/completions",
        "/openai/v1/completions",
        "/openai/deployments/{deployment}/completions",
    ];
    const MODELS: [&str; 6] = [
        "/v1/models",
        "/models",
        "/v1/v1/models",
        "/v1/chat/completions/models",
        "/openai/models",
        "/openai/v1/models",
    ];
    const MODEL: [&str; 6] = [
        "/v1/models/{model}",
        "/models/{model}",
        "/v1/v1/models/{model}",
        "/v1/chat/completions/models/{model}",
        "/openai/models/{model}",
        "/openai/v1/models/{model}",
    ];
    const REPOSITORY: [&str; 6] = [
        "/v1/models/{owner}/{name}",
        "/models/{owner}/{name}",
        "/v1/v1/models/{owner}/{name}",
        "/v1/chat/completions/models/{owner}/{name}",
        "/openai/models/{owner}/{name}",
        "/openai/v1/models/{owner}/{name}",
    ];
    const DOCUMENTED: [&str; 5] =
        ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/models", "/v1/models/{model}"];
    let routes = [
        (CHAT.as_slice(), post(chat)),
        (&RESPONSES, post(responses::respond)),
        (&COMPLETIONS, post(completions::complete)),
        (&MODELS, get(models::list)),
        (&MODEL, get(models::retrieve)),
        (&REPOSITORY, get(models::retrieve_repository)),
    ];
    let router = Router::new().route("/", post(chat)).merge(kept_elsewhere());
    let routes =
        routes.into_iter().flat_map(|(paths, method)| paths.iter().map(move |path| (path, method.clone())));
    let router = routes.fold(router, |router, (path, method)| {
        let router = router.route(&format!("{path}/"), method.clone());
        if DOCUMENTED.contains(path) { router } else { router.route(path, method) }
    });
    router.layer(Extension(Dialect::OpenAi))
}

/// The name of the model in a path of Azure's: some of its clients have none in the body.
struct Deployment(Option<String>);

impl Deployment {
    /// The name in the body, or else in the path.
    fn or(self, named: Option<String>) -> Option<String> {
        named.or(self.0)
    }
}

impl FromRequestParts<AppState> for Deployment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let deployment = params.ok().and_then(|params| {
            let found = params.iter().find(|(name, _)| *name == "deployment");
            found.map(|(_, value)| value.to_owned())
        });
        Ok(Self(deployment))
    }
}

/// Files and batches below the bases of other clients.
fn kept_elsewhere() -> Router<AppState> {
    ["", "/v1/v1", "/openai", "/openai/v1"].into_iter().map(kept_below).fold(Router::new(), Router::merge)
}

/// Files and batches below another path than `/v1`.
fn kept_below(base: &str) -> Router<AppState> {
    Router::new()
        .route(&format!("{base}/files"), post(files::create).get(files::list))
        .route(&format!("{base}/files/{{file_id}}"), get(files::retrieve).delete(files::delete))
        .route(&format!("{base}/files/{{file_id}}/content"), get(files::content))
        .route(&format!("{base}/batches"), post(batches::create).get(batches::list))
        .route(&format!("{base}/batches/{{batch_id}}"), get(batches::retrieve))
        .route(&format!("{base}/batches/{{batch_id}}/cancel"), post(batches::cancel))
        .layer(DefaultBodyLimit::disable())
}

/// Continue a conversation with text, images and videos.
///
/// Greedy unless `temperature` says otherwise: a judge gives the same answer to the same question.
///
/// With `response_format`, or a function that is named or required, the reply is valid under its schema, also when
/// `max_tokens` is small: it ends in time wherever it can. `stop` means nothing then. A function that may be called but need not,
/// `tool_choice` `auto`, is not called.
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
        (status = 404, description = "The critic is not called so.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody),
        (status = 500, description = "The model failed, or ended without a word (`empty_completion`).", body = ErrorBody),
        (status = 503, description = "The engine has stopped.", body = ErrorBody),
        (status = 504, description = "The request ran out of time.", body = ErrorBody)
    )
)]
async fn chat(
    State(state): State<AppState>,
    CallerOf(mut caller): CallerOf,
    (deployment, wanted): (Deployment, WantedForm),
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = chat_request(&state, &caller, &body).await?;
    let _memory = body.into_memory();
    let model = state.names.told(deployment.or(request.model.clone()))?;
    let header = Header::new("chatcmpl-", model, state.judge.model());
    salt(&mut caller, request.cache_salt.as_deref());
    let params = CompletionParams { caller, ..request.params };
    let (form, params) = held(&state, wanted, (request.shape.as_ref(), &request.prompt), params).await?;
    let request = ChatRequest { params, ..request };
    Ok(RequestKind::Chat.of(answered(state, (header, request), form).await))
}

/// Divides the caller's caches by what a request says.
fn salt(caller: &mut Caller, salt: Option<&str>) {
    if let Some(salt) = salt {
        caller.terms.cache_salt = salt.into();
    }
}

/// The form of an answer, and its parameters: what a request asks for itself goes before what its prompt is known to want.
async fn held(
    state: &AppState,
    wanted: WantedForm,
    (asked, prompt): (Option<&Asked>, &Prompt),
    params: CompletionParams,
) -> Result<(Option<Form>, CompletionParams), ApiError> {
    if let Some(asked) = asked {
        return Ok((wanted.without_form(asked.param)?, asked.hold(&state.judge, params).await?));
    }
    let form = wanted.find(&state.judge.rules(), prompt)?;
    let params = forms::apply(form.as_ref(), params);
    Ok((form, params))
}

/// What the body of a chat request asks for.
async fn chat_request(state: &AppState, caller: &Caller, body: &JsonBytes) -> Result<ChatRequest, ApiError> {
    let request = read(state, caller, body).await?;
    if request.opened {
        return Ok(request);
    }
    let message = "add_generation_prompt can be false only when the final message is continued.";
    Err(ApiError::invalid("add_generation_prompt", message))
}

/// What the body of a chat request says, be it to be answered or not.
async fn read(state: &AppState, caller: &Caller, body: &JsonBytes) -> Result<ChatRequest, ApiError> {
    refused::check(&body.parse()?, refused::CHAT)?;
    let vocabulary = state.judge.vocabulary();
    let read = with_images(state, &caller.tenant, |reader| {
        body.parse::<ChatBody>()?.into_request(vocabulary, reader)
    });
    read.await
}

/// The conversation in the body of a chat request with the places of its images, and whether the critic's turn is begun after it.
pub(in crate::dialects) async fn conversation(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<((Prompt, ImageParams), bool), ApiError> {
    let ChatRequest { prompt, images, opened, .. } = read(state, caller, body).await?;
    Ok(((prompt, images), opened))
}

/// What the body of a chat request asks for: the conversation, how it is continued, and how often.
pub(crate) async fn asked(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<(Prompt, CompletionParams, usize), ApiError> {
    let ChatRequest { prompt, params, texts, .. } = chat_request(state, caller, body).await?;
    Ok((prompt, params, texts.written))
}

async fn answered(
    state: AppState,
    (header, request): (Header, ChatRequest),
    form: Option<Form>,
) -> Result<Response, ApiError> {
    let ChatRequest { prompt, images, params, logprobs, texts, stream, call, .. } = request;
    let Texts { told, written } = texts;
    let failed = |error| images.failed(error);
    let choices = state.judge.complete(prompt, &params, written).await.map_err(failed)?;
    if let Some(options) = stream {
        return Ok(forms::told(form.as_ref(), &state, stream::events(choices, (header, call), options)));
    }
    let choices = try_join_all(choices.into_iter().map(CompletionStream::collect)).await.map_err(failed)?;
    let usage = UsageBody::sum(&choices.iter().map(|choice| choice.usage).collect::<Vec<_>>());
    let completion = ChatCompletion::new((header, call), (best(choices, told), usage), logprobs);
    Ok(forms::told(form.as_ref(), &state, Json(completion)))
}
