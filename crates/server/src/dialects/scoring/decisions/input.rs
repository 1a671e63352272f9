//! The input of `/v1/decisions` and the texts of its questions: text, OpenAI's messages and parts, or other JSON.

use judge::Part;
use serde_json::Value;

use super::super::choices::{PromptContent, refuse_images, text_of};
use crate::{
    dialects::{
        content::Content,
        parameters::{self, Members},
    },
    error::{ApiError, ErrorCode, quoted},
    images::ImageReader,
    json::{errors, limits::JsonLimits},
};

/// What is put between messages, and between the subject and what follows.
const BLANK_LINE: &str = "\n\n";

/// The members that are read of a message, and those that change nothing.
const KNOWN_MEMBERS_OF_MESSAGE: [&str; 6] = ["type", "role", "content", "id", "status", "phase"];

/// The roles of messages, and the names by which they are shown.
const ROLES: [(&str, &str); 4] =
    [("user", "User"), ("assistant", "Assistant"), ("system", "System"), ("developer", "System")];

/// Items of OpenAI's form that are not supported.
const CALLS: [&str; 4] =
    ["function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"];

/// The members of parts with an image.
const IMAGES: [&str; 5] = ["image_url", "image", "url", "base64", "file_id"];

/// The members of an image without a type.
const UNTYPED: [&str; 2] = ["image_url", "detail"];

/// A message.
struct InputMessage {
    /// The name by which its author is shown.
    author: &'static str,
    content: Value,
}

/// Reads values that may have images.
pub(super) struct InputReader<'a, 'r> {
    pub(super) images: &'a ImageReader<'r>,
    pub(super) limits: &'a JsonLimits,
}

impl InputReader<'_, '_> {
    /// Adds the value at `path` to `prompt_content`: a message or a part of OpenAI's form, or a list with one, which is a list
    /// of messages or of parts. Any other JSON than a string is shown as JSON, as with SGLang.
    ///
    /// # Errors
    /// When an element of a list of messages or parts is none, or cannot be shown, and when a value that is shown as text
    /// has an image.
    pub(super) fn read(
        &self,
        value: Value,
        path: &str,
        prompt_content: &mut PromptContent,
    ) -> Result<(), ApiError> {
        match value {
            Value::Array(items) if items.iter().any(is_item) => {
                self.check_count(&items, path)?;
                self.messages(elements(items, path), prompt_content)
            }
            Value::Array(parts) if parts.iter().any(is_part) => {
                self.parts(elements(parts, path), prompt_content, BLANK_LINE)
            }
            item if is_item(&item) => self.messages([(path.to_owned(), item)], prompt_content),
            part if is_part(&part) => self.parts([(path.to_owned(), part)], prompt_content, BLANK_LINE),
            other => {
                refuse_images(&other, path)?;
                prompt_content.push_text(&text_of(other), BLANK_LINE);
                Ok(())
            }
        }
    }

    /// Refuses too many messages.
    fn check_count(&self, items: &[Value], path: &str) -> Result<(), ApiError> {
        let most = self.limits.messages;
        if items.len() <= most {
            return Ok(());
        }
        let message = format!("{path} has more than {most} elements, which is the limit (max_messages).");
        Err(ApiError::invalid(path, message).with_code(ErrorCode::ArrayTooLong))
    }

    /// Adds messages with their paths: with the names of their authors if the assistant is one of them, else one below the
    /// other.
    fn messages(
        &self,
        items: impl IntoIterator<Item = (String, Value)>,
        prompt_content: &mut PromptContent,
    ) -> Result<(), ApiError> {
        let messages = items.into_iter().map(|(path, item)| Ok((message(item, &path)?, path)));
        let messages = messages.collect::<Result<Vec<_>, ApiError>>()?;
        let is_dialogue = messages.iter().any(|(message, _)| message.author == "Assistant");
        for (InputMessage { author, content }, path) in messages {
            let path = format!("{path}.content");
            let separator = if is_dialogue {
                prompt_content.push_text(&format!("{author}:"), BLANK_LINE);
                "\n"
            } else {
                BLANK_LINE
            };
            match content {
                text @ Value::String(_) => {
                    refuse_images(&text, &path)?;
                    prompt_content.push_text(&text_of(text), separator);
                }
                Value::Array(parts) => self.parts(elements(parts, &path), prompt_content, separator)?,
                _ => {
                    return Err(ApiError::invalid(&path, format!("{path} must be text or a list of parts.")));
                }
            }
        }
        Ok(())
    }

    /// Adds parts with their paths, with `separator` before the first one if that is a text.
    fn parts(
        &self,
        parts: impl IntoIterator<Item = (String, Value)>,
        prompt_content: &mut PromptContent,
        separator: &str,
    ) -> Result<(), ApiError> {
        for (index, (path, part)) in parts.into_iter().enumerate() {
            let separator = if index == 0 { separator } else { "\n" };
            for part in self.part(part, &path)? {
                prompt_content.push(part, &path, separator);
            }
        }
        Ok(())
    }

