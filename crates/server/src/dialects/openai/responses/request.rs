//! The body of a request to `/v1/responses`.

use judge::{CompletionParams, Message, Part, Prompt, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    super::metadata,
    tools::{ToolEcho, Tools},
};
use crate::{
    dialects::{
        content::{Content, bare_image, refuse_beside},
        generation::{
            call::Call,
            chat::{DEFAULT_MAX_TOKENS, MAX_TOP_LOGPROBS},
            image_params::ImageParams,
            messages::{arguments, role, role_of_result},
            sampling::{Sampling, TokenLimit},
            shape::{self, RequestedShape},
            tools::ForcedCall,
        },
        values::{in_range, lenient},
    },
    error::{ApiError, ErrorCode, quoted},
    images::ImageReader,
    json::{data_urls, object::only_from_objects},
};

/// The entry of `include` that requests log-probabilities.
const LOGPROBS: &str = "message.output_text.logprobs";

/// The roles of messages, for a message.
const ROLES: &str = "system, developer, user and assistant";

/// The maximum length of `user`, in bytes, which the response returns. OpenAI documents 512 characters.
const MAX_USER_BYTES: usize = 1024;

/// The input, and how it is answered.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponsesBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones. It is returned in the response;
    /// `system_fingerprint` names the checkpoint.
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// The user's text, or the messages so far.
    input: InputBody,
    /// A system message before them.
    #[serde(default)]
    instructions: Option<String>,
    /// Maximum number of tokens to write; a value above the remaining context means all of it.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 1, default = 1024)]
    max_output_tokens: Option<i64>,
    /// Temperature of sampling; 0 is greedy.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f64>,
    /// Draws only from the smallest set of tokens whose probabilities reach this sum.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f64>,
    /// Draws only from this many most probable tokens; 0 and -1 mean all. An extension.
    #[serde(default, deserialize_with = "lenient")]
    top_k: Option<i64>,
    /// Makes sampling repeatable. An extension.
    #[serde(default, deserialize_with = "lenient")]
    seed: Option<i64>,
    /// Divides positive logits of tokens that were written already, and multiplies negative ones. An extension; without
    /// it the checkpoint's own penalty applies.
    #[serde(default, deserialize_with = "lenient")]
    repetition_penalty: Option<f64>,
    /// Number of most probable tokens to return at each position; above 0, log-probabilities are returned without
    /// `include`.
    #[serde(default, deserialize_with = "lenient")]
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<i64>,
    /// `message.output_text.logprobs` requests the log-probability of each token, computed from the raw logits;
    /// other entries are ignored.
    include: Option<Vec<String>>,
    /// Options of the text.
    text: Option<TextOptions>,
    /// Functions that could be called.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Value>,
    /// With `none` or `auto` the critic answers in text. A named function is called; with `required`, the critic names
    /// one of them. `allowed_tools` narrows the functions to those that it names.
    #[serde(default)]
    tool_choice: Option<Value>,
    /// Whether the response is sent as server-sent events while it is written.
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    /// Restricts the sharing of cached prompts to requests of the same key with the same salt, of up to 256 bytes. An
    /// extension.
    #[serde(default, deserialize_with = "lenient")]
    cache_salt: Option<String>,
    /// Returned in the response, without effect: the critic's reasons are part of its text.
    #[schema(value_type = Option<Object>)]
    reasoning: Option<Map<String, Value>>,
    /// Returned in the response. Up to 16 entries of your own, with keys of up to 64 and values of up to 512
    /// characters.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Returned in the response. Up to 1024 bytes.
    user: Option<String>,
}

/// A text or messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum InputBody {
    /// The user's text.
    Text(String),
    /// The messages so far, oldest first.
    Items(Vec<InputItem>),
}

/// A message, a call of the assistant, or its result. Items with reasoning, as other servers return them, are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
struct InputItem {
    /// `message`, which is the default, `function_call`, `function_call_output` or `reasoning`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `system`, `developer`, `user` or `assistant`.
    role: Option<String>,
    /// Text, images and videos.
    content: Option<Content>,
    /// Arguments of a `function_call`, which are shown as the assistant's text.
    #[schema(value_type = Option<String>)]
    arguments: Option<Value>,
    /// Id of the call that a `function_call_output` answers. Required for these.
    #[schema(value_type = Option<String>)]
    call_id: Option<Value>,
    /// Text, images and videos of a `function_call_output`, which are shown as the user's.
    output: Option<Content>,
    /// Images beside the content, as other interfaces have them. They are refused.
    #[schema(ignore)]
    images: Option<Value>,
    #[schema(ignore)]
    image: Option<Value>,
}

