//! `POST /v1/responses`: OpenAI's newer interface to conversations. The server stores none of them.

mod examples;
mod request;
mod response;
mod stream;

use axum::{Json, extract::State, response::Response};
use judge::{CompletionParams, CompletionStream, Form};

use super::{
    Deployment,
    forms::{self, WantedForm},
    held,
    response::Header,
    salt, unsupported,
};
use crate::{
    caller::RequestCaller,
    error::{ApiError, ErrorBody},
    images::with_images,
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
use request::{ResponseRequest, ResponsesBody};
use response::ResponseBody;
use stream::ResponseEvent;

/// Answer a text or a conversation, with text, images and videos.
///
/// Decoding is greedy unless `temperature` is above 0. The server stores nothing, so each request must contain the
/// whole conversation.
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
        (status = 400, description = "The request is invalid or uses an unsupported parameter.", body = ErrorBody),
        (status = 404, description = "No model with this name is served.", body = ErrorBody),
        (status = 413, description = "The request body is too large.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many requests are waiting; retry after the time in `Retry-After`.", body = ErrorBody),
        (status = 500, description = "The critic failed, or the text ended before its first word (`empty_completion`).", body = ErrorBody),
        (status = 503, description = "The engine has stopped.", body = ErrorBody),
        (status = 504, description = "The request exceeded its time limit.", body = ErrorBody)
    )
)]
pub(super) async fn respond(
    State(state): State<AppState>,
    RequestCaller(mut caller): RequestCaller,
    (deployment, wanted): (Deployment, WantedForm),
    body: JsonBytes,
) -> Result<Response, ApiError> {
    unsupported::check(&body.parse()?, unsupported::RESPONSES)?;
    let vocabulary = state.judge.vocabulary();
    let read = with_images(&state, &caller.tenant, |reader| {
        body.parse::<ResponsesBody>()?.into_request(vocabulary, reader)
    });
    let request = read.await?;
    let _memory = body.into_memory();
    let model = state.names.response_name(deployment.or(request.model.clone()))?;
    let header = Header::new("resp_", model, state.judge.model());
    salt(&mut caller, request.cache_salt.as_deref());
    let params = CompletionParams { caller, ..request.params };
    let (form, params) = held(&state, wanted, (request.shape.as_ref(), &request.prompt), params).await?;
    let request = ResponseRequest { params, ..request };
    RequestKind::Chat.note();
    answered(state, (header, request), form).await
}

async fn answered(
    state: AppState,
    (header, request): (Header, ResponseRequest),
    form: Option<Form>,
) -> Result<Response, ApiError> {
    let ResponseRequest { prompt, images, params, stream, echo, .. } = request;
    let failed = |error| images.failed(error);
    let mut texts = state.judge.complete(prompt, &params, 1).await.map_err(failed)?;
    let text = texts.remove(0);
    if stream {
        let begun = ResponseBody::begun(&header, &echo);
        return Ok(forms::with_form_header(form.as_ref(), &state, stream::events(text, begun)));
    }
    let completion = CompletionStream::collect(text).await.map_err(failed)?;
    let response = ResponseBody::whole((&header, &echo), completion);
    Ok(forms::with_form_header(form.as_ref(), &state, Json(response)))
}