    /// Reads a part.
    fn part(&self, mut part: Value, path: &str) -> Result<Vec<Part>, ApiError> {
        // Only this interface has these types.
        let member = match part["type"].as_str() {
            Some("input_json") => "data",
            Some("refusal") => "refusal",
            _ => {
                let part = serde_json::from_value(part)
                    .map_err(|error| errors::refusal((path, "field"), &error.to_string()))?;
                return Content::Part(Box::new(part)).into_parts(path, self.images);
            }
        };
        match part.get_mut(member).map(Value::take) {
            Some(text) if !text.is_null() => {
                refuse_images(&text, &format!("{path}.{member}"))?;
                Ok(vec![Part::Text(text_of(text))])
            }
            _ => Err(ApiError::missing(format!("{path}.{member}"))),
        }
    }
}

/// The elements of the list at `path` with their paths.
fn elements(values: Vec<Value>, path: &str) -> impl Iterator<Item = (String, Value)> {
    values.into_iter().enumerate().map(move |(index, value)| (format!("{path}[{index}]"), value))
}

/// The name by which the author with this role is shown.
fn author(role: &str) -> Option<&'static str> {
    ROLES.iter().find(|(known, _)| *known == role).map(|(_, author)| *author)
}

/// Whether a value is an item of OpenAI's form. Data in other JSON may have members of the same names.
fn is_item(value: &Value) -> bool {
    let text = |name: &str| value[name].as_str();
    let is_message = text("role").and_then(author).is_some() && value.get("content").is_some();
    let is_call = text("type").is_some_and(|kind| CALLS.contains(&kind)) && text("call_id").is_some();
    is_message || is_call
}

/// Whether a value is a part of OpenAI's form. Data in other JSON may have the shorter types, or no type.
fn is_part(value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    let has = |names: &[&str]| names.iter().any(|name| members.contains_key(*name));
    match members.get("type") {
        None => {
            members.contains_key("image_url") && members.keys().all(|name| UNTYPED.contains(&name.as_str()))
        }
        Some(kind) => match kind.as_str() {
            Some("input_text" | "output_text" | "input_image" | "input_json") => true,
            Some(kind @ ("text" | "refusal")) => has(&[kind]),
            Some("image_url" | "image") => has(&IMAGES),
            Some("video") => has(&["video", "frames"]),
            _ => false,
        },
    }
}

