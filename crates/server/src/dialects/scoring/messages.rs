//! Conversations in the forms in which reward servers get them, and the sample of a conversation and its answer.

use serde::{Deserialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::{sample::Sample, text_or_parts::TextOrParts, transcript::Transcript};
use crate::{
    dialects::content::Content, error::ApiError, images::ImageReader, json_object::only_from_objects,
};

/// A message of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(super) struct Turn {
    /// `system`, `user` or `assistant`; other roles count as `system`.
    role: String,
    /// Text and images. A message that calls tools may have none.
    content: Option<Content>,
    /// Calls that the assistant made. They are not shown.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<IgnoredAny>,
    /// The older form of `tool_calls`.
    #[schema(value_type = Option<Object>)]
    function_call: Option<IgnoredAny>,
}

only_from_objects!(Turn);

/// A prompt: plain text, text in a chat format, or messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RemotePrompt)]
pub(super) enum PromptBody {
    /// Text.
    Text(String),
    /// Messages, at least one of which is the user's.
    Messages(Vec<Turn>),
}

impl Turn {
    /// Whether the assistant wrote it.
    pub(super) fn is_answer(&self) -> bool {
        self.role == "assistant"
    }

    /// The text of an answer to score, which is at `path`.
    ///
    /// # Errors
    /// When it has no content, whose score would be that of an empty text, or has images.
    pub(super) fn into_answer(self, path: &str, reader: &ImageReader<'_>) -> Result<String, ApiError> {
        let content = self.content.ok_or_else(|| without_content(path))?;
        TextOrParts::Parts { content }.text(path, reader)
    }
}

impl PromptBody {
    /// The prompt of this transcript. A text that the transcript does not contain may be messages as JSON, since
    /// trainers of multimodal models keep them so in their data.
    pub(super) fn of(self, transcript: &str) -> Self {
        match self {
            Self::Text(text) if text.trim_start().starts_with('[') && !transcript.contains(text.as_str()) => {
                match serde_json::from_str::<Vec<Turn>>(&text) {
                    Ok(turns) if !turns.is_empty() => Self::Messages(turns),
                    Ok(_) | Err(_) => Self::Text(text),
                }
            }
            given => given,
        }
    }
}

/// The sample of an answer to the conversation at `path`, whose images it has.
///
/// # Errors
/// When no message is the user's, one has neither content nor calls of tools, or an image cannot be read.
pub(super) fn sample_of(
    turns: Vec<Turn>,
    response: String,
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (index, turn) in turns.into_iter().enumerate() {
        let Turn { role, content, tool_calls, function_call } = turn;
        let path = format!("{path}[{index}].content");
        let text = match content {
            Some(content) => {
                let (text, of_turn) = content.into_text_and_images(&path, reader)?;
                images.extend(of_turn);
                text
            }
            None if tool_calls.is_some() || function_call.is_some() => String::new(),
            None => return Err(without_content(&path)),
        };
        texts.push((role, text));
    }
    let question = Transcript::question_of(&texts)
        .ok_or_else(|| ApiError::invalid(path, format!("{path} has no message of the user.")))?;
    Sample::of_turns(&question, images, response, path, reader)
}

/// The error for a message without content, where one is needed.
fn without_content(path: &str) -> ApiError {
    ApiError::invalid(path, "A message needs content.")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::remote_images::RemoteImages;

    fn sample(turns: Value) -> Result<Sample, ApiError> {
        let off = RemoteImages::default();
        let turns = serde_json::from_value(turns).unwrap();
        sample_of(turns, "A cat.".to_owned(), "prompt", &ImageReader::new(&off))
    }

    #[test]
    fn a_message_that_calls_tools_needs_no_content() {
        let with = |call: Value| {
            json!([
                { "role": "user", "content": "What is it?" },
                call,
                { "role": "tool", "tool_call_id": "1", "content": "It has whiskers." },
            ])
        };
        let question = "User: What is it?\nIt has whiskers.";
        for call in [
            json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "1" }] }),
            json!({ "role": "assistant", "tool_calls": [{ "id": "1" }] }),
            json!({ "role": "assistant", "content": null, "function_call": { "name": "look" } }),
            json!({ "role": "assistant", "content": "" }),
        ] {
            assert_eq!(&*sample(with(call.clone())).unwrap().question, question, "{call}");
        }
        for call in [
            json!({ "role": "assistant", "content": null }),
            json!({ "role": "assistant", "tool_calls": null }),
            json!({ "role": "assistant", "contents": "A cat." }),
        ] {
            assert_eq!(sample(with(call.clone())).unwrap_err().param(), Some("prompt[1].content"), "{call}");
        }
    }

    #[test]
    fn an_answer_to_score_has_content() {
        let off = RemoteImages::default();
        let answer = |turn: Value| {
            let turn: Turn = serde_json::from_value(turn).unwrap();
            assert!(turn.is_answer());
            turn.into_answer("messages", &ImageReader::new(&off))
        };
        assert_eq!(answer(json!({ "role": "assistant", "content": "A cat." })).unwrap(), "A cat.");
        let calls = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "1" }] });
        assert_eq!(answer(calls).unwrap_err().param(), Some("messages"));
    }
}
