//! Samples: what trainers and rankers send, as cases to judge.

use std::sync::Arc;

use judge::{Case, EncodedImage, Responses};
use serde::Deserialize;
use serde_json::{Number, Value};
use utoipa::ToSchema;

use super::{openrlhf::OneOrMany, transcript::Transcript};
use crate::{
    dialects::content::{Content, ContentPart, ImageUrl},
    error::ApiError,
    images::{self, ImageReader},
};

/// A question, the answer to score, and what helps with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// Shared by all answers to it: a body may have tens of thousands of answers to a question of megabytes.
    pub(super) question: Arc<str>,
    pub(super) response: String,
    pub(super) images: Vec<EncodedImage>,
    pub(super) reference: Option<String>,
}

/// What may ride in a label: trainers have no other place for pictures.
#[derive(Debug, Default, Deserialize)]
struct Label {
    image: Option<ImageUrl>,
    images: Option<OneOrMany<ImageUrl>>,
    question: Option<String>,
    reference: Option<Reference>,
}

/// A right answer: data sets have them as texts and as numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reference {
    Text(String),
    Number(Number),
}

/// A question with images, or any text, in the shapes of rankers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum TextOrParts {
    /// Text alone.
    Text(String),
    /// Text and images as parts.
    Parts {
        /// The parts.
        content: Content,
    },
    /// Text in an object.
    Object {
        /// The text.
        text: String,
    },
    /// The parts without anything around them.
    List(Vec<ContentPart>),
}

impl Sample {
    /// A question and an answer.
    pub(super) fn new(question: impl Into<Arc<str>>, response: impl Into<String>) -> Self {
        Self { question: question.into(), response: response.into(), images: Vec::new(), reference: None }
    }

    /// A transcript's last answer. `prompt`, where it is known, tells where that begins.
    pub(super) fn of_transcript(
        (text, prompt): (&str, Option<&str>),
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let after = prompt.and_then(|prompt| Transcript::after(prompt, text));
        let Some(Transcript { question, answer }) = after.or_else(|| Transcript::parse(text)) else {
            let message = format!(
                "{path} is no transcript of a chat format that is known here, with a question and an answer to it."
            );
            return Err(ApiError::invalid(path, message).with_code("unknown_transcript"));
        };
        // Only the question's images: an answer is the work of the model that is trained, and shows nothing.
        let (question, images) = take_images(&question, path, reader)?;
        Self { images, ..Self::new(question, answer) }.with_named_images(path, reader)
    }

    /// The same with the images that its question names as `<image:…>`, by the id or the SHA-256 of a registered one. Only
    /// the question's, as above.
    pub(super) fn with_named_images(
        mut self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        const START: &str = "<image:";
        let (mut rest, mut plain) = (&*self.question, String::new());
        while let Some((before, behind)) = rest.split_once(START) {
            plain += before;
            let name = behind.split_once('>').map(|(name, behind)| (full_name(name), behind));
            match name {
                Some((Some(name), behind)) => {
                    self.images.push(reader.read(&name, path)?);
                    rest = behind;
                }
                Some((None, _)) | None => {
                    plain += START;
                    rest = behind;
                }
            }
        }
        plain += rest;
        self.question = plain.trim().into();
        Ok(self)
    }

    /// The same with what rides in its label: an object, or the same as JSON in a text, has images, the question in its own
    /// words or a reference; any other text is a reference.
    pub(super) fn with_label(
        mut self,
        label: Option<Value>,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let label = match label {
            None | Some(Value::Null) => return Ok(self),
            Some(Value::String(text)) => {
                let parsed: Option<Value> = serde_json::from_str(&text).ok();
                match parsed.filter(Value::is_object) {
                    Some(object) => object,
                    None => {
                        self.reference = Some(text).filter(|text| !text.trim().is_empty());
                        return Ok(self);
                    }
                }
            }
            Some(object @ Value::Object(_)) => object,
            // Numbers and lists mean something to the trainer, not to a judge.
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_)) => return Ok(self),
        };
        let label: Label = serde_json::from_value(label)
            .map_err(|error| ApiError::invalid(path, format!("{path} has the wrong form: {error}.")))?;
        let images = label.images.map_or_else(Vec::new, OneOrMany::into_vec);
        for image in label.image.into_iter().chain(images) {
            self.images.push(image.read(path, reader)?);
        }
        self.question = label.question.map_or(self.question, Into::into);
        let reference = label.reference.map(|reference| match reference {
            Reference::Text(text) => text,
            Reference::Number(number) => number.to_string(),
        });
        self.reference = reference.filter(|text| !text.trim().is_empty()).or(self.reference);
        Ok(self)
    }

    /// The case to judge. A policy that ended its turn at once said nothing, which has the worst score and is no mistake of the trainer.
    pub(super) fn into_case(self) -> Case {
        let nothing = self.response.trim().is_empty();
        let responses = Responses::One(if nothing { " ".to_owned() } else { self.response });
        Case { images: self.images, reference: self.reference, ..Case::new(&*self.question, responses) }
    }
}

