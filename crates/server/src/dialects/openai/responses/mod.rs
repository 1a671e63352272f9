//! `POST /v1/responses`: OpenAI's newer interface to conversations. Nothing of them is kept.

mod examples;
mod request;
mod response;
mod stream;

use axum::{Json, extract::State, response::Response};
use judge::{CompletionParams, CompletionStream, Form};

use super::{
    Deployment,
    forms::{self, WantedForm},
    held, refused,
    response::Header,
    salt,
};
use crate::{
    caller::CallerOf,
    error::{ApiError, ErrorBody},
    images::with_images,
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
use request::{ResponseRequest, ResponsesBody};
use response::ResponseBody;
use stream::ResponseEvent;

/// Answer words or a conversation, with text and images.
///
/// Greedy unless `temperature` says otherwise. Nothing is kept, so that each request has the whole conversation.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "openai",
    params(("x-gavel-form" = Option<String>, Header, description = "`off`, `auto` or the form of the answer.")),
    request_body(
        content = ResponsesBody,
        examples(
            ("whole" = (value = json!(examples::whole()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "What was written.", content(
            (ResponseBody = "application/json", examples(("whole" = (value = json!(examples::whole_answer()))))),
            (ResponseEvent = "text/event-stream", examples(("streamed" = (value = json!(examples::streamed_answer())))))
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
pub(super) async fn respond(
    State(state): State<AppState>,
    CallerOf(mut caller): CallerOf,
    (deployment, wanted): (Deployment, WantedForm),
    body: JsonBytes,
) -> Result<Response, ApiError> {
    refused::check(&body.parse()?, refused::RESPONSES)?;
    let vocabulary = state.judge.vocabulary();
    let read = with_images(&state, &caller.tenant, |reader| {
        body.parse::<ResponsesBody>()?.into_request(vocabulary, reader)
    });
    let request = read.await?;
    let _memory = body.into_memory();
    let model = state.names.told(deployment.or(request.model.clone()))?;
    let header = Header::new("resp_", model, state.judge.model());
    salt(&mut caller, request.cache_salt.as_deref());
    let params = CompletionParams { caller, ..request.params };
    let (form, params) = held(&state, wanted, (request.shape.as_ref(), &request.prompt), params).await?;
    let request = ResponseRequest { params, ..request };
    Ok(RequestKind::Chat.of(answered(state, (header, request), form).await))
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
        return Ok(forms::told(form.as_ref(), &state, stream::events(text, begun)));
    }
    let completion = CompletionStream::collect(text).await.map_err(failed)?;
    let response = ResponseBody::whole((&header, &echo), completion);
    Ok(forms::told(form.as_ref(), &state, Json(response)))
}
