//! `POST /generate`: SGLang's own interface, which continues text without a conversation.

use axum::{Json, extract::State, response::Response};
use futures::future::try_join_all;
use judge::{
    Caller, Completion, CompletionStream, EncodedImage, EngineError, FinishReason, JudgeError, Message,
    Piece, Prompt, RawPrompt, Role, TokenId, Usage,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    examples,
    sampling::{self, SamplingBody},
};
use crate::{
    dialects::{
        content::ImageUrl,
        generation::{
            continuation::{CompletionPlan, ContinuedPrompts, complete_all},
            detached_images,
            forms::{WantedForm, with_form_header},
            text_event::finish_reason_name,
        },
        null_as_default,
        one_or_many::OneOrMany,
        parameters::{self, Members},
    },
    error::{ApiError, Dialect, ErrorCode, GenerationErrors, image_of, is_about_length, quoted},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    images::{ImageReader, with_images},
    metrics::RequestKind,
    request::id,
    service::state::AppState,
};

/// The members that are read of a body. The last three only have a meaning with `return_logprob`, which is refused.
const KNOWN_MEMBERS: [&str; 7] = [
    "text",
    "sampling_params",
    "image_data",
    "modalities",
    "logprob_start_len",
    "return_text_in_logprobs",
    "top_logprobs_num",
];

/// Text to continue. Members that are not read are refused by name, unless they change nothing; so is `stream`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GenerateBody {
    /// A text, or a list of texts, which is answered by a list. Nothing in it is parsed as a control token.
    text: OneOrMany<String>,
    /// How the text is continued.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    sampling_params: SamplingBody,
    /// Images of the text. Each text is then a message of the user, put into the chat format: its images replace
    /// `<image>` in it, in order, and those that are left over are put before it.
    image_data: Option<ImageData>,
    /// What the images of a text, or of each text, are: `image` or `multi-images`, which are read alike. Others, such
    /// as `video`, are refused.
    modalities: Option<OneOrMany<Option<String>>>,
}

/// The modalities of images.
const IMAGE_MODALITIES: [&str; 2] = ["image", "multi-images"];

/// Images of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ImageData {
    /// The image of a single text.
    One(ImageUrl),
    /// The images of a single text; for a list of texts, the image or images of each text, or null.
    Many(Vec<Option<OneOrMany<ImageUrl>>>),
}

/// The continuations, in a list if the request has a list of texts or asks for several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum GeneratedBody {
    /// The only one.
    One(Generated),
    /// Several, those of the first text first.
    Many(Vec<Generated>),
}

/// The continuation of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Generated {
    /// The text that was written.
    text: String,
    /// Figures of the text.
    meta_info: GenerationInfo,
}

/// Figures of a continuation.
#[derive(Debug, Serialize, ToSchema)]
struct GenerationInfo {
    /// A unique id of the continuation.
    id: String,
    /// Why the text ended.
    finish_reason: FinishBody,
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Tokens that were written.
    completion_tokens: usize,
    /// Tokens of the prompt that were taken from the cache.
    cached_tokens: usize,
}