/// Reads the message at `path`.
fn message(item: Value, path: &str) -> Result<InputMessage, ApiError> {
    let Value::Object(members) = item else {
        return Err(ApiError::invalid(path, format!("{path} must be a message.")));
    };
    let mut members: Members = members.into_iter().collect();
    let kind =
        members.get("type").filter(|kind| !kind.is_null()).map(|kind| kind.as_str().unwrap_or_default());
    if let Some(kind) = kind.filter(|kind| *kind != "message") {
        let message = format!("Items of type {} are not offered; there are messages.", quoted(kind));
        return Err(
            ApiError::invalid(format!("{path}.type"), message).with_code(ErrorCode::UnsupportedParameter)
        );
    }
    parameters::check_members(&members, &KNOWN_MEMBERS_OF_MESSAGE, &format!("{path}."))?;
    let role = members.get("role").and_then(Value::as_str).unwrap_or_default();
    let author = author(role).ok_or_else(|| {
        let names = "system, developer, user and assistant";
        let message = format!("There is no role {}; there are {names}.", quoted(role));
        ApiError::invalid(format!("{path}.role"), message)
    })?;
    let content = members.remove("content").filter(|content| !content.is_null());
    let content = content.ok_or_else(|| ApiError::missing(format!("{path}.content")))?;
    Ok(InputMessage { author, content })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::remote_images::RemoteImages;

    const IMAGE: &str = crate::dialects::EXAMPLE_IMAGE;

    fn read(value: Value) -> Result<PromptContent, ApiError> {
        let off = RemoteImages::default();
        let (images, mut prompt_content) = (ImageReader::new(&off), PromptContent::default());
        let limits = JsonLimits { messages: 3, ..JsonLimits::SMALL };
        InputReader { images: &images, limits: &limits }.read(value, "input", &mut prompt_content)?;
        Ok(prompt_content)
    }

    fn of_text(text: &str) -> PromptContent {
        let mut prompt_content = PromptContent::default();
        prompt_content.push_text(text, "");
        prompt_content
    }

    #[test]
    fn text_messages_parts_and_json_are_told_apart() {
        let user = |content: Value| json!({ "role": "user", "content": content });
        let refusal = json!([{ "type": "refusal", "refusal": "No." }]);
        let parts = json!([
            { "type": "input_text", "text": "A scene." },
            { "type": "input_json", "data": { "size": 2 } },
        ]);
        for (value, text) in [
            (json!("A scene."), "A scene."),
            (json!({ "ticket": "late" }), r#"{"ticket":"late"}"#),
            (json!([1, { "type": "text", "value": 2 }]), r#"[1,{"type":"text","value":2}]"#),
            (json!([{ "role": "cook", "content": "x" }]), r#"[{"role":"cook","content":"x"}]"#),
            (json!({ "type": "image", "of": "a cat" }), r#"{"type":"image","of":"a cat"}"#),
            (json!([{ "image": "cat.png" }]), r#"[{"image":"cat.png"}]"#),
            (json!([user(json!("A scene."))]), "A scene."),
            (user(json!("A scene.")), "A scene."),
            (json!({ "type": "input_text", "text": "A scene." }), "A scene."),
            (json!([user(parts.clone()), user(json!("Two."))]), "A scene.\n{\"size\":2}\n\nTwo."),
            (parts, "A scene.\n{\"size\":2}"),
            (
                json!([
                    { "role": "developer", "content": "Be brief.", "type": "message" },
                    user(json!("What is it?")),
                    { "role": "assistant", "content": refusal, "phase": "final_answer" },
                ]),
                "System:\nBe brief.\n\nUser:\nWhat is it?\n\nAssistant:\nNo.",
            ),
        ] {
            assert_eq!(read(value.clone()).unwrap(), of_text(text), "{value}");
        }
    }

    #[test]
    fn images_are_shown_and_have_their_paths() {
        let off = RemoteImages::default();
        let image = || Part::Image(ImageReader::new(&off).read(IMAGE, "x").unwrap());
        let content = json!([
            { "type": "input_text", "text": "It." },
            { "type": "input_image", "image_url": IMAGE },
            { "type": "image_url", "image_url": { "url": IMAGE } },
        ]);
        let of_message = json!([{ "role": "user", "content": content }]);
        for (value, path) in [(of_message, "input[0].content"), (content, "input")] {
            let mut expected = of_text("It.");
            expected.push(image(), &format!("{path}[1]"), "");
            expected.push(image(), &format!("{path}[2]"), "");
            assert_eq!(read(value).unwrap(), expected);
        }
    }

    #[test]
    fn an_image_is_shown_whatever_is_beside_it() {
        let off = RemoteImages::default();
        let image = || ImageReader::new(&off).read(IMAGE, "x").unwrap();
        let frames = json!({ "type": "video", "frames": [IMAGE, IMAGE] });
        for (part, shown) in [
            (json!({ "type": "image", "image": IMAGE }), Part::Image(image())),
            (json!({ "type": "image", "url": IMAGE }), Part::Image(image())),
            (json!({ "image_url": { "url": IMAGE } }), Part::Image(image())),
            (frames, Part::Video(vec![image(), image()])),
        ] {
            let mut expected = PromptContent::default();
            expected.push(shown.clone(), "input[0]", "");
            assert_eq!(read(json!([part])).unwrap(), expected, "{part}");
            let mut alone = PromptContent::default();
            alone.push(shown.clone(), "input", "");
            assert_eq!(read(part.clone()).unwrap(), alone, "{part}");
            let mut of_message = PromptContent::default();
            of_message.push(shown, "input.content[0]", "");
            assert_eq!(read(json!({ "role": "user", "content": [part] })).unwrap(), of_message, "{part}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_refused_by_its_path() {
        let message = json!({ "role": "user", "content": "x" });
        for (value, param) in [
            (json!([message, "x"]), "input[1]"),
            (json!([message, { "role": "tool", "content": "x" }]), "input[1].role"),
            (json!([{ "role": "user", "content": "x", "weight": 2 }]), "input[0].weight"),
            (json!([message, { "type": "reasoning" }]), "input[1].type"),
            (
                json!([{ "type": "function_call", "call_id": "a", "name": "f", "arguments": "{}" }]),
                "input[0].type",
            ),
            (json!([{ "role": "user", "content": null }]), "input[0].content"),
            (json!([{ "role": "user", "content": 5 }]), "input[0].content"),
            (json!([{ "role": "user", "content": [{ "type": "input_audio" }] }]), "input[0].content[0]"),
            (json!([{ "role": "user", "content": ["x"] }]), "input[0].content[0]"),
            (json!([{ "type": "input_json" }]), "input[0].data"),
            (json!([{ "type": "input_image", "image_url": "https://x.example/a.png" }]), "input[0]"),
            (json!([message, message, message, message]), "input"),
            (json!({ "role": "user", "content": 5 }), "input.content"),
            (json!([{ "image": IMAGE, "id": 4 }]), "input[0].image"),
            (json!({ "scene": { "image": IMAGE } }), "input.scene.image"),
            (json!(IMAGE), "input"),
            (json!([{ "role": "user", "content": IMAGE }]), "input[0].content"),
            (json!([{ "type": "input_json", "data": [IMAGE] }]), "input[0].data[0]"),
        ] {
            assert_eq!(read(value.clone()).unwrap_err().param(), Some(param), "{value}");
        }
    }
}
