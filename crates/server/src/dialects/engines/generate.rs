//! `POST /generate`: SGLang's own interface, which continues text without a conversation.

use std::collections::HashMap;

use axum::{Json, extract::State};
use futures::future::try_join_all;
use judge::{
    Completion, CompletionParams, CompletionStream, EncodedImage, FinishReason, JudgeError, Message, Prompt,
    Role,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::examples;
use crate::{
    caller::RequestCaller,
    dialects::{
        content::ImageUrl,
        null_as_default,
        openai::{
            completions::{self, CompletionBody},
            detached_images,
        },
        scoring::{
            bodies::OneOrMany,
            parameters::{self, Members},
        },
    },
    error::{ApiError, Dialect, ErrorBody, image_of},
    images::{ImageReader, with_images},
    json_body::JsonBytes,
    json_errors,
    metrics::RequestKind,
    request_id,
    state::AppState,
};

/// The default of `max_new_tokens`, as SGLang's clients expect.
const DEFAULT_MAX_NEW_TOKENS: i64 = 128;

/// The members that are read of a body. The last three only have a meaning with `return_logprob`, which is refused.
const READ: [&str; 6] = [
    "text",
    "sampling_params",
    "image_data",
    "logprob_start_len",
    "return_text_in_logprobs",
    "top_logprobs_num",
];

/// The members that are read of `sampling_params`. The last one, which SGLang's clients always send, has no effect.
const READ_OF_SAMPLING: [&str; 18] = [
    "max_new_tokens",
    "min_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "stop",
    "n",
    "sampling_seed",
    "ignore_eos",
    "skip_special_tokens",
    "regex",
    "json_schema",
    "spaces_between_special_tokens",
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
}

/// How a text is continued. Decoding is greedy unless `temperature` is above 0.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct SamplingBody {
    /// Maximum number of tokens to write; a value above the remaining context means all of it.
    #[schema(minimum = 1, default = 128)]
    max_new_tokens: Option<i64>,
    /// Minimum number of tokens before the text may end.
    #[schema(minimum = 0, default = 0)]
    min_new_tokens: Option<i64>,
    /// Temperature of sampling; 0 is greedy.
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f64>,
    /// Draws only from the smallest set of tokens whose probabilities reach this sum.
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f64>,
    /// Draws only from this many most probable tokens; 0 and -1 mean all.
    top_k: Option<i64>,
    /// Draws only from tokens with at least this fraction of the most probable token's probability.
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.0)]
    min_p: Option<f64>,
    /// Penalty on tokens already written, above 0; 1 means none. By default that of the checkpoint.
    repetition_penalty: Option<f64>,
    /// Subtracted from the logit of each token that was already written.
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    presence_penalty: Option<f64>,
    /// Subtracted from a token's logit once for each time that it was written.
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by token id; at most 300, each from -100 to 100.
    logit_bias: Option<HashMap<String, f64>>,
    /// Up to four strings, of at most 64 bytes each, that end the text and are not part of it.
    stop: Option<OneOrMany<String>>,
    /// Number of texts to return for each text. With more than one the answer is a list.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<i64>,
    /// Seed of the random numbers; if absent, a random one.
    sampling_seed: Option<i64>,
    /// Whether to write until the maximum number of tokens, ignoring end tokens.
    ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text; by default `true`.
    skip_special_tokens: Option<bool>,
    /// A regular expression that the whole text matches.
    regex: Option<String>,
    /// A JSON schema for the text, as an object or as JSON in a string.
    json_schema: Option<Value>,
}

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

