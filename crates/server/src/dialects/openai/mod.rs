//! OpenAI's interface: chat completions, responses, completions, files, batches and the list of models.

mod aliases;
mod batches;
mod best_of;
mod completions;
mod examples;
mod files;
mod metadata;
mod models;
mod page;
mod response;
mod responses;
mod stream;
mod text_stream;
mod upload_form;

use axum::{
    Extension, Json,
    extract::{DefaultBodyLimit, FromRequestParts, RawPathParams, State},
    http::request::Parts,
    response::Response,
};
use futures::future::try_join_all;
use judge::{Caller, CompletionParams, CompletionStream, Form, Prompt, Shape};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    content,
    generation::{
        chat::{self, ChatBody, ChatRequest, read_chat},
        forms::{self, KnownObject, WantedForm, with_form_header},
        shape::RequestedShape,
        text_counts::TextCounts,
    },
};
use crate::{
    error::{ApiError, Dialect, ErrorCode, GenerationErrors, UnknownModel},
    extract::{
        caller::{MAX_SALT_BYTES, RequestCaller},
        json_body::JsonBytes,
    },
    json::body_form::{BodyForm, ImageMembers, TextKind},
    metrics::RequestKind,
    service::state::AppState,
};
pub(crate) use aliases::aliases;
pub(crate) use batches::batch_endpoints;
use best_of::best_of;
use response::{ChatCompletion, ChatCompletionChunk, ResponseHeader, UsageBody};

/// How the bodies of these routes are read.
pub(crate) const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Anywhere(&[chat::IMAGE_MEMBERS, content::IMAGE_MEMBERS]),
    questions: &[],
};

/// The documented routes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(chat))
        .routes(routes!(responses::respond))
        .routes(routes!(responses::input_tokens::count))
        .routes(routes!(completions::complete))
        .routes(routes!(models::list))
        .routes(routes!(models::retrieve))
        .merge(storage_routes())
        .layer(Extension(BODY_FORM))
        .layer(Extension(Dialect::OpenAi))
}

/// The routes for files and batches.
fn storage_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(files::create, files::list))
        .routes(routes!(files::retrieve, files::delete))
        .routes(routes!(files::content))
        .routes(routes!(batches::create, batches::list))
        .routes(routes!(batches::retrieve))
        .routes(routes!(batches::cancel))
        // The store has limits of its own, and uploads are streamed to the disk; `upload_form.rs` bounds what is not.
        .layer(DefaultBodyLimit::disable())
}

/// The deployment name in an Azure path, which is the name of the model: some Azure clients send none in the body.
struct Deployment(Option<String>);

impl Deployment {
    /// The model's name from the body, or else from the path.
    fn or(self, model: Option<String>) -> Option<String> {
        model.or(self.0)
    }
}

impl FromRequestParts<AppState> for Deployment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let deployment = params.ok().and_then(|params| {
            let deployment = params.iter().find(|(name, _)| *name == "deployment");
            deployment.map(|(_, value)| value.to_owned())
        });
        Ok(Self(deployment))
    }
}