/// Options of the text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
struct TextOptions {
    /// The format: an object of type `text`, which is the default, `json_object`, or `json_schema` with a `schema`.
    #[schema(value_type = Option<Object>)]
    format: Option<Value>,
}

only_from_objects!(InputItem, TextOptions);

/// A validated request.
pub(super) struct ResponseRequest {
    pub(super) prompt: Prompt,
    /// The paths of its images in the body.
    pub(super) images: ImageParams,
    pub(super) params: CompletionParams,
    /// The shape of the text, also of that of a call, if one was requested.
    pub(super) shape: Option<RequestedShape>,
    /// The function to call.
    pub(super) call: Option<Call>,
    /// The salt that restricts cache sharing.
    pub(super) cache_salt: Option<String>,
    /// The model's name in the request.
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) echo: ResponseEcho,
}

/// The values of a request that are returned in its response.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct ResponseEcho {
    /// The system message of the request.
    instructions: Option<String>,
    /// Maximum number of tokens in the request.
    max_output_tokens: Option<i64>,
    /// Temperature of sampling; 0 is greedy.
    temperature: f32,
    /// The top-p threshold of sampling.
    top_p: f32,
    /// Number of most probable tokens returned at each position.
    top_logprobs: usize,
    /// The value in the request, with null for `effort` and `summary` if absent.
    #[schema(value_type = Object)]
    reasoning: Map<String, Value>,
    /// The value in the request.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// The value in the request.
    user: Option<String>,
    /// The format of the text.
    #[schema(value_type = Object)]
    text: Value,
    #[serde(flatten)]
    tools: ToolEcho,
}

impl ResponsesBody {
    /// Refuses more than `max_messages` items, and texts to return that are too long.
    pub(super) fn check(&self, max_messages: usize) -> Result<(), ApiError> {
        if matches!(&self.input, InputBody::Items(items) if items.len() > max_messages) {
            let message =
                format!("input has more than {max_messages} elements, which is the limit (max_messages).");
            return Err(ApiError::invalid("input", message).with_code(ErrorCode::ArrayTooLong));
        }
        if self.user.as_ref().is_some_and(|user| user.len() > MAX_USER_BYTES) {
            let message = format!("user has at most {MAX_USER_BYTES} bytes.");
            return Err(ApiError::invalid("user", message).with_code(ErrorCode::StringTooLong));
        }
        let length = |value: &Value| match value {
            Value::String(text) => text.chars().count(),
            other => other.to_string().chars().count(),
        };
        metadata::check(self.metadata.iter().flatten().map(|(key, value)| (key, length(value))))
    }

    /// Validates the body and builds the prompt; `vocabulary` is the number of the critic's tokens.
    pub(super) fn into_request(
        self,
        vocabulary: usize,
        reader: &ImageReader<'_>,
    ) -> Result<ResponseRequest, ApiError> {
        let params = self.sampling().params(vocabulary)?;
        let top = in_range("top_logprobs", self.top_logprobs.unwrap_or(0), 0..=MAX_TOP_LOGPROBS)?;
        let includes = self.include.is_some_and(|members| members.iter().any(|member| member == LOGPROBS));
        let top_logprobs = (includes || top > 0).then_some(top);
        let params = CompletionParams { top_logprobs, ..params }.one_of(1);
        let format = self.text.and_then(|text| text.format).filter(|format| !format.is_null());
        let tools = Tools { tools: self.tools.as_ref(), tool_choice: self.tool_choice.as_ref() };
        // A call takes precedence: it leaves no text that could have a shape.
        let (call, shape) = match tools.functions().forced_call()? {
            Some(ForcedCall { call, shape }) => (Some(call), Some(shape)),
            None => {
                let format = format.as_ref().map(|format| shape::from_format(format, "text.format"));
                (None, format.transpose()?.flatten())
            }
        };
        let tools = tools.echo()?;
        let (prompt, images) = prompt(self.instructions.as_deref(), self.input, reader)?;
        let reasoning = [("effort".to_owned(), Value::Null), ("summary".to_owned(), Value::Null)];
        let echo = ResponseEcho {
            instructions: self.instructions,
            max_output_tokens: self.max_output_tokens,
            temperature: params.temperature,
            top_p: self.top_p.unwrap_or(1.0) as f32,
            top_logprobs: params.top_logprobs.unwrap_or(0),
            reasoning: reasoning.into_iter().chain(self.reasoning.unwrap_or_default()).collect(),
            metadata: self.metadata.unwrap_or_default(),
            user: self.user,
            text: json!({ "format": format.unwrap_or_else(|| json!({ "type": "text" })) }),
            tools,
        };
        let stream = self.stream.unwrap_or_default();
        let (model, cache_salt) = (self.model, self.cache_salt);
        Ok(ResponseRequest { prompt, images, params, shape, call, cache_salt, model, stream, echo })
    }