impl SamplingBody {
    /// The body of a completion of `texts` with these parameters.
    fn into_completion(self, texts: &[String]) -> Result<CompletionBody, ApiError> {
        let most = self.max_new_tokens.unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        let least = self.min_new_tokens.unwrap_or(0);
        let refused = |name: &str, words: String| {
            Err(ApiError::invalid(format!("sampling_params.{name}"), format!("{name} {words}.")))
        };
        if most < 1 {
            return refused("max_new_tokens", format!("must be at least 1, not {most}"));
        }
        if !(0..=most).contains(&least) {
            return refused("min_new_tokens", format!("must be from 0 to {most}, not {least}"));
        }
        let schema = match self.json_schema {
            Some(Value::String(text)) => match serde_json::from_str::<Value>(&text) {
                Ok(schema) => Some(schema),
                Err(_) => return refused("json_schema", "is not JSON".to_owned()),
            },
            schema => schema,
        };
        let body = json!({
            "prompt": texts,
            "max_tokens": most,
            "min_tokens": least,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.logit_bias,
            "stop": self.stop.map(OneOrMany::into_vec),
            "n": self.n,
            "seed": self.sampling_seed,
            "ignore_eos": self.ignore_eos,
            "skip_special_tokens": self.skip_special_tokens,
            "regex": self.regex,
            "guided_json": schema,
        });
        serde_json::from_value(body).map_err(|_| json_errors::no_form("sampling_params"))
    }
}

impl ImageData {
    /// The images of each text.
    ///
    /// # Errors
    /// When an image cannot be read, or not every text of a list has an element.
    fn read(
        self,
        text: &OneOrMany<String>,
        reader: &ImageReader<'_>,
    ) -> Result<Vec<Vec<EncodedImage>>, ApiError> {
        let images = match self {
            Self::One(image) => vec![Some(OneOrMany::One(image))],
            Self::Many(images) => images,
        };
        let read = |(index, images): (usize, Option<OneOrMany<ImageUrl>>)| {
            let images = images.map_or_else(Vec::new, OneOrMany::into_vec).into_iter();
            let read = images.map(|image| image.read(&format!("image_data[{index}]"), reader));
            read.collect::<Result<Vec<EncodedImage>, ApiError>>()
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
        let kind = match reason {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        };
        let meta_info = GenerationInfo {
            id: request_id::fresh_id(),
            finish_reason: FinishBody { kind },
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
        };
        Self { text: piece.text, meta_info }
    }
}

/// Continue text without a conversation around it, as SGLang does. The answer is not streamed.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "engines",
    request_body(content = GenerateBody, example = json!(examples::generate())),
    responses(
        (status = 200, description = "The continuations.", body = GeneratedBody, example = json!(examples::generated())),
        (status = 400, description = "The request is invalid or uses an unsupported parameter.", body = ErrorBody),
        (status = 413, description = "The request body is too large.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many requests are waiting; retry after the time in `Retry-After`.", body = ErrorBody),
        (status = 500, description = "The critic failed, or the text ended before its first word (`empty_completion`).", body = ErrorBody),
        (status = 503, description = "The engine has stopped.", body = ErrorBody),
        (status = 504, description = "The request exceeded its time limit.", body = ErrorBody)
    )
)]
pub(super) async fn generate_text(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    body: JsonBytes,
) -> Result<Json<GeneratedBody>, ApiError> {
    check(&body)?;
    let read = with_images(&state, &caller.tenant, |reader| {
        let GenerateBody { text, sampling_params, image_data } = body.parse()?;
        let images = image_data.map(|images| images.read(&text, reader)).transpose()?;
        Ok((text, sampling_params, images.unwrap_or_default()))
    });
    let (text, sampling, images) = read.await?;
    let _memory = body.into_memory();
    RequestKind::Completion.note();
    let is_list = matches!(text, OneOrMany::Many(_)) || sampling.n.is_some_and(|count| count > 1);
    let texts = text.into_vec();
    let completion = sampling.into_completion(&texts)?;
    let written = if images.iter().all(Vec::is_empty) {
        completions::continued(&state, caller, completion).await.map_err(renamed)?
    } else {
        let params = completions::params(&state, caller, completion).await.map_err(renamed)?;
        shown(&state, params, texts.into_iter().zip(images).collect()).await?
    };
    let generated: Vec<Generated> = written.into_iter().flatten().map(Generated::from).collect();
    Ok(Json(match <[Generated; 1]>::try_from(generated) {
        Ok([only]) if !is_list => GeneratedBody::One(only),
        Ok(only) => GeneratedBody::Many(only.into()),
        Err(several) => GeneratedBody::Many(several),
    }))
}

