//! Conversations in the forms in which reward servers get them, and the sample of a conversation and its answer.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use utoipa::ToSchema;

use super::{sample::Sample, text_or_parts::TextOrParts, transcript::Transcript};
use crate::{
    dialects::content::{self, Content},
    error::{ApiError, ErrorCode},
    images::ImageReader,
    json::{limits::JsonLimits, object::only_from_objects},
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
    /// Images and videos beside the content, as other interfaces have them. They are refused: a reward without them
    /// would be that of another question.
    #[schema(ignore)]
    images: Option<Value>,
    #[schema(ignore)]
    image: Option<Value>,
    #[schema(ignore)]
    videos: Option<Value>,
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
        let Self { content, images, image, .. } = self;
        let content = content.ok_or_else(|| without_content(path))?;
        TextOrParts::Parts { content, images, image }.text(path, reader)
    }
}

impl PromptBody {
    /// The prompt of this transcript. A text that the transcript does not contain may be messages as JSON, since
    /// trainers of multimodal models keep them so in their data.
    ///
    /// # Errors
    /// As [`parsed`](Self::parsed).
    pub(super) fn of(self, transcript: &str, limits: &JsonLimits, path: &str) -> Result<Self, ApiError> {
        let is_in = |text: &str| text.trim_start().starts_with('[') && transcript.contains(text);
        if matches!(&self, Self::Text(text) if is_in(text)) { Ok(self) } else { self.parsed(limits, path) }
    }

    /// The prompt at `path`, as messages if it is a text with messages as JSON.
    ///
    /// # Errors
    /// When these are more than the limit. Other messages are counted before the body is parsed.
    pub(super) fn parsed(self, limits: &JsonLimits, path: &str) -> Result<Self, ApiError> {
        let text = match self {
            Self::Text(text) if text.trim_start().starts_with('[') => text,
            given => return Ok(given),
        };
        match serde_json::from_str::<Vec<Turn>>(&text) {
            Ok(turns) if turns.len() > limits.messages => {
                let most = limits.messages;
                let message =
                    format!("{path} has more than {most} elements, which is the limit (max_messages).");
                Err(ApiError::invalid(path, message).with_code(ErrorCode::ArrayTooLong))
            }
            Ok(turns) if !turns.is_empty() => Ok(Self::Messages(turns)),
            Ok(_) | Err(_) => Ok(Self::Text(text)),
        }
    }
}

/// The sample of an answer to the conversation at `path`, whose images it has.
///
/// # Errors
/// When no message is the user's, none has a text, one has neither content nor calls of tools, or an image cannot be
/// read or is one too many.
pub(super) fn sample_of(
    turns: Vec<Turn>,
    response: String,
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    with_text(read(turns, response, path, reader)?, path)
}

/// The same with the label at a path, whose question replaces the texts, also if there are none.
///
/// # Errors
/// Those of [`sample_of`] and of [`Sample::with_label`].
pub(super) fn labelled_sample_of(
    turns: Vec<Turn>,
    response: String,
    path: &str,
    (label, label_path): (Option<Value>, &str),
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    let sample = read(turns, response, path, reader)?;
    with_text(sample.with_label(label, label_path, reader)?, path)
}

/// Refuses the sample of a conversation at `path` that has no text.
fn with_text(sample: Sample, path: &str) -> Result<Sample, ApiError> {
    if sample.question.trim().is_empty() {
        return Err(ApiError::invalid(path, format!("{path} has no text.")));
    }
    Ok(sample)
}

/// Reads a conversation, whose question is empty if it has no text.
fn read(
    turns: Vec<Turn>,
    response: String,
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<Sample, ApiError> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (index, turn) in turns.into_iter().enumerate() {
        let Turn { role, content, tool_calls, function_call, images: beside, image, videos } = turn;
        let path = format!("{path}[{index}]");
        let beside = [("images", beside.as_ref()), ("image", image.as_ref()), ("videos", videos.as_ref())];
        content::refuse_beside(beside, &path)?;
        let path = format!("{path}.content");
        let text = match content {
            Some(content) => {
                // What the policy wrote is its text, whatever it looks like.
                if role != "assistant" {
                    content.refuse_bare_image(&path)?;
                }
                let (text, of_turn) = content.into_text_and_images(&path, reader)?;
                images.extend(of_turn);
                text
            }
            None if tool_calls.is_some() || function_call.is_some() => String::new(),
            None => return Err(without_content(&path)),
        };
        texts.push((role, text));
    }
    let sample = match Transcript::question_of(&texts) {
        Some(question) => Sample::of_turns(&question, images, response, path, reader)?,
        None if texts.iter().any(|(role, _)| role == "user") => {
            Sample { images, ..Sample::new("", response) }
        }
        None => return Err(ApiError::invalid(path, format!("{path} has no message of the user."))),
    };
    reader.count(sample.images.len(), sample.images.len(), path)?;
    Ok(sample)
}

/// The error for a message without content, where one is needed.
fn without_content(path: &str) -> ApiError {
    ApiError::invalid(path, "A message needs content.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn a_conversation_of_images_is_asked_about_by_its_label() {
        let image = json!({ "type": "image", "image": crate::dialects::EXAMPLE_IMAGE });
        let turns = || json!([{ "role": "user", "content": [image] }]);
        let refused = sample(turns()).unwrap_err();
        assert_eq!((refused.param(), refused.message()), (Some("prompt"), "prompt has no text."));
        let off = RemoteImages::default();
        let labelled = |label: Value| {
            let (turns, reader) = (serde_json::from_value(turns()).unwrap(), ImageReader::new(&off));
            labelled_sample_of(turns, "A cat.".to_owned(), "prompt", (Some(label), "label"), &reader)
        };
        let asked = labelled(json!({ "question": "What is it?" })).unwrap();
        assert_eq!((&*asked.question, asked.images.len()), ("What is it?", 1));
        assert_eq!(labelled(json!("A cat.")).unwrap_err().message(), "prompt has no text.");
        let refused = sample(json!([{ "role": "system", "content": "Be brief." }])).unwrap_err();
        assert_eq!(refused.message(), "prompt has no message of the user.");
    }

    #[test]
    fn messages_in_a_text_are_as_many_as_others_may_be() {
        let limits = JsonLimits { messages: 2, ..JsonLimits::SMALL };
        let parsed = |count: usize| {
            let turns = vec![json!({ "role": "user", "content": "What is it?" }); count];
            PromptBody::Text(json!(turns).to_string()).parsed(&limits, "prompts[1]")
        };
        assert!(matches!(parsed(2).unwrap(), PromptBody::Messages(turns) if turns.len() == 2));
        let refused = parsed(3).unwrap_err();
        assert_eq!((refused.code(), refused.param()), (ErrorCode::ArrayTooLong, Some("prompts[1]")));
    }

    #[test]
    fn an_image_that_is_a_whole_message_is_not_shown_as_text() {
        let turns = |role: &str| {
            let image = crate::dialects::EXAMPLE_IMAGE;
            json!([{ "role": "user", "content": "What is it?" }, { "role": role, "content": image }])
        };
        assert_eq!(sample(turns("user")).unwrap_err().param(), Some("prompt[1].content"));
        assert!(sample(turns("assistant")).is_ok(), "the policy may write what it likes");
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