impl TextOrParts {
    /// The text, and the images beside it.
    pub(super) fn read(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(String, Vec<EncodedImage>), ApiError> {
        match self {
            Self::Text(text) | Self::Object { text } => Ok((text, Vec::new())),
            Self::List(parts) => Content::Parts(parts).into_text_and_images(path, reader),
            Self::Parts { content } => content.into_text_and_images(path, reader),
        }
    }

    /// The text, which must be alone.
    pub(super) fn text(self, path: &str, reader: &ImageReader<'_>) -> Result<String, ApiError> {
        let (text, images) = self.read(path, reader)?;
        if images.is_empty() {
            return Ok(text);
        }
        let message = "Images belong to the question; what is scored is text.";
        Err(ApiError::invalid(path, message).with_code("unsupported_content"))
    }
}

/// The name of a registered image as it is written elsewhere; `None` when it is none. A bare SHA-256 is one here.
fn full_name(name: &str) -> Option<String> {
    [name.to_owned(), format!("sha256:{name}")].into_iter().find(|name| images::is_name(name))
}

/// Takes images out of a text, where they stand as data URLs. Other URLs are text, and never fetched.
fn take_images(
    text: &str,
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<(String, Vec<EncodedImage>), ApiError> {
    let (mut behind, mut plain, mut found) = (0, String::new(), Vec::new());
    for url in images::urls_in(text) {
        plain += &text[behind..url.start];
        behind = url.end;
        found.push(reader.read(&text[url], path)?);
    }
    Ok((plain + &text[behind..], found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::remote_images::RemoteImages;

    const IMAGE: &str = "data:image/png;base64,AAEC";

    #[test]
    fn images_in_a_transcript_are_taken_out_of_it() {
        let text = format!(
            "<|im_start|>user\n{IMAGE}\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>"
        );
        let off = RemoteImages::default();
        let reader = ImageReader::new(&off);
        let sample = Sample::of_transcript((&text, None), "query[0]", &reader).unwrap();
        assert_eq!((&*sample.question, sample.response.as_str()), ("What is it?", "A cat."));
        assert_eq!(sample.images, [EncodedImage::new([0, 1, 2])]);
        assert!(Sample::of_transcript(("A cat.", None), "query[0]", &reader).is_err());
        // An answer shows nothing, and takes nothing of the question's image away.
        for answer in ["data:image/png;base64,AAEC", "data:image/png;base64,!", "Yes"] {
            let question = format!("Is it? {IMAGE}");
            let text = format!("{question}{answer}");
            let sample = Sample::of_transcript((&text, Some(&question)), "query[0]", &reader).unwrap();
            assert_eq!((&*sample.question, sample.response.as_str()), ("Is it?", answer));
            assert_eq!(sample.images, [EncodedImage::new([0, 1, 2])]);
        }
    }

    #[test]
    fn a_label_may_bring_images_a_question_and_a_reference() {
        let off = RemoteImages::default();
        let reader = ImageReader::new(&off);
        let sample = Sample::new("Q", "A");
        let object = json!({ "image": IMAGE, "question": "Which animal?", "reference": "A cat." });
        for label in [object.clone(), json!(object.to_string())] {
            let sample = sample.clone().with_label(Some(label), "labels[0]", &reader).unwrap();
            assert_eq!(&*sample.question, "Which animal?");
            assert_eq!(sample.reference.as_deref(), Some("A cat."));
            assert_eq!(sample.images.len(), 1);
        }
        let with = |label: Value| sample.clone().with_label(Some(label), "labels[0]", &reader);
        assert_eq!(with(json!("42")).unwrap().reference.as_deref(), Some("42"));
        let number = with(json!({ "image": null, "images": IMAGE, "reference": 42 })).unwrap();
        assert_eq!((number.reference.as_deref(), number.images.len()), (Some("42"), 1));
        let objects = json!({ "image": { "url": IMAGE }, "images": [{ "url": IMAGE }, IMAGE] });
        assert_eq!(with(objects).unwrap().images.len(), 3);
        for nothing in
            [json!(null), json!(""), json!(3), json!([1]), json!({ "images": null, "reference": " " })]
        {
            assert_eq!(with(nothing).unwrap(), sample);
        }
        assert!(with(json!({ "image": "http://elsewhere/a.png" })).is_err());
    }
}
