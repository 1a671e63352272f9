//! The body of a request for a response, and what it asks for.

use judge::{CompletionParams, Message, Prompt, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::{
    image_params::ImageParams,
    request::ChatBody,
    shape::{self, Asked},
    turns::role,
    values::{in_range, lenient},
};
use crate::{dialects::content::Content, error::ApiError, images::ImageReader};

/// The member of `include` that asks for the probabilities of tokens.
const LOGPROBS: &str = "message.output_text.logprobs";

/// What is to be answered, and how.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponsesBody {
    /// Any name; it is echoed, and `system_fingerprint` tells the truth.
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// The user's words, or the turns so far.
    input: InputBody,
    /// What the system says before them.
    #[serde(default)]
    instructions: Option<String>,
    /// Tokens to write at most; more than there is room for means all the room.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 1024)]
    max_output_tokens: Option<i64>,
    /// 0, the default, is greedy.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f32>,
    /// Draw only from the smallest set of tokens whose probability reaches this.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f32>,
    /// How many most probable tokens are told beside each.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// `message.output_text.logprobs` asks for the probability of each token, under the raw logits; all else is ignored.
    include: Option<Vec<String>>,
    /// The form of the text.
    text: Option<TextOptions>,
    /// Whether the response comes as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    /// Only requests of the same key with the same salt share what is kept of their prompts. An extension.
    #[serde(default, deserialize_with = "lenient")]
    cache_salt: Option<String>,
    /// Told in the response. This critic's reasons are its text.
    #[schema(value_type = Option<Object>)]
    reasoning: Option<Map<String, Value>>,
    /// Told in the response.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Told in the response.
    user: Option<String>,
}

/// Words or turns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum InputBody {
    /// The user's words.
    Text(String),
    /// The turns so far, oldest first.
    Items(Vec<InputItem>),
}

/// A turn. Reasoning that another server wrote is left out.
#[derive(Debug, Deserialize, ToSchema)]
struct InputItem {
    /// `message`, which is the default, or `reasoning`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `system`, `developer`, `user` or `assistant`.
    role: Option<String>,
    /// What is said and shown.
    content: Option<Content>,
}

/// The form of the text.
#[derive(Debug, Deserialize, ToSchema)]
struct TextOptions {
    /// `{"type": "text"}`.
    #[schema(value_type = Option<Object>)]
    format: Option<Value>,
}

/// What a body asks for.
pub(super) struct ResponseRequest {
    pub(super) prompt: Prompt,
    /// Where its images stand in the body.
    pub(super) images: ImageParams,
    pub(super) params: CompletionParams,
    /// The shape of the text, where one is asked for.
    pub(super) shape: Option<Asked>,
    /// What divides its caller's caches.
    pub(super) cache_salt: Option<String>,
    /// The name that the client used for the model.
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) echo: ResponseEcho,
}

/// What a response tells of its request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseEcho {
    /// What the system said first.
    instructions: Option<String>,
    /// Tokens to write at most, as the request has it.
    max_output_tokens: Option<i64>,
    /// 0 is greedy.
    temperature: f32,
    /// The probability that the tokens reach of which one is drawn.
    top_p: f32,
    /// How many most probable tokens are told beside each.
    top_logprobs: usize,
    /// As the request has it.
    #[schema(value_type = Object)]
    reasoning: Map<String, Value>,
    /// As the request has it.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// As the request has it.
    user: Option<String>,
    /// The form of the text.
    #[schema(value_type = Object)]
    text: Value,
}

impl ResponsesBody {
    /// Checks the values and makes a prompt of the turns; the critic's tokens have the ids below `vocabulary`.
    pub(super) fn into_request(
        self,
        vocabulary: usize,
        reader: &ImageReader<'_>,
    ) -> Result<ResponseRequest, ApiError> {
        if let Some(bound) = self.max_output_tokens {
            in_range("max_output_tokens", bound, 1..=i64::MAX)?;
        }
        let told = self.include.is_some_and(|members| members.iter().any(|member| member == LOGPROBS));
        let logprobs = told || self.top_logprobs.is_some_and(|top| top > 0);
        let format = self.text.and_then(|text| text.format).filter(|format| !format.is_null());
        let shape =
            format.as_ref().map(|format| shape::of_format(format, "text.format")).transpose()?.flatten();
        let chat = ChatBody {
            temperature: self.temperature,
            top_p: self.top_p,
            max_completion_tokens: self.max_output_tokens,
            logprobs: Some(logprobs),
            top_logprobs: self.top_logprobs,
            ..ChatBody::default()
        };
        let params = chat.params(vocabulary)?;
        let (prompt, images) = prompt(self.instructions.as_deref(), self.input, reader)?;
        let reasoning = [("effort".to_owned(), Value::Null), ("summary".to_owned(), Value::Null)];
        let echo = ResponseEcho {
            instructions: self.instructions,
            max_output_tokens: self.max_output_tokens,
            temperature: params.temperature,
            top_p: self.top_p.unwrap_or(1.0),
            top_logprobs: params.top_logprobs.unwrap_or(0),
            reasoning: reasoning.into_iter().chain(self.reasoning.unwrap_or_default()).collect(),
            metadata: self.metadata.unwrap_or_default(),
            user: self.user,
            text: json!({ "format": format.unwrap_or_else(|| json!({ "type": "text" })) }),
        };
        let stream = self.stream.unwrap_or_default();
        let (model, cache_salt) = (self.model, self.cache_salt);
        Ok(ResponseRequest { prompt, images, params, shape, cache_salt, model, stream, echo })
    }
}

fn prompt(
    instructions: Option<&str>,
    input: InputBody,
    reader: &ImageReader<'_>,
) -> Result<(Prompt, ImageParams), ApiError> {
    let mut turns: Vec<(Message, String)> = Vec::new();
    match input {
        InputBody::Text(text) => turns.push((Message::text(Role::User, text), "input".to_owned())),
        InputBody::Items(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let place = format!("input[{index}]");
                let turn = turn(item, &place, reader)?;
                turns.extend(turn.map(|turn| (turn, format!("{place}.content"))));
            }
        }
    }
    if turns.is_empty() {
        return Err(ApiError::invalid("input", "There is nothing to answer."));
    }
    let images = ImageParams::of(turns.iter().map(|(turn, place)| (turn, place.clone())));
    let said = instructions.map(|text| Message::text(Role::System, text));
    let messages = said.into_iter().chain(turns.into_iter().map(|(turn, _)| turn)).collect();
    Ok((Prompt { messages, ..Prompt::default() }, images))
}

fn turn(item: InputItem, param: &str, reader: &ImageReader<'_>) -> Result<Option<Message>, ApiError> {
    match item.kind.as_deref() {
        None | Some("message") => {}
        Some("reasoning") => return Ok(None),
        Some(kind) => {
            let message = format!("Items of type {kind:?} are not offered; there are messages.");
            return Err(
                ApiError::invalid(format!("{param}.type"), message).with_code("unsupported_parameter")
            );
        }
    }
    let role = role(item.role.as_deref().unwrap_or_default(), &format!("{param}.role"))?;
    let param = format!("{param}.content");
    let content = item.content.ok_or_else(|| ApiError::invalid(&param, "A message needs content."))?;
    Ok(Some(Message { role, parts: content.into_parts(&param, reader)? }))
}
