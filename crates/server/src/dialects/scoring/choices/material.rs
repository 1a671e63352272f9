//! Texts and images that are shown together: the subject of questions, or a question.

use judge::{EncodedImage, Part};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Texts, images and videos, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Material {
    pub(super) parts: Vec<Part>,
    /// The paths of the images and frames in the request, in their order.
    image_paths: Vec<String>,
}

impl Material {
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

    /// The number of images and frames.
    pub(super) fn image_count(&self) -> usize {
        self.image_paths.len()
    }

    /// The path of the image or frame at `index`, from 0, in the request.
    pub(super) fn image_path(&self, index: usize) -> Option<&str> {
        self.image_paths.get(index).map(String::as_str)
    }

    /// The size of the texts in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image(_) | Part::Video(_) => 0,
        };
        self.parts.iter().map(bytes).sum()
    }
}

/// A value as text; other JSON than a string is written as JSON without spaces, as SGLang does.
pub(in super::super) fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Reads a member as [`text_of`] does. `None` if it is missing, `null` or an empty text, which some clients send for
/// members that they do not set.
pub(in super::super) fn free_text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let value = Option::<Value>::deserialize(source)?;
    Ok(value.map(text_of).filter(|text| !text.is_empty()))
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
        let mut subject = Material::of_images(vec![EncodedImage::new([1])]);
        subject.push_text("One.", "\n\n");
        subject.push(text("Two."), "input[1]", "\n");
        subject.push(image(), "input[2]", "\n");
        let mut question = Material::default();
        question.push(Part::Video(vec![EncodedImage::new([1]); 2]), "questions[0]", "\n");
        question.push_text("Which?", "\n");
        question.push(image(), "questions[1]", "\n");
        question.push_text("That?", "\n");
        subject.append(&question, "\n\n");
        let video = Part::Video(vec![EncodedImage::new([1]); 2]);
        let expected =
            [image(), text("One.\nTwo."), image(), video, text("\n\nWhich?"), image(), text("\nThat?")];
        assert_eq!(subject.parts, expected);
        let paths: Vec<&str> = (0..subject.image_count()).filter_map(|at| subject.image_path(at)).collect();
        let frames = ["questions[0].frames[0]", "questions[0].frames[1]"];
        assert_eq!(paths, ["images[0]", "input[2]", frames[0], frames[1], "questions[1]"]);
        assert_eq!(subject.image_path(5), None);
        assert_eq!(subject.text_bytes(), 9 + 8 + 6);
    }

    #[test]
    fn other_json_than_text_is_written_as_json() {
        let read = |value: Value| free_text(value).unwrap();
        for (value, expected) in [
            (json!("plain"), Some("plain")),
            (json!({ "b": "é", "a": [1] }), Some(r#"{"b":"é","a":[1]}"#)),
            (json!(["a", 2]), Some(r#"["a",2]"#)),
            (json!(""), None),
            (json!(null), None),
        ] {
            assert_eq!(read(value).as_deref(), expected);
        }
    }
}
