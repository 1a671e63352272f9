//! The turns of a conversation, as a critic is shown them.

use judge::{EncodedImage, Message, Part, Prompt, Role};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::apart;
use crate::{dialects::content::Content, error::ApiError, images::ImageReader};

/// A turn.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant`, or `tool` and its older form `function`, whose words are shown as the
    /// user's.
    role: String,
    /// Which call a `tool` answers.
    #[schema(value_type = Option<String>)]
    tool_call_id: Option<Value>,
    /// Which function a `function` is the result of. Of others it says nothing.
    #[schema(value_type = Option<String>)]
    name: Option<Value>,
    /// What is said and shown.
    content: Option<Content>,
    /// Calls that the assistant made; their arguments are shown as its words.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Value>,
    /// The older form of `tool_calls`.
    #[schema(value_type = Option<Object>)]
    function_call: Option<Value>,
}

/// The turns as the critic reads them.
pub(super) fn turns(messages: Vec<ChatMessage>, reader: &ImageReader<'_>) -> Result<Vec<Message>, ApiError> {
    let read = |(index, message)| turn(message, &format!("messages[{index}]"), reader);
    messages.into_iter().enumerate().map(read).collect()
}

/// The turns as a prompt, with the images that came apart from them; `reply` is the start of the critic's own turn.
pub(super) fn prompt(
    mut turns: Vec<Message>,
    reply: String,
    apart: Vec<EncodedImage>,
) -> Result<Prompt, ApiError> {
    if turns.is_empty() {
        return Err(ApiError::invalid("messages", "There is no message to answer."));
    }
    apart::place(&mut turns, apart)?;
    Ok(Prompt { messages: turns, reply, ..Prompt::default() })
}

/// Who speaks by the name `role`, which the parameter `param` has.
pub(super) fn role(role: &str, param: &str) -> Result<Role, ApiError> {
    match role {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        role => {
            let text =
                format!("There is no role {role:?}; there are system, developer, user, assistant and tool.");
            Err(ApiError::invalid(param, text))
        }
    }
}

fn turn(message: ChatMessage, param: &str, reader: &ImageReader<'_>) -> Result<Message, ApiError> {
    let ChatMessage { role: spoken, tool_call_id, name, content, tool_calls, function_call } = message;
    let role = match spoken.as_str() {
        "tool" => result_of(tool_call_id.as_ref(), &format!("{param}.tool_call_id"))?,
        "function" => result_of(name.as_ref(), &format!("{param}.name"))?,
        other => role(other, &format!("{param}.role"))?,
    };
    let calls = called(tool_calls, &format!("{param}.tool_calls"))?;
    let call = function_call.filter(|call| !call.is_null());
    let call = call.map(|call| arguments(&call, &format!("{param}.function_call"))).transpose()?;
    let calls: Vec<Part> = calls.into_iter().chain(call).map(Part::Text).collect();
    let param = format!("{param}.content");
    let mut parts = match content {
        Some(content) => content.into_parts(&param, reader)?,
        None if calls.is_empty() => return Err(ApiError::invalid(param, "A message needs content.")),
        None => Vec::new(),
    };
    parts.extend(calls);
    Ok(Message { role, parts })
}

/// Who is shown to speak where a result is told, of what `named` says: one of nothing is a mistake.
fn result_of(named: Option<&Value>, param: &str) -> Result<Role, ApiError> {
    match named.and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(Role::User),
        Some(_) | None => Err(ApiError::missing(param)),
    }
}

/// The arguments of calls. The critic is told of no tools, so that their names would say nothing to it.
fn called(calls: Option<Value>, param: &str) -> Result<Vec<String>, ApiError> {
    match calls {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(calls)) => (calls.iter().enumerate())
            .map(|(index, call)| arguments(&call["function"], &format!("{param}[{index}].function")))
            .collect(),
        Some(_) => Err(ApiError::invalid(param, format!("{param} is a list."))),
    }
}

fn arguments(function: &Value, param: &str) -> Result<String, ApiError> {
    match &function["arguments"] {
        Value::String(text) => Ok(text.clone()),
        arguments @ Value::Object(_) => Ok(arguments.to_string()),
        _ => {
            let param = format!("{param}.arguments");
            let message = format!("{param} is JSON in a string.");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// The text of the assistant's message that is continued.
pub(super) fn reply(last: Option<Message>) -> Result<String, ApiError> {
    let refuse = |message: &str| Err(ApiError::invalid("continue_final_message", message));
    let Some(last) = last.filter(|last| last.role == Role::Assistant) else {
        return refuse("Only a final message of the assistant can be continued.");
    };
    let mut reply = String::new();
    for part in last.parts {
        match part {
            Part::Text(text) => reply += &text,
            Part::Image(_) | Part::Video(_) => return refuse("A reply is text alone."),
        }
    }
    Ok(reply)
}
