//! `POST /v1/responses`: OpenAI's newer interface to conversations. The server stores none of them.

mod examples;
pub(super) mod input_tokens;
mod request;
mod response;
mod stream;
mod tools;

use axum::{Json, extract::State, response::Response};
use judge::{Caller, CompletionParams, CompletionStream, Form};

use super::{Constrained, Deployment, constrain, response::ResponseHeader, restrict_cache};
use crate::{
    dialects::generation::{
        call::CallReader,
        forms::{WantedForm, with_form_header},
        unsupported,
    },
    error::{ApiError, GenerationErrors, UnknownModel},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    images::with_images,
    metrics::RequestKind,
    service::state::AppState,
};
use request::{ResponseRequest, ResponsesBody};
use response::ResponseBody;
use stream::ResponseEvent;

/// Answer a text or a conversation, with text, images and videos.
///
/// Decoding is greedy unless `temperature` is above 0. The server stores nothing, so each request must contain the
/// whole conversation.
///
/// A function that is named in `tool_choice` or required is called with valid arguments; the response then has an item
/// of type `function_call` instead of a message. With `auto` no function is called.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    params(("x-gavel-form" = Option<String>, Header, description = "The form of the answer: `off`, `auto` or the name of a form.")),
    request_body(
        content = ResponsesBody,
        examples(
            ("whole" = (value = json!(examples::whole()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "The generated text.", content(
            (ResponseBody = "application/json", examples(("whole" = (value = json!(examples::whole_answer()))))),
            (ResponseEvent = "text/event-stream", examples(("streamed" = (value = json!(examples::streamed_answer())))))
        )),
        GenerationErrors,
        UnknownModel
    )
)]
pub(super) async fn respond(
    State(state): State<AppState>,
    RequestCaller(mut caller): RequestCaller,
    deployment: Deployment,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = read_request(&state, &caller, &body).await?;
    let _memory = body.into_memory();
    let model = state.names.response_name(deployment.or(request.model.clone()))?;
    let header = ResponseHeader::new("resp_", model, &state.judge);
    restrict_cache(&mut caller, request.cache_salt.as_deref())?;
    let params = CompletionParams { caller, ..request.params };
    let Constrained { form, params } =
        constrain(&state, wanted, request.shape.as_ref(), &request.prompt, params).await?;
    let request = ResponseRequest { params, ..request };
    RequestKind::Chat.note();
    generate(state, header, request, form).await
}

/// Parses a request and reads its images.
///
/// # Errors
/// When the body is invalid or has a parameter that is not supported, or an image cannot be read.
async fn read_request(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<ResponseRequest, ApiError> {
    unsupported::check(body, unsupported::RESPONSES)?;
    let (vocabulary, max_messages) = (state.judge.vocabulary(), state.limits.content.shape.messages);
    let read = with_images(state, caller, |reader| {
        let body: ResponsesBody = body.parse()?;
        body.check(max_messages)?;
        body.into_request(vocabulary, reader)
    });
    read.await
}

/// Generates the text of a response, and returns it whole or as a stream.
async fn generate(
    state: AppState,
    header: ResponseHeader,
    request: ResponseRequest,
    form: Option<Form>,
) -> Result<Response, ApiError> {
    let ResponseRequest { prompt, images, params, call, stream, echo, .. } = request;
    let api_error = |error| images.api_error(error, "input");
    let mut texts = state.judge.complete(prompt, &params, 1).await.map_err(api_error)?;
    let text = texts.remove(0);
    let response = ResponseBody::in_progress(header, echo);
    if stream {
        let events = stream::events(text, call.as_ref().map(CallReader::new), response);
        return Ok(with_form_header([form.as_ref()], &state, events));
    }
    let completion = CompletionStream::collect(text).await.map_err(api_error)?;
    let response = response.with_completion(completion, call.as_ref());
    Ok(with_form_header([form.as_ref()], &state, Json(response)))
}