/// Continue a conversation with text, images and videos.
///
/// Decoding is greedy unless `temperature` is above 0, so that a judge gives the same answer to the same question.
///
/// With `response_format`, or with a function that is named or required, the reply is valid under its schema, also
/// for a small `max_tokens`: near the limit only tokens that lead to an end are written, if there is such an end.
/// `stop` has no effect on such replies. With `tool_choice` `auto` no function is called.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    params(("x-gavel-form" = Option<String>, Header, description = "The form of the answer: `off`, `auto` or the name of a form.")),
    request_body(
        content = ChatBody,
        examples(
            ("whole" = (value = json!(examples::turn()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "The reply of the assistant.", content(
            (ChatCompletion = "application/json", examples(("whole" = (value = json!(examples::turn_answer()))))),
            (
                ChatCompletionChunk = "text/event-stream",
                examples(("streamed" = (value = json!(examples::streamed_answer()))))
            )
        )),
        GenerationErrors,
        UnknownModel
    )
)]
async fn chat(
    State(state): State<AppState>,
    RequestCaller(mut caller): RequestCaller,
    deployment: Deployment,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = chat_request(&state, &caller, &body).await?;
    let _memory = body.into_memory();
    let model = state.names.response_name(deployment.or(request.model.clone()))?;
    let header = ResponseHeader::new("chatcmpl-", model, &state.judge);
    restrict_cache(&mut caller, request.cache_salt.as_deref())?;
    let params = CompletionParams { caller, ..request.params };
    let Constrained { form, params } =
        constrain(&state, wanted, request.shape.as_ref(), &request.prompt, params).await?;
    let request = ChatRequest { params, ..request };
    RequestKind::Chat.note();
    respond(state, header, request, form).await
}

/// Restricts cache sharing to requests with the same `cache_salt`.
///
/// # Errors
/// When the salt is longer than one in a header may be.
fn restrict_cache(caller: &mut Caller, salt: Option<&str>) -> Result<(), ApiError> {
    let Some(salt) = salt else { return Ok(()) };
    if salt.len() > MAX_SALT_BYTES {
        let message = format!("cache_salt has at most {MAX_SALT_BYTES} bytes.");
        return Err(ApiError::invalid("cache_salt", message).with_code(ErrorCode::StringTooLong));
    }
    caller.client.terms.cache_salt = salt.into();
    Ok(())
}

/// The parameters of a completion that is held to a form or a shape.
struct Constrained {
    /// The form of the answer, if it has one.
    form: Option<Form>,
    params: CompletionParams,
}

/// Holds the reply to the shape of the request, or to the wanted form. A `response_format` or function of the request
/// takes precedence over the form that its prompt is recognised to want, except that `json_object` accepts a form or
/// schema that is a JSON object.
async fn constrain(
    state: &AppState,
    wanted: WantedForm,
    shape: Option<&RequestedShape>,
    prompt: &Prompt,
    params: CompletionParams,
) -> Result<Constrained, ApiError> {
    let Some(requested) = shape else {
        let form = wanted.find(&state.judge.rules(), prompt)?;
        let params = forms::apply(form.as_ref(), params);
        return Ok(Constrained { form, params });
    };
    let any_object = requested.shape == Shape::Object;
    match any_object.then(|| wanted.find_object(&state.judge.rules(), prompt)).flatten() {
        Some(KnownObject::Form(form)) => {
            let params = forms::apply(Some(&form), params);
            return Ok(Constrained { form: Some(*form), params });
        }
        Some(KnownObject::Schema(schema)) => {
            let narrower = RequestedShape { shape: Shape::Schema(schema), param: requested.param };
            // The client asked for any object, so a schema that cannot be enforced is not an error of its request.
            if let Ok(params) = narrower.constrain(&state.judge, params.clone()).await {
                return Ok(Constrained { form: None, params });
            }
        }
        None => {}
    }
    let form = wanted.without_form(requested.param)?;
    Ok(Constrained { form, params: requested.constrain(&state.judge, params).await? })
}

/// Parses a chat request that is to be answered.
///
/// # Errors
/// When the body is invalid, or asks not to open the critic's turn, which only tokenization allows.
async fn chat_request(state: &AppState, caller: &Caller, body: &JsonBytes) -> Result<ChatRequest, ApiError> {
    let request = read_chat(state, caller, body).await?;
    if request.opens_turn {
        return Ok(request);
    }
    let message = "add_generation_prompt can be false only when the final message is continued.";
    Err(ApiError::invalid("add_generation_prompt", message))
}

/// The parts of a chat request that the fuzzer checks.
pub(crate) struct ParsedChatRequest {
    pub(crate) prompt: Prompt,
    pub(crate) params: CompletionParams,
    /// The number of texts to generate.
    pub(crate) text_count: usize,
}

/// Parses a chat request without answering it.
pub(crate) async fn parse_request(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<ParsedChatRequest, ApiError> {
    let ChatRequest { prompt, params, texts, .. } = chat_request(state, caller, body).await?;
    Ok(ParsedChatRequest { prompt, params, text_count: texts.generated })
}

/// Generates the texts of a request, and returns them whole or as a stream.
async fn respond(
    state: AppState,
    header: ResponseHeader,
    request: ChatRequest,
    form: Option<Form>,
) -> Result<Response, ApiError> {
    let ChatRequest { prompt, images, params, logprobs, texts, stream, call, .. } = request;
    let TextCounts { returned, generated } = texts;
    let api_error = |error| images.api_error(error, "messages");
    let choices = state.judge.complete(prompt, &params, generated).await.map_err(api_error)?;
    if let Some(options) = stream {
        let events = stream::events(choices, header, call, options);
        return Ok(with_form_header([form.as_ref()], &state, events));
    }
    let choices =
        try_join_all(choices.into_iter().map(CompletionStream::collect)).await.map_err(api_error)?;
    let usage = UsageBody::sum(&choices.iter().map(|choice| choice.usage).collect::<Vec<_>>());
    let choices = best_of(choices, returned);
    let completion = ChatCompletion::new(header, call.as_ref(), choices, usage, logprobs);
    Ok(with_form_header([form.as_ref()], &state, Json(completion)))
}