    /// How the text is sampled.
    fn sampling(&self) -> Sampling<'_> {
        let (param, value) = ("max_output_tokens", self.max_output_tokens);
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed: self.seed,
            repetition_penalty: self.repetition_penalty,
            ..Sampling::limited(TokenLimit { param, value, default: DEFAULT_MAX_TOKENS })
        }
    }
}

/// The prompt of an input, and the paths of its images in the body.
fn prompt(
    instructions: Option<&str>,
    input: InputBody,
    reader: &ImageReader<'_>,
) -> Result<(Prompt, ImageParams), ApiError> {
    let mut turns: Vec<(Message, String)> = Vec::new();
    match input {
        InputBody::Text(text) if data_urls::is_url(&text) => return Err(bare_image("input")),
        InputBody::Text(text) => turns.push((Message::text(Role::User, text), "input".to_owned())),
        InputBody::Items(items) => {
            for (index, item) in items.into_iter().enumerate() {
                match read(item, &format!("input[{index}]"), reader)? {
                    Turn::None => {}
                    Turn::Message(message, path) => turns.push((message, path)),
                    // Calls belong to the message before them, as in chat completions.
                    Turn::Call(text) => match turns.last_mut() {
                        Some((last, _)) if last.role == Role::Assistant => last.parts.push(Part::Text(text)),
                        Some(_) | None => turns.push((Message::text(Role::Assistant, text), String::new())),
                    },
                }
            }
        }
    }
    if turns.is_empty() {
        return Err(ApiError::invalid("input", "There is nothing to answer."));
    }
    let images = ImageParams::of(turns.iter().map(|(turn, path)| (turn, path.clone())));
    let system = instructions.map(|text| Message::text(Role::System, text));
    let messages = system.into_iter().chain(turns.into_iter().map(|(turn, _)| turn)).collect();
    Ok((Prompt { messages, ..Prompt::default() }, images))
}

/// What an item adds to the conversation.
enum Turn {
    /// Nothing.
    None,
    /// A message, with the path of its content in the request.
    Message(Message, String),
    /// The arguments of a call.
    Call(String),
}

/// What an item adds to the conversation; `param` is its path in the request.
fn read(item: InputItem, param: &str, reader: &ImageReader<'_>) -> Result<Turn, ApiError> {
    refuse_beside([("images", item.images.as_ref()), ("image", item.image.as_ref())], param)?;
    let (role, path, content) = match item.kind.as_deref() {
        None | Some("message") => {
            let role = role(item.role.as_deref().unwrap_or_default(), &format!("{param}.role"), ROLES)?;
            (role, format!("{param}.content"), item.content)
        }
        Some("function_call") => {
            let call = item.arguments.unwrap_or_default();
            return arguments(&call, param).map(Turn::Call);
        }
        Some("function_call_output") => {
            let role = role_of_result(item.call_id.as_ref(), &format!("{param}.call_id"))?;
            (role, format!("{param}.output"), item.output)
        }
        Some("reasoning") => return Ok(Turn::None),
        Some(kind) => {
            let kind = quoted(kind);
            let message =
                format!("Items of type {kind} are not offered; there are messages and calls of functions.");
            return Err(ApiError::invalid(format!("{param}.type"), message)
                .with_code(ErrorCode::UnsupportedParameter));
        }
    };
    let content = content.ok_or_else(|| ApiError::invalid(&path, "This item needs content."))?;
    // What the assistant wrote is its text, whatever it looks like.
    if role != Role::Assistant {
        content.refuse_bare_image(&path)?;
    }
    let parts = content.into_parts(&path, reader)?;
    Ok(Turn::Message(Message { role, parts }, path))
}
