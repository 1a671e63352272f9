//! `POST /v1/completions`: OpenAI's older interface, which continues text without a conversation.

mod examples;
mod request;
mod response;
mod stream;

use axum::{Json, extract::State, response::Response};
use futures::future::try_join_all;
use judge::{Caller, Completion, CompletionParams, CompletionStream, Form, JudgeError, RawPrompt, Usage};

use super::{
    Deployment, WantedForm,
    best_of::best_of,
    forms,
    request::TextCounts,
    response::{ResponseHeader, UsageBody},
    restrict_cache, unsupported, with_form_header,
};
use crate::{
    caller::RequestCaller,
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
use request::CompletionRequest;
pub(in crate::dialects) use request::{CompletionBody, CompletionPrompt};
use response::{TextChoice, TextCompletion};
use stream::ChunkOptions;

/// The texts that continue one prompt.
struct PromptTexts<T> {
    /// The prompt as text, if it is to be returned before each text; else empty.
    echo: String,
    texts: Vec<T>,
}

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
pub(super) async fn complete(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    deployment: Deployment,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    unsupported::check(&body, unsupported::COMPLETIONS)?;
    let request = body.parse::<CompletionBody>()?.into_request(state.judge.vocabulary())?;
    let _memory = body.into_memory();
    let model = state.names.response_name(deployment.or(request.model.clone()))?;
    let header = ResponseHeader::new("cmpl-", model, state.judge.model());
    let request = constrain(&state, caller, &wanted, request).await?;
    RequestKind::Completion.note();
    respond(state, request, header).await
}

/// The prompts of a body, continued.
pub(in crate::dialects) struct ContinuedPrompts {
    /// The texts of each prompt.
    pub(in crate::dialects) texts: Vec<Vec<Completion>>,
    /// The form of each prompt's texts.
    pub(in crate::dialects) forms: Vec<Option<Form>>,
}

/// Continues the prompts of a body that a route of another interface has made.
///
/// # Errors
/// As for the route itself: an error has the parameter of this body.
pub(in crate::dialects) async fn complete_all(
    state: &AppState,
    caller: Caller,
    wanted: &WantedForm,
    body: CompletionBody,
) -> Result<ContinuedPrompts, ApiError> {
    let request = constrain(state, caller, wanted, body.into_request(state.judge.vocabulary())?).await?;
    let forms = request.forms.clone();
    let prompts = collect_all(begin(state, request).await?).await?;
    let texts = prompts.into_iter().map(|PromptTexts { texts, .. }| texts).collect();
    Ok(ContinuedPrompts { texts, forms })
}

/// How the prompts of a body are continued.
pub(in crate::dialects) struct CompletionPlan {
    params: CompletionParams,
    /// The form of each prompt's texts.
    pub(in crate::dialects) forms: Vec<Option<Form>>,
    /// The number of texts to generate for each prompt.
    pub(in crate::dialects) texts_per_prompt: usize,
}

impl CompletionPlan {
    /// Who asks for the texts.
    pub(in crate::dialects) fn caller(&self) -> &Caller {
        &self.params.caller
    }

    /// The parameters for the texts of prompt `index`, which have seeds of their own, so that equal prompts get
    /// different samples.
    pub(in crate::dialects) fn params_of(&self, index: usize) -> CompletionParams {
        let form = self.forms.get(index).and_then(Option::as_ref);
        params_of_prompt(&self.params, form, (index * self.texts_per_prompt) as u64)
    }
}

/// Validates such a body without continuing its prompts.
///
/// # Errors
/// As [`complete_all`].
pub(in crate::dialects) async fn plan(
    state: &AppState,
    caller: Caller,
    wanted: &WantedForm,
    body: CompletionBody,
) -> Result<CompletionPlan, ApiError> {
    let request = constrain(state, caller, wanted, body.into_request(state.judge.vocabulary())?).await?;
    let CompletionRequest { params, forms, texts, .. } = request;
    Ok(CompletionPlan { params, forms, texts_per_prompt: texts.generated })
}

/// The request with its caller, and with the rules of the shape that it asks for or the forms of its prompts.
async fn constrain(
    state: &AppState,
    mut caller: Caller,
    wanted: &WantedForm,
    request: CompletionRequest,
) -> Result<CompletionRequest, ApiError> {
    restrict_cache(&mut caller, request.cache_salt.as_deref())?;
    let mut params = CompletionParams { caller, ..request.params };
    let forms = if let Some(shape) = &request.shape {
        let form = wanted.without_form(shape.param)?;
        params = shape.constrain(&state.judge, params).await?;
        vec![form; request.prompts.len()]
    } else {
        let rules = state.judge.rules();
        let forms = request.prompts.iter().map(|prompt| wanted.find_raw(&rules, prompt));
        forms.collect::<Result<_, ApiError>>()?
    };
    Ok(CompletionRequest { params, forms, ..request })
}

/// The parameters for the texts of one prompt, in `form`, whose first text has number `first`.
fn params_of_prompt(params: &CompletionParams, form: Option<&Form>, first: u64) -> CompletionParams {
    let seed = params.seed.map(|seed| seed.wrapping_add(first));
    forms::apply(form, CompletionParams { seed, ..params.clone() })
}

/// Generates the texts of a request, and returns them whole or as a stream.
async fn respond(
    state: AppState,
    request: CompletionRequest,
    header: ResponseHeader,
) -> Result<Response, ApiError> {
    let CompletionRequest { texts: TextCounts { returned, .. }, logprobs, stream, .. } = request;
    let forms = request.forms.clone();
    let prompts = begin(&state, request).await?;
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

/// All texts, when they are complete.
async fn collect_all(
    prompts: Vec<PromptTexts<CompletionStream>>,
) -> Result<Vec<PromptTexts<Completion>>, ApiError> {
    let prompts = prompts.into_iter().map(|PromptTexts { echo, texts }| async move {
        let texts = try_join_all(texts.into_iter().map(CompletionStream::collect)).await?;
        Ok::<_, JudgeError>(PromptTexts { echo, texts })
    });
    try_join_all(prompts).await.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))
}