/// Why a text ended.
#[derive(Debug, Serialize, ToSchema)]
struct FinishBody {
    /// `stop`, or `length` at the maximum number of tokens.
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A request with its images.
struct GenerationRequest {
    texts: Vec<String>,
    /// The images of each text; empty if the request has none at all.
    images: Vec<Vec<EncodedImage>>,
    sampling: SamplingBody,
    /// Whether the answer is a list even if there is a single continuation.
    is_list: bool,
}

/// A text as the critic reads it.
enum Input {
    /// Text alone, without the chat format.
    Text(String),
    /// A message of the user, with images.
    Message(Prompt),
}

impl GenerateBody {
    /// Reads the images of the body.
    fn into_request(self, reader: &ImageReader<'_>) -> Result<GenerationRequest, ApiError> {
        let Self { text, sampling_params: sampling, image_data, modalities } = self;
        check_modalities(modalities)?;
        let images = image_data.map(|images| images.read(&text, reader)).transpose()?.unwrap_or_default();
        let is_list = matches!(text, OneOrMany::Many(_)) || sampling.n.is_some_and(|count| count > 1);
        Ok(GenerationRequest { texts: text.into_vec(), images, sampling, is_list })
    }
}

impl ImageData {
    /// The images of each text.
    ///
    /// # Errors
    /// When an image cannot be read, a text has too many, or not every text of a list has an element.
    fn read(
        self,
        text: &OneOrMany<String>,
        reader: &ImageReader<'_>,
    ) -> Result<Vec<Vec<EncodedImage>>, ApiError> {
        let (is_list, mut of_text) = (matches!(text, OneOrMany::Many(_)), 0);
        let images = match self {
            Self::One(image) => vec![Some(OneOrMany::One(image))],
            Self::Many(images) => images,
        };
        let read = |(index, images): (usize, Option<OneOrMany<ImageUrl>>)| {
            let images = images.map_or_else(Vec::new, OneOrMany::into_vec).into_iter();
            let path = format!("image_data[{index}]");
            let images = images.map(|image| image.read(&path, reader));
            let images = images.collect::<Result<Vec<EncodedImage>, ApiError>>()?;
            // Of a single text, so far; of a list, this one alone.
            of_text = if is_list { images.len() } else { of_text + images.len() };
            reader.count(images.len(), of_text, &path)?;
            Ok(images)
        };
        let images: Vec<Vec<EncodedImage>> =
            images.into_iter().enumerate().map(read).collect::<Result<_, ApiError>>()?;
        match text {
            OneOrMany::One(_) => Ok(vec![images.concat()]),
            OneOrMany::Many(texts) if texts.len() == images.len() => Ok(images),
            OneOrMany::Many(texts) => {
                let message = format!(
                    "image_data must have an element for each text: {} in all, not {}.",
                    texts.len(),
                    images.len()
                );
                Err(ApiError::invalid("image_data", message))
            }
        }
    }
}

impl From<Completion> for Generated {
    fn from(completion: Completion) -> Self {
        let Completion { piece, reason, usage } = completion;
        let meta_info = GenerationInfo {
            id: id::fresh_id(),
            finish_reason: FinishBody { kind: finish_reason_name(reason) },
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
        };
        Self { text: piece.text, meta_info }
    }
}

/// Continue text without a conversation around it, as SGLang does. The answer is not streamed. Without `regex` or
/// `json_schema`, a text that is recognised as the prompt of a known program gets its form, as in chat.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "engines",
    params(("x-gavel-form" = Option<String>, Header, description = "The form of the answer: `off`, `auto` or the name of a form.")),
    request_body(content = GenerateBody, example = json!(examples::generate())),
    responses(
        (status = 200, description = "The continuations.", body = GeneratedBody, example = json!(examples::generated())),
        GenerationErrors
    )
)]
pub(super) async fn generate_text(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    wanted: WantedForm,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    check(&body)?;
    let request = with_images(&state, &caller, |reader| body.parse::<GenerateBody>()?.into_request(reader));
    let request = request.await?;
    let _memory = body.into_memory();
    RequestKind::Completion.note();
    let is_list = request.is_list;
    let ContinuedPrompts { texts, forms } = request.complete(&state, caller, &wanted).await?;
    let generated: Vec<Generated> = texts.into_iter().flatten().map(Generated::from).collect();
    let generated = match <[Generated; 1]>::try_from(generated) {
        Ok([only]) if !is_list => GeneratedBody::One(only),
        Ok(only) => GeneratedBody::Many(only.into()),
        Err(several) => GeneratedBody::Many(several),
    };
    Ok(with_form_header(forms.iter().map(Option::as_ref), &state, Json(generated)))
}

/// Refuses members that are not read, also of `sampling_params`.
fn check(body: &JsonBytes) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Sampling {
        #[serde(default, deserialize_with = "null_as_default")]
        sampling_params: Members,
    }
    parameters::check(body, &KNOWN_MEMBERS)?;
    let Sampling { sampling_params } = body.parse()?;
    parameters::check_members(&sampling_params, &sampling::KNOWN_MEMBERS, sampling::PATH)
}

/// Refuses modalities that are not those of images.
fn check_modalities(modalities: Option<OneOrMany<Option<String>>>) -> Result<(), ApiError> {
    let modalities = modalities.map_or_else(Vec::new, OneOrMany::into_vec);
    let other = modalities.into_iter().flatten().find(|name| !IMAGE_MODALITIES.contains(&name.as_str()));
    let Some(other) = other else { return Ok(()) };
    let message = format!(
        "The modality {} cannot be shown to this critic. Modalities that can be shown are {}.",
        quoted(&other),
        IMAGE_MODALITIES.join(", ")
    );
    Err(ApiError::invalid("modalities", message).with_code(ErrorCode::UnsupportedContent))
}

