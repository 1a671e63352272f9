//! `POST /v1/completions`: OpenAI's older interface, which continues text as it stands.

mod examples;
mod request;
mod response;
mod stream;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::future::try_join_all;
use judge::{Completion, CompletionParams, CompletionStream, RawPrompt, Usage};

use super::{
    Deployment,
    best::best,
    refused,
    request::Texts,
    response::{Header, UsageBody},
    salt,
};
use crate::{
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
use request::{CompletionBody, CompletionRequest};
use response::{TextChoice, TextCompletion};
use stream::Telling;

/// What is written for one prompt.
struct Prompted<T> {
    /// The prompt as text, where it is told; else nothing.
    echo: String,
    texts: Vec<T>,
}

/// Continue text as it stands, without a conversation around it.
///
/// Greedy unless `temperature` says otherwise. Control tokens can be given as tokens alone: text is data. What vLLM and SGLang
/// call structured outputs holds a text as it does a reply; `stop` means nothing then.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "openai",
    request_body(
        content = CompletionBody,
        examples(
            ("whole" = (value = json!(examples::whole()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "What was written.", content(
            (TextCompletion = "application/json", examples(("whole" = (value = json!(examples::whole_answer()))))),
            (TextCompletion = "text/event-stream", examples(("streamed" = (value = json!(examples::streamed_answer())))))
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
pub(super) async fn complete(
    State(state): State<AppState>,
    CallerOf(mut caller): CallerOf,
    deployment: Deployment,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    refused::check(&body.parse()?, refused::COMPLETIONS)?;
    let request = body.parse::<CompletionBody>()?.into_request(state.judge.vocabulary())?;
    let _memory = body.into_memory();
    let model = state.names.told(deployment.or(request.model.clone()))?;
    let header = Header::new("cmpl-", model, state.judge.model());
    salt(&mut caller, request.cache_salt.as_deref());
    let mut params = CompletionParams { caller, ..request.params };
    if let Some(asked) = &request.shape {
        params = asked.hold(&state.judge, params).await?;
    }
    let request = CompletionRequest { params, ..request };
    Ok(RequestKind::Completion.of(answered(state, request, header).await))
}

async fn answered(state: AppState, request: CompletionRequest, header: Header) -> Result<Response, ApiError> {
    let failed = |error| ApiError::from_judge(error, Dialect::OpenAi);
    let CompletionRequest { texts: Texts { told, .. }, logprobs, stream, .. } = request;
    let prompted = begin(&state, request).await?;
    if let Some(options) = stream {
        return Ok(stream::events(prompted, header, Telling { logprobs, options }).into_response());
    }
    let (mut choices, mut usages) = (Vec::new(), Vec::new());
    let texts = prompted.into_iter().map(|Prompted { echo, texts }| async move {
        let texts: Vec<Completion> = try_join_all(texts.into_iter().map(CompletionStream::collect)).await?;
        Ok(Prompted { echo, texts })
    });
    for Prompted { echo, texts } in try_join_all(texts).await.map_err(failed)? {
        usages.push(texts.iter().map(|text| text.usage).collect::<Vec<Usage>>());
        for text in best(texts, told) {
            choices.push(TextChoice::whole(choices.len(), (&echo, text), logprobs));
        }
    }
    Ok(Json(TextCompletion::new(&header, choices, Some(UsageBody::of_prompts(&usages)))).into_response())
}

/// Starts all texts.
async fn begin(
    state: &AppState,
    request: CompletionRequest,
) -> Result<Vec<Prompted<CompletionStream>>, ApiError> {
    let CompletionRequest { prompts, params, texts: Texts { written, .. }, echo, .. } = request;
    let judge = &state.judge;
    let failed = |error| ApiError::from_judge(error, Dialect::OpenAi);
    let _preparing = judge.prepare_for(&params.caller).map_err(failed)?;
    let several = prompts.len() > 1;
    let mut begun = Vec::with_capacity(prompts.len());
    for (index, prompt) in prompts.into_iter().enumerate() {
        let place = if several { format!("prompt[{index}]") } else { "prompt".to_owned() };
        let text = match &prompt {
            RawPrompt::Text(text) if echo => text.clone(),
            RawPrompt::Text(_) | RawPrompt::Tokens(_) => String::new(),
        };
        let is_text = matches!(prompt, RawPrompt::Text(_));
        let tokens = judge
            .tokens(prompt, judge.context_length(), &params.caller)
            .await
            .map_err(|error| failed(error).with_param(place))?;
        let text = if echo && !is_text { judge.text(&tokens) } else { text };
        // Equal prompts are drawn anew.
        let first = (index * written) as u64;
        let params =
            CompletionParams { seed: params.seed.map(|seed| seed.wrapping_add(first)), ..params.clone() };
        let texts = judge.continue_tokens(tokens, &params, written).map_err(failed)?;
        begun.push(Prompted { echo: text, texts });
    }
    Ok(begun)
}