/// Starts all texts of all prompts.
async fn begin(
    state: &AppState,
    request: CompletionRequest,
) -> Result<Vec<PromptTexts<CompletionStream>>, ApiError> {
    let CompletionRequest { prompts, forms, params, texts: TextCounts { generated, .. }, echo, .. } = request;
    let judge = &state.judge;
    let api_error = |error| ApiError::from_judge(error, Dialect::OpenAi);
    let _preparing = judge.prepare_for(&params.caller).await.map_err(api_error)?;
    let has_several = prompts.len() > 1;
    let mut begun = Vec::with_capacity(prompts.len());
    for (index, (prompt, form)) in prompts.into_iter().zip(forms).enumerate() {
        let path = if has_several { format!("prompt[{index}]") } else { "prompt".to_owned() };
        let text = match &prompt {
            RawPrompt::Text(text) if echo => text.clone(),
            RawPrompt::Text(_) | RawPrompt::Tokens(_) => String::new(),
        };
        let is_text = matches!(prompt, RawPrompt::Text(_));
        let tokens = judge
            .tokens(prompt, judge.context_length(), &params.caller)
            .await
            .map_err(|error| api_error(error).with_param(path))?;
        let text = if echo && !is_text { judge.text(&tokens) } else { text };
        // Each prompt has seeds of its own, so that equal prompts get different samples.
        let params = params_of_prompt(&params, form.as_ref(), (index * generated) as u64);
        let texts = judge.continue_tokens(tokens, &params, generated).await.map_err(api_error)?;
        begun.push(PromptTexts { echo: text, texts });
    }
    Ok(begun)
}