/// Refuses members that are not read, also of `sampling_params`.
fn check(body: &JsonBytes) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Sampling {
        #[serde(default, deserialize_with = "null_as_default")]
        sampling_params: Members,
    }
    parameters::check(body, &READ)?;
    let Sampling { sampling_params } = body.parse()?;
    parameters::check_members(&sampling_params, &READ_OF_SAMPLING, "sampling_params.")
}

/// The error of a completion, with the parameter of this interface.
fn renamed(error: ApiError) -> ApiError {
    let Some(param) = error.param() else { return error };
    let path = match (param, param.strip_prefix("prompt")) {
        (_, Some(place)) => format!("text{place}"),
        ("guided_json", None) => "sampling_params.json_schema".to_owned(),
        (name, None) => format!("sampling_params.{name}"),
    };
    error.with_param(path)
}

/// Answers texts that have images, each as a message of the user, `count` times.
async fn shown(
    state: &AppState,
    (params, count): (CompletionParams, usize),
    texts: Vec<(String, Vec<EncodedImage>)>,
) -> Result<Vec<Vec<Completion>>, ApiError> {
    let several = texts.len() > 1;
    let mut begun = Vec::with_capacity(texts.len());
    for (index, (text, images)) in texts.into_iter().enumerate() {
        let failed = |error: JudgeError| {
            let is_image = image_of(&error).is_some();
            let told = ApiError::from_judge(error, Dialect::OpenAi);
            match (is_image, several) {
                (false, _) => told,
                (true, false) => told.with_param("image_data"),
                (true, true) => told.with_param(format!("image_data[{index}]")),
            }
        };
        let mut messages = vec![Message::text(Role::User, text)];
        detached_images::place(&mut messages, images)?;
        // Each text has seeds of its own, so that equal texts get different samples.
        let first = (index * count) as u64;
        let params =
            CompletionParams { seed: params.seed.map(|seed| seed.wrapping_add(first)), ..params.clone() };
        let prompt = Prompt { messages, ..Prompt::default() };
        begun.push(state.judge.complete(prompt, &params, count).await.map_err(failed)?);
    }
    let texts = begun.into_iter().map(|texts| try_join_all(texts.into_iter().map(CompletionStream::collect)));
    try_join_all(texts).await.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_parameter_of_this_interface() {
        for (param, renamed_to) in [
            ("prompt", "text"),
            ("prompt[3]", "text[3]"),
            ("guided_json", "sampling_params.json_schema"),
            ("top_p", "sampling_params.top_p"),
        ] {
            assert_eq!(renamed(ApiError::invalid(param, "No.")).param(), Some(renamed_to));
        }
        assert_eq!(renamed(ApiError::invalid("n", "No.").without_param()).param(), None);
    }

    #[test]
    fn the_bounds_of_tokens_are_named_as_in_the_request() {
        let texts = ["a".to_owned()];
        let refused = |sampling: SamplingBody| sampling.into_completion(&texts).unwrap_err();
        let none = refused(SamplingBody { max_new_tokens: Some(0), ..SamplingBody::default() });
        assert_eq!(none.param(), Some("sampling_params.max_new_tokens"));
        let few =
            SamplingBody { max_new_tokens: Some(3), min_new_tokens: Some(4), ..SamplingBody::default() };
        assert_eq!(refused(few).message(), "min_new_tokens must be from 0 to 3, not 4.");
        assert!(SamplingBody::default().into_completion(&texts).is_ok());
    }
}
