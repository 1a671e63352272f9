//! `POST /v1/completions`: OpenAI's older interface, which continues text without a conversation.

mod examples;
mod request;
mod response;
mod stream;

use axum::{Json, extract::State, response::Response};
use judge::Usage;

use super::{
    Deployment,
    best_of::best_of,
    response::{ResponseHeader, UsageBody},
    restrict_cache,
};
use crate::{
    dialects::generation::{
        continuation::{CompletionPlan, PromptTexts, collect_all},
        forms::{WantedForm, with_form_header},
        text_counts::StreamOptions,
        unsupported,
    },
    error::{ApiError, GenerationErrors, UnknownModel},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    metrics::RequestKind,
    service::state::AppState,
};
use request::{CompletionBody, CompletionRequest};
use response::{TextChoice, TextCompletion};
use stream::ChunkOptions;

/// Continue text without a conversation around it.
///
/// Decoding is greedy unless `temperature` is above 0. A prompt of text contains no control tokens; they can only
/// be given as token ids. With the structured outputs of vLLM and SGLang the text is held to a schema, choice or
/// pattern, and `stop` has no effect. Without them, a prompt of text that is recognised gets its form, as in chat.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "openai",
    params(("x-gavel-form" = Option<String>, Header, description = "The form of the answer: `off`, `auto` or the name of a form.")),
    request_body(
        content = CompletionBody,
        examples(
            ("whole" = (value = json!(examples::whole()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "The generated text.", content(
            (TextCompletion = "application/json", examples(("whole" = (value = json!(examples::whole_answer()))))),
            (TextCompletion = "text/event-stream", examples(("streamed" = (value = json!(examples::streamed_answer())))))
        )),
        GenerationErrors,
        UnknownModel
    )
)]
pub(super) async fn complete(
    State(state): State<AppState>,
    RequestCaller(mut caller): RequestCaller,
    deployment: Deployment,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    unsupported::check(&body, unsupported::COMPLETIONS)?;
    let request = body.parse::<CompletionBody>()?.into_request(state.judge.vocabulary())?;
    let _memory = body.into_memory();
    let CompletionRequest { continuation, cache_salt, logprobs, echo, model, stream } = request;
    let model = state.names.response_name(deployment.or(model))?;
    let header = ResponseHeader::new("cmpl-", model, &state.judge);
    restrict_cache(&mut caller, cache_salt.as_deref())?;
    let plan = CompletionPlan::new(&state, caller, &wanted, continuation).await?;
    RequestKind::Completion.note();
    respond(state, header, plan, ResponseOptions { logprobs, echo, stream }).await
}

/// What is returned of the texts, and how.
struct ResponseOptions {
    /// Whether log-probabilities are returned.
    logprobs: bool,
    /// Whether each text begins with its prompt.
    echo: bool,
    /// Set for a streamed response.
    stream: Option<StreamOptions>,
}

/// Generates the texts of a plan, and returns them whole or as a stream.
async fn respond(
    state: AppState,
    header: ResponseHeader,
    plan: CompletionPlan,
    options: ResponseOptions,
) -> Result<Response, ApiError> {
    let ResponseOptions { logprobs, echo, stream } = options;
    let (forms, returned) = (plan.forms.clone(), plan.texts.returned);
    let prompts = plan.begin(&state, echo).await?;
    if let Some(options) = stream {
        let options = ChunkOptions { logprobs, include_usage: options.include_usage };
        let events = stream::events(prompts, header, options);
        return Ok(with_form_header(forms.iter().map(Option::as_ref), &state, events));
    }
    let (mut choices, mut usages) = (Vec::new(), Vec::new());
    for PromptTexts { echo, texts } in collect_all(prompts).await? {
        usages.push(texts.iter().map(|text| text.usage).collect::<Vec<Usage>>());
        for text in best_of(texts, returned) {
            choices.push(TextChoice::whole(choices.len(), &echo, text, logprobs));
        }
    }
    let completion = TextCompletion::new(&header, choices, Some(UsageBody::of_prompts(&usages)));
    Ok(with_form_header(forms.iter().map(Option::as_ref), &state, Json(completion)))
}
