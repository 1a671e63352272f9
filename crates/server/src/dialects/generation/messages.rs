//! Converts the messages of a conversation to those that a critic is shown.

use judge::{EncodedImage, Message, Part, Prompt, Role};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::detached_images::{self, PLACEHOLDER};
use crate::{
    dialects::{
        content::{self, Content},
        parameters,
    },
    error::{ApiError, ErrorCode, quoted},
    images::ImageReader,
    json::object::only_from_objects,
};

/// A message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(super) struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant`, `tool`, or its older form `function`. The text of the last two
    /// is shown as the user's.
    role: String,
    /// Id of the call that a `tool` message answers. Required for these.
    #[schema(value_type = Option<String>)]
    tool_call_id: Option<Value>,
    /// Name of the function whose result a `function` message has, required for these. Ignored in other messages.
    #[schema(value_type = Option<String>)]
    name: Option<Value>,
    /// Text, images and videos.
    content: Option<Content>,
    /// Calls that the assistant made. Their arguments are shown as its text.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Value>,
    /// The older form of `tool_calls`.
    #[schema(value_type = Option<Object>)]
    function_call: Option<Value>,
    /// Images and videos beside the content, as other interfaces have them. They are refused, and so are the marks of
    /// a reply to continue below.
    #[schema(ignore)]
    images: Option<Value>,
    #[schema(ignore)]
    image: Option<Value>,
    #[schema(ignore)]
    videos: Option<Value>,
    #[schema(ignore)]
    prefix: Option<Value>,
    #[schema(ignore)]
    partial: Option<Value>,
}

only_from_objects!(ChatMessage);

/// The roles of chat messages, for a message.
const ROLES: &str = "system, developer, user, assistant and tool";

/// Makes placeholders of the parts of type `image` without an image in the user's messages, for `images` images that
/// are outside of the messages. A part for which there is none stays as it is, and is refused.
pub(super) fn insert_placeholders(messages: &mut [ChatMessage], images: usize) {
    let mut left = images;
    for message in messages.iter_mut().filter(|message| message.role == "user") {
        left -= message.content.as_mut().map_or(0, |content| content.insert_placeholders(PLACEHOLDER, left));
    }
}

/// Converts all messages.
pub(super) fn read(messages: Vec<ChatMessage>, reader: &ImageReader<'_>) -> Result<Vec<Message>, ApiError> {
    let read = |(index, message)| read_one(message, &format!("messages[{index}]"), reader);
    messages.into_iter().enumerate().map(read).collect()
}

/// Builds a prompt of messages and of images that are outside of them; `reply` is the start of the critic's turn.
pub(super) fn prompt(
    mut messages: Vec<Message>,
    reply: String,
    detached: Vec<EncodedImage>,
) -> Result<Prompt, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "There is no message to answer."));
    }
    detached_images::insert(&mut messages, detached)?;
    Ok(Prompt { messages, reply, ..Prompt::default() })
}

/// The role of the name `role`; `param` is its path in the request, and `known` lists the roles of its interface.
pub(crate) fn role(role: &str, param: &str, known: &str) -> Result<Role, ApiError> {
    match role {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        role => {
            let text = format!("There is no role {}; there are {known}.", quoted(role));
            Err(ApiError::invalid(param, text))
        }
    }
}

/// Converts one message; `param` is its path in the request.
fn read_one(message: ChatMessage, param: &str, reader: &ImageReader<'_>) -> Result<Message, ApiError> {
    check_members(&message, param)?;
    let ChatMessage { role: role_name, tool_call_id, name, content, tool_calls, function_call, .. } = message;
    let role = match role_name.as_str() {
        "tool" => role_of_result(tool_call_id.as_ref(), &format!("{param}.tool_call_id"))?,
        "function" => role_of_result(name.as_ref(), &format!("{param}.name"))?,
        other => role(other, &format!("{param}.role"), ROLES)?,
    };
    let calls = call_arguments(tool_calls, &format!("{param}.tool_calls"))?;
    let call = function_call.filter(|call| !call.is_null());
    let call =
        call.map(|call| arguments(&call["arguments"], &format!("{param}.function_call"))).transpose()?;
    let calls: Vec<Part> = calls.into_iter().chain(call).map(Part::Text).collect();
    let param = format!("{param}.content");
    let mut parts = match content {
        Some(content) => {
            // What the assistant wrote is its text, whatever it looks like.
            if role != Role::Assistant {
                content.refuse_bare_image(&param)?;
            }
            content.into_parts(&param, reader)?
        }
        None if calls.is_empty() => return Err(ApiError::invalid(param, "A message needs content.")),
        None => Vec::new(),
    };
    parts.extend(calls);
    Ok(Message { role, parts })
}

/// Refuses members of a message that only other interfaces have; `param` is the path of the message.
fn check_members(message: &ChatMessage, param: &str) -> Result<(), ApiError> {
    let ChatMessage { images, image, videos, prefix, partial, .. } = message;
    let beside = [("images", images.as_ref()), ("image", image.as_ref()), ("videos", videos.as_ref())];
    content::refuse_beside(beside, param)?;
    let marks = [("prefix", prefix.as_ref()), ("partial", partial.as_ref())];
    let Some(name) = parameters::first_asked(marks) else { return Ok(()) };
    let message = format!("A message has no {name} here: continue_final_message continues the last one.");
    Err(ApiError::invalid(format!("{param}.{name}"), message).with_code(ErrorCode::UnsupportedParameter))
}

/// The role in which the result of a call is shown. `named` is the call or function, which must be named.
///
/// # Errors
/// When it is not; the error names `param`.
pub(crate) fn role_of_result(named: Option<&Value>, param: &str) -> Result<Role, ApiError> {
    match named.and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(Role::User),
        Some(_) | None => Err(ApiError::missing(param)),
    }
}

/// The arguments of calls. The names of functions are left out: the critic is not shown the tools.
fn call_arguments(calls: Option<Value>, param: &str) -> Result<Vec<String>, ApiError> {
    match calls {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(calls)) => (calls.iter().enumerate())
            .map(|(index, call)| {
                arguments(&call["function"]["arguments"], &format!("{param}[{index}].function"))
            })
            .collect(),
        Some(_) => Err(ApiError::invalid(param, format!("{param} is a list."))),
    }
}

/// The arguments of a call, as text; `param` is the path of the call in the request.
///
/// # Errors
/// When they are neither a text nor an object; the error names their path.
pub(crate) fn arguments(arguments: &Value, param: &str) -> Result<String, ApiError> {
    match arguments {
        Value::String(text) => Ok(text.clone()),
        arguments @ Value::Object(_) => Ok(arguments.to_string()),
        _ => {
            let param = format!("{param}.arguments");
            let message = format!("{param} is JSON in a string.");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// The text of the assistant's message that is to be continued.
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