impl GenerationRequest {
    /// The continuations of each text.
    async fn complete(
        self,
        state: &AppState,
        caller: Caller,
        wanted: &WantedForm,
    ) -> Result<ContinuedPrompts, ApiError> {
        let Self { texts, images, sampling, .. } = self;
        let has_images = images.iter().any(|images| !images.is_empty());
        let is_prefill_only = sampling.is_prefill_only();
        let continuation = sampling.continuation(&texts, state.judge.vocabulary())?;
        let plan = CompletionPlan::new(state, caller, wanted, continuation).await?;
        if !has_images && !is_prefill_only {
            return complete_all(state, plan).await;
        }
        if !has_images {
            return read_only(state, &plan, texts.into_iter().map(Input::Text).collect()).await;
        }
        let messages = texts.into_iter().zip(images).map(|(text, images)| user_message(text, images));
        let messages = messages.collect::<Result<Vec<_>, ApiError>>()?;
        if is_prefill_only {
            return read_only(state, &plan, messages.into_iter().map(Input::Message).collect()).await;
        }
        answer_messages(state, plan, messages).await
    }
}

/// A text and its images as a message of the user.
fn user_message(text: String, images: Vec<EncodedImage>) -> Result<Prompt, ApiError> {
    let mut messages = vec![Message::text(Role::User, text)];
    detached_images::insert(&mut messages, images)?;
    Ok(Prompt { messages, ..Prompt::default() })
}

/// The path of element `index` of `count` in the member `name`; a single element is the member itself.
fn member_path(name: &str, index: usize, count: usize) -> String {
    if count > 1 { format!("{name}[{index}]") } else { name.to_owned() }
}

/// The error of message `index` of `count`, with the member that it is about: its image or its text.
fn message_error(error: JudgeError, index: usize, count: usize) -> ApiError {
    let is_image = image_of(&error).is_some();
    let name = if is_image { Some("image_data") } else { is_about_length(&error).then_some("text") };
    let error = ApiError::from_judge(error, Dialect::OpenAi);
    match name {
        Some(name) => error.with_param(member_path(name, index, count)),
        None => error,
    }
}

/// Counts the tokens of texts for which nothing is written: each gets empty continuations, which have no form. A text
/// that could not be continued is refused.
async fn read_only(
    state: &AppState,
    plan: &CompletionPlan,
    inputs: Vec<Input>,
) -> Result<ContinuedPrompts, ApiError> {
    let (judge, caller, count) = (&state.judge, plan.caller(), inputs.len());
    let preparing = judge.prepare_for(caller).await;
    let _preparing = preparing.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))?;
    let limit = judge.context_length();
    let mut completions = Vec::with_capacity(count);
    for (index, input) in inputs.into_iter().enumerate() {
        let tokens = match input {
            Input::Text(text) => judge.tokens(RawPrompt::Text(text), limit, caller).await,
            Input::Message(prompt) => judge.conversation_tokens(prompt, caller).await,
        };
        let prompt_tokens = tokens.and_then(|tokens| continuable(&tokens, limit)).map_err(|error| {
            let is_image = image_of(&error).is_some();
            let name = if is_image { "image_data" } else { "text" };
            ApiError::from_judge(error, Dialect::OpenAi).with_param(member_path(name, index, count))
        })?;
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let empty = Completion { piece: Piece::default(), reason: FinishReason::Length, usage };
        completions.push(vec![empty; plan.texts.generated]);
    }
    Ok(ContinuedPrompts { texts: completions, forms: Vec::new() })
}

/// The number of tokens of a prompt after which at least one could be written.
fn continuable(tokens: &[TokenId], limit: usize) -> Result<usize, JudgeError> {
    match tokens.len() {
        0 => Err(EngineError::Empty.into()),
        tokens if tokens >= limit => Err(EngineError::too_long(tokens, limit).into()),
        tokens => Ok(tokens),
    }
}

/// Answers messages, each as often as the plan says.
async fn answer_messages(
    state: &AppState,
    plan: CompletionPlan,
    prompts: Vec<Prompt>,
) -> Result<ContinuedPrompts, ApiError> {
    let count = prompts.len();
    let mut begun = Vec::with_capacity(count);
    for (index, prompt) in prompts.into_iter().enumerate() {
        let texts = state.judge.complete(prompt, &plan.params_of(index), plan.texts.generated).await;
        begun.push(texts.map_err(|error| message_error(error, index, count))?);
    }
    let texts = begun.into_iter().map(|texts| try_join_all(texts.into_iter().map(CompletionStream::collect)));
    let texts = try_join_all(texts).await;
    let texts = texts.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))?;
    Ok(ContinuedPrompts { texts, forms: plan.forms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_schema() {
        let without_effect = ["logprob_start_len", "return_text_in_logprobs", "top_logprobs_num"];
        parameters::assert_covers::<GenerateBody>(&KNOWN_MEMBERS, &without_effect);
    }
}
