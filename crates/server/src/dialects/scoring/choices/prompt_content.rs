//! Texts and images that are shown together: the subject of questions, or a question.

use judge::{EncodedImage, Part};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::error::{ApiError, ErrorCode, LONGEST_VALUE, brief};

/// Texts, images and videos, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct PromptContent {
    pub(super) parts: Vec<Part>,
    /// The paths of the images and frames in the request, in their order.
    image_paths: Vec<String>,
}

impl PromptContent {
    /// The images of a body's `images`.
    pub(in super::super) fn of_images(images: Vec<EncodedImage>) -> Self {
        let image_paths = (0..images.len()).map(|index| format!("images[{index}]")).collect();
        Self { parts: images.into_iter().map(Part::Image).collect(), image_paths }
    }

    /// Adds a text. Unless it is the first text, `separator` is put before it, also after an image: critics are shown
    /// a single image before all texts, wherever it stands.
    pub(in super::super) fn push_text(&mut self, text: &str, separator: &str) {
        let has_text = self.parts.iter().any(|part| matches!(part, Part::Text(_)));
        match self.parts.last_mut() {
            Some(Part::Text(before)) => {
                before.push_str(separator);
                before.push_str(text);
            }
            _ if has_text => self.parts.push(Part::Text(format!("{separator}{text}"))),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Adds the part at `path`, a text as [`push_text`](Self::push_text) does.
    pub(in super::super) fn push(&mut self, part: Part, path: &str, separator: &str) {
        match part {
            Part::Text(text) => self.push_text(&text, separator),
            Part::Image(image) => {
                self.image_paths.push(path.to_owned());
                self.parts.push(Part::Image(image));
            }
            Part::Video(frames) => {
                let paths = (0..frames.len()).map(|index| format!("{path}.frames[{index}]"));
                self.image_paths.extend(paths);
                self.parts.push(Part::Video(frames));
            }
        }
    }

    /// Adds all of `other`, with `separator` between the texts of both.
    pub(super) fn append(&mut self, other: &Self, mut separator: &str) {
        for part in &other.parts {
            match part {
                // Further texts of `other` have their separators already.
                Part::Text(text) => self.push_text(text, std::mem::take(&mut separator)),
                Part::Image(_) | Part::Video(_) => self.parts.push(part.clone()),
            }
        }
        self.image_paths.extend_from_slice(&other.image_paths);
    }

    /// The paths of all images and frames in the request.
    pub(in super::super) fn image_paths(&self) -> impl Iterator<Item = &str> {
        self.image_paths.iter().map(String::as_str)
    }

    /// The number of images and frames.
    pub(super) fn image_count(&self) -> usize {
        self.image_paths.len()
    }

    /// The path of the image or frame at `index`, from 0, in the request.
    pub(super) fn image_path(&self, index: usize) -> Option<&str> {
        self.image_paths.get(index).map(String::as_str)
    }

    /// Whether there is nothing to see: neither an image nor a text other than white space.
    pub(in super::super) fn is_blank(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Text(text) => text.trim().is_empty(),
            Part::Image(_) | Part::Video(_) => false,
        })
    }

    /// The size of the texts in bytes.
    pub(in super::super) fn text_bytes(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image(_) | Part::Video(_) => 0,
        };
        self.parts.iter().map(bytes).sum()
    }
}

