//! Prompts that are continued without a conversation around them, whatever interface asks for it.

use futures::future::try_join_all;
use judge::{Caller, Completion, CompletionParams, CompletionStream, Form, JudgeError, RawPrompt, TokenId};

use super::{
    forms::{self, WantedForm},
    image_params::ImageParams,
    shape::RequestedShape,
    text_counts::{MAX_TEXTS, TextCounts},
};
use crate::{
    error::{ApiError, Dialect},
    service::state::AppState,
};

/// The prompts of a request.
pub(crate) struct Prompts {
    pub(crate) all: Vec<RawPrompt>,
    /// The parameter that has them.
    pub(crate) param: &'static str,
}

/// Prompts, and how each is continued.
pub(crate) struct Continuation {
    prompts: Prompts,
    /// Has `top_logprobs` also when the best texts are selected.
    params: CompletionParams,
    /// The number of texts for each prompt.
    texts: TextCounts,
    /// The shape of the texts.
    shape: Option<RequestedShape>,
}

impl Continuation {
    /// Prompts and the parameters of each of their texts.
    ///
    /// # Errors
    /// When there is no prompt, or too many texts are asked for; the error names the parameter with the prompts.
    pub(crate) fn new(
        prompts: Prompts,
        params: CompletionParams,
        texts: TextCounts,
        shape: Option<RequestedShape>,
    ) -> Result<Self, ApiError> {
        if prompts.all.is_empty() {
            return Err(ApiError::invalid(prompts.param, "There is nothing to continue."));
        }
        let count = prompts.all.len().saturating_mul(texts.generated);
        if count > MAX_TEXTS as usize {
            let message = format!("One request can ask for at most {MAX_TEXTS} texts.");
            return Err(ApiError::invalid(prompts.param, message));
        }
        Ok(Self { prompts, params: params.one_of(count), texts, shape })
    }
}

/// Prompts whose texts have a form or a shape, as far as they ask for one.
pub(crate) struct CompletionPlan {
    prompts: Prompts,
    params: CompletionParams,
    /// The form of each prompt's texts.
    pub(crate) forms: Vec<Option<Form>>,
    pub(crate) texts: TextCounts,
}

impl CompletionPlan {
    /// The continuation for its caller, with the rules of the shape that it asks for or the forms of its prompts.
    ///
    /// # Errors
    /// When the shape cannot be enforced, or there is no wanted form for a prompt.
    pub(crate) async fn new(
        state: &AppState,
        caller: Caller,
        wanted: &WantedForm,
        continuation: Continuation,
    ) -> Result<Self, ApiError> {
        let Continuation { prompts, params, texts, shape } = continuation;
        let mut params = CompletionParams { caller, ..params };
        let forms = if let Some(shape) = shape {
            let form = wanted.without_form(shape.param)?;
            params = shape.constrain(&state.judge, params).await?;
            vec![form; prompts.all.len()]
        } else {
            let rules = state.judge.rules();
            let forms = prompts.all.iter().map(|prompt| wanted.find_raw(&rules, prompt));
            forms.collect::<Result<_, ApiError>>()?
        };
        Ok(Self { prompts, params, forms, texts })
    }

    /// Who asks for the texts.
    pub(crate) fn caller(&self) -> &Caller {
        &self.params.caller
    }

    /// The parameters for the texts of prompt `index`, which have seeds of their own, so that equal prompts get
    /// different samples.
    pub(crate) fn params_of(&self, index: usize) -> CompletionParams {
        let form = self.forms.get(index).and_then(Option::as_ref);
        let first = (index * self.texts.generated) as u64;
        let seed = self.params.seed.map(|seed| seed.wrapping_add(first));
        forms::apply(form, CompletionParams { seed, ..self.params.clone() })
    }

    /// Starts all texts of all prompts; with `echo` these are returned as text.
    ///
    /// # Errors
    /// When a prompt cannot be continued; the error names it.
    pub(crate) async fn begin(
        mut self,
        state: &AppState,
        echo: bool,
    ) -> Result<Vec<PromptTexts<CompletionStream>>, ApiError> {
        let judge = &state.judge;
        let api_error = |error| ApiError::from_judge(error, Dialect::OpenAi);
        let _preparing = judge.prepare_for(self.caller()).await.map_err(api_error)?;
        let prompts = std::mem::take(&mut self.prompts.all);
        let has_several = prompts.len() > 1;
        let mut begun = Vec::with_capacity(prompts.len());
        for (index, prompt) in prompts.into_iter().enumerate() {
            let text = match &prompt {
                RawPrompt::Text(text) if echo => Some(text.clone()),
                RawPrompt::Text(_) | RawPrompt::Tokens(_) => None,
            };
            let param = self.prompts.param;
            let path = if has_several { format!("{param}[{index}]") } else { param.to_owned() };
            let tokens = judge.tokens(prompt, judge.context_length(), self.caller()).await;
            let tokens: Vec<TokenId> = tokens.map_err(|error| api_error(error).with_param(path.as_str()))?;
            let text = if echo { text.unwrap_or_else(|| judge.text(&tokens)) } else { String::new() };
            let params = self.params_of(index);
            let texts = judge.continue_tokens(tokens, &params, self.texts.generated).await;
            // A prompt without a conversation has no images.
            let texts = texts.map_err(|error| ImageParams::default().api_error(error, &path))?;
            begun.push(PromptTexts { echo: text, texts });
        }
        Ok(begun)
    }
}

/// The texts that continue one prompt.
pub(crate) struct PromptTexts<T> {
    /// The prompt as text, if it is to be returned before each text; else empty.
    pub(crate) echo: String,
    pub(crate) texts: Vec<T>,
}

/// All texts, when they are complete.
///
/// # Errors
/// The first error of a text.
pub(crate) async fn collect_all(
    prompts: Vec<PromptTexts<CompletionStream>>,
) -> Result<Vec<PromptTexts<Completion>>, ApiError> {
    let prompts = prompts.into_iter().map(|PromptTexts { echo, texts }| async move {
        let texts = try_join_all(texts.into_iter().map(CompletionStream::collect)).await?;
        Ok::<_, JudgeError>(PromptTexts { echo, texts })
    });
    try_join_all(prompts).await.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))
}

/// The texts of each prompt, and their forms.
pub(crate) struct ContinuedPrompts {
    /// The texts of each prompt.
    pub(crate) texts: Vec<Vec<Completion>>,
    /// The form of each prompt's texts.
    pub(crate) forms: Vec<Option<Form>>,
}

/// Continues the prompts of a plan that a route of another interface has made.
///
/// # Errors
/// When a prompt cannot be continued.
pub(crate) async fn complete_all(
    state: &AppState,
    plan: CompletionPlan,
) -> Result<ContinuedPrompts, ApiError> {
    let forms = plan.forms.clone();
    let prompts = collect_all(plan.begin(state, false).await?).await?;
    let texts = prompts.into_iter().map(|PromptTexts { texts, .. }| texts).collect();
    Ok(ContinuedPrompts { texts, forms })
}