/// A value as text: no text for `null`; other JSON than a string is written as JSON without spaces, as SGLang does.
pub(in super::super) fn text_of(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The text of a member that need not be there; `None` for `null` and for white space, which some clients send for
/// members that they do not set.
pub(in super::super) fn meaning_of(value: Value) -> Option<String> {
    Some(text_of(value)).filter(|text| !text.trim().is_empty())
}

/// Whether a value says nothing: `null`, white space, an empty list or an empty object.
pub(in super::super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Reads a member as [`meaning_of`] does; it may be missing.
pub(in super::super) fn free_text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let value = Option::<Value>::deserialize(source)?.unwrap_or_default();
    if image_in(&value).is_some() {
        return Err(D::Error::custom(IMAGE_AS_TEXT));
    }
    Ok(meaning_of(value))
}

/// What a string is that is refused by [`refuse_images`].
const IMAGE_AS_TEXT: &str = "an image inside JSON that is shown as text";

/// Refuses a value at `path` that is shown as text although it has an image, as a data URL: its base64 would be read as
/// a text.
///
/// # Errors
/// With the path of the first image.
pub(in super::super) fn refuse_images(value: &Value, path: &str) -> Result<(), ApiError> {
    match image_in(value) {
        Some(inside) => {
            let path = format!("{path}{inside}");
            let named = brief(path.clone(), 2 * LONGEST_VALUE);
            let message = format!("{named} is {IMAGE_AS_TEXT}; send it as a part or in `images`.");
            Err(ApiError::invalid(path, message).with_code(ErrorCode::UnsupportedContent))
        }
        None => Ok(()),
    }
}

/// The path inside a value of its first image.
fn image_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => is_image_url(text).then(String::new),
        Value::Array(values) => {
            let mut all = values.iter().enumerate();
            all.find_map(|(index, value)| Some(format!("[{index}]{}", image_in(value)?)))
        }
        Value::Object(members) => {
            let name = |name: &String| brief(name.clone(), LONGEST_VALUE);
            members.iter().find_map(|(member, value)| Some(format!(".{}{}", name(member), image_in(value)?)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Whether a text is the data URL of an image.
pub(in super::super) fn is_image_url(text: &str) -> bool {
    const START: &str = "data:image/";
    text.trim_start().get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> Part {
        Part::Image(EncodedImage::new([1]))
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn texts_are_separated_and_images_keep_their_places_and_paths() {
        let mut subject = PromptContent::of_images(vec![EncodedImage::new([1])]);
        subject.push_text("One.", "\n\n");
        subject.push(text("Two."), "input[1]", "\n");
        subject.push(image(), "input[2]", "\n");
        let mut question = PromptContent::default();
        question.push(Part::Video(vec![EncodedImage::new([1]); 2]), "questions[0]", "\n");
        question.push_text("Which?", "\n");
        question.push(image(), "questions[1]", "\n");
        question.push_text("That?", "\n");
        subject.append(&question, "\n\n");
        let video = Part::Video(vec![EncodedImage::new([1]); 2]);
        let expected =
            [image(), text("One.\nTwo."), image(), video, text("\n\nWhich?"), image(), text("\nThat?")];
        assert_eq!(subject.parts, expected);
        let paths: Vec<&str> = subject.image_paths().collect();
        let frames = ["questions[0].frames[0]", "questions[0].frames[1]"];
        assert_eq!(paths, ["images[0]", "input[2]", frames[0], frames[1], "questions[1]"]);
        assert_eq!(subject.image_path(5), None);
        assert_eq!(subject.text_bytes(), 9 + 8 + 6);
    }

    #[test]
    fn an_image_in_json_has_its_path() {
        let url = "data:image/png;base64,AAEC";
        for (value, path) in [
            (json!(url), "state"),
            (json!({ "a": 1, "image": url }), "state.image"),
            (json!([1, { "image_url": { "url": " DATA:image/png;base64,AAEC" } }]), "state[1].image_url.url"),
        ] {
            assert_eq!(refuse_images(&value, "state").unwrap_err().param(), Some(path));
            assert!(free_text(value).is_err());
        }
        for plain in [json!(null), json!("see data:image/png"), json!({ "image": "cat.png", "n": [true, 4] })]
        {
            assert!(refuse_images(&plain, "state").is_ok(), "{plain}");
        }
    }

    #[test]
    fn content_is_blank_without_words_and_images() {
        let mut content = PromptContent::default();
        content.push_text(" \n", "");
        assert!(content.is_blank());
        content.push(image(), "input[0]", "");
        assert!(!content.is_blank());
    }

    #[test]
    fn other_json_than_text_is_written_as_json() {
        let read = |value: Value| free_text(value).unwrap();
        for (value, expected) in [
            (json!("plain"), Some("plain")),
            (json!({ "b": "é", "a": [1] }), Some(r#"{"b":"é","a":[1]}"#)),
            (json!(["a", 2]), Some(r#"["a",2]"#)),
            (json!(" "), None),
            (json!(null), None),
        ] {
            assert_eq!(read(value).as_deref(), expected);
        }
    }
}
