//! Samples: the questions and answers of trainers and rankers, as cases to judge.

use std::sync::Arc;

use judge::{Case, EncodedImage, JudgeError, Responses};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    inline_images::{take_data_urls, take_marked_images},
    transcript::{Question, Transcript},
};
use crate::{
    dialects::{content::ImageUrl, one_or_many::OneOrMany},
    error::{ApiError, ErrorCode, image_of},
    images::ImageReader,
    json::errors,
};

/// A question and the answer to score, with images and a reference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// What the answer is scored for, before the question; shared by all samples of a request.
    pub(super) instruction: Option<Arc<str>>,
    /// Shared by all answers to the question: a body may have tens of thousands of answers to a question of
    /// megabytes.
    pub(super) question: Arc<str>,
    pub(super) response: String,
    pub(super) images: Vec<EncodedImage>,
    pub(super) reference: Option<String>,
    /// The images of the sample's label; `None` if it has none.
    pub(super) label_images: Option<LabelImages>,
}

/// Those of a sample's images that come from its label: the last ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LabelImages {
    /// The index of the first of them.
    pub(super) first: usize,
    /// The path of the label in the request.
    pub(super) path: String,
}

impl LabelImages {
    /// The path of the label, if one of its images caused an error.
    pub(super) fn at_fault(&self, error: &JudgeError) -> Option<String> {
        image_of(error).filter(|index| *index >= self.first).map(|_| self.path.clone())
    }
}

/// The samples of a member of a body.
pub(super) struct MemberSamples {
    pub(super) samples: Vec<Sample>,
    /// The name of the member.
    pub(super) member: &'static str,
}

/// The members of a label. Trainers have no other place for images.
#[derive(Debug, Default, Deserialize)]
struct Label {
    image: Option<ImageUrl>,
    images: Option<OneOrMany<ImageUrl>>,
    question: Option<String>,
    reference: Option<Value>,
}

impl Label {
    /// The names of the members.
    const MEMBERS: [&str; 4] = ["image", "images", "question", "reference"];

    /// Whether an object has any of the members.
    fn is_in(members: &Map<String, Value>) -> bool {
        Self::MEMBERS.iter().any(|name| members.contains_key(*name))
    }

    /// The members of a label that is written as JSON in a string; `None` for any other value.
    fn in_text(label: &Value) -> Option<Map<String, Value>> {
        let Ok(Value::Object(members)) = serde_json::from_str(label.as_str()?) else { return None };
        (members.is_empty() || Self::is_in(&members)).then_some(members)
    }

    /// Parses the label at `path`.
    ///
    /// # Errors
    /// When an object that is not empty has none of the members, or one is invalid.
    fn parse(members: Map<String, Value>, path: &str) -> Result<Self, ApiError> {
        if !members.is_empty() && !Self::is_in(&members) {
            let message =
                format!("{path} has none of the members {} that are read here.", Self::MEMBERS.join(", "));
            return Err(ApiError::invalid(path, message));
        }
        serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
            let member_path = match error.path().to_string() {
                whole if whole == "." => path.to_owned(),
                member => format!("{path}.{member}"),
            };
            errors::refusal((&member_path, "field"), &error.into_inner().to_string())
        })
    }
}

/// The correct answer at `path` as text, since data sets have texts, numbers, booleans and lists of them; `None` if
/// it is empty.
///
/// # Errors
/// For an object, and for a list of labels: what is in these would not be shown.
fn reference_text(reference: Value, path: &str) -> Result<Option<String>, ApiError> {
    let is_label = |value: &Value| value.as_object().is_some_and(Label::is_in);
    let text = match reference {
        Value::Null => return Ok(None),
        Value::Array(values) if values.is_empty() => return Ok(None),
        Value::Array(values) if values.iter().any(is_label) => {
            let message =
                format!("{path} is a list of labels; give one object, whose images may be several.");
            return Err(ApiError::invalid(path, message));
        }
        Value::Object(_) => return Err(errors::no_form(path)),
        Value::String(text) => text,
        plain @ (Value::Bool(_) | Value::Number(_) | Value::Array(_)) => plain.to_string(),
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

impl Sample {
    /// A sample with a question and an answer only.
    pub(super) fn new(question: impl Into<Arc<str>>, response: impl Into<String>) -> Self {
        Self {
            instruction: None,
            question: question.into(),
            response: response.into(),
            images: Vec::new(),
            reference: None,
            label_images: None,
        }
    }

    /// The last answer of a transcript. It begins where `prompt` ends, if that is given.
    ///
    /// # Errors
    /// When the text is not a transcript in a known chat format, or an image in the question cannot be read or is one
    /// too many.
    pub(super) fn of_transcript(
        text: &str,
        prompt: Option<&str>,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let after = prompt.and_then(|prompt| Transcript::after(prompt, text));
        let transcript = after.or_else(|| Transcript::parse(text));
        let Transcript { question, answer } = transcript.ok_or_else(|| unknown_transcript(path))?;
        // Images are read from the question only: answers, this one or earlier ones, are text of the policy that is
        // trained and must not add images.
        let mut images = Vec::new();
        let question = question.read(|text| {
            let text = take_data_urls(text, path, reader, &mut images)?;
            take_marked_images(&text, path, reader, &mut images)
        })?;
        reader.count(images.len(), images.len(), path)?;
        Ok(Self { images, ..Self::new(question.trim(), answer) })
    }

    /// The last answer of the transcript at `path`, whose question is known from elsewhere.
    ///
    /// # Errors
    /// When the text is not a transcript in a known chat format.
    pub(super) fn answer_of_transcript(text: &str, path: &str) -> Result<String, ApiError> {
        Transcript::parse(text).map(|transcript| transcript.answer).ok_or_else(|| unknown_transcript(path))
    }

    /// An answer to a conversation with `images`, whose text may name further ones.
    pub(super) fn of_turns(
        question: &Question,
        mut images: Vec<EncodedImage>,
        response: String,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let question = question.read(|text| take_marked_images(text, path, reader, &mut images))?;
        Ok(Self { images, ..Self::new(question.trim(), response) })
    }

    /// Adds the content of a label: an object, also as JSON in a string, with images, a question that replaces the
    /// sample's or a reference. Any other string is a reference, also one with JSON of another kind, since data sets
    /// have answers in JSON; and so are a number, a boolean and a list, as their JSON.
    ///
    /// # Errors
    /// When an object that is not in a string has none of these members, which would otherwise be ignored silently,
    /// one is invalid, a list has labels, or there are too many images.
    pub(super) fn with_label(
        mut self,
        label: Option<Value>,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let members = match label.unwrap_or_default() {
            Value::Object(members) => members,
            plain => match Label::in_text(&plain) {
                Some(members) => members,
                None => {
                    self.reference = reference_text(plain, path)?.or(self.reference);
                    return Ok(self);
                }
            },
        };
        self.with_label_members(Label::parse(members, path)?, path, reader)
    }

    /// Adds the content of a label that is an object at `path`.
    fn with_label_members(
        mut self,
        label: Label,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<Self, ApiError> {
        let first = self.images.len();
        // Data sets write an empty question where they have none.
        if let Some(question) = label.question.filter(|question| !question.trim().is_empty()) {
            self.question = take_marked_images(&question, path, reader, &mut self.images)?.trim().into();
        }
        let images = label.images.map_or_else(Vec::new, OneOrMany::into_vec);
        for image in label.image.into_iter().chain(images) {
            self.images.push(image.read(path, reader)?);
        }
        if self.images.len() > first {
            reader.count(self.images.len() - first, self.images.len(), path)?;
            self.label_images = Some(LabelImages { first, path: path.to_owned() });
        }
        let reference = reference_text(label.reference.unwrap_or_default(), &format!("{path}.reference"))?;
        self.reference = reference.or(self.reference);
        Ok(self)
    }

    /// The number of bytes of its texts.
    pub(super) fn text_bytes(&self) -> usize {
        let optional = |text: Option<&str>| text.map_or(0, str::len);
        let more = optional(self.instruction.as_deref()) + optional(self.reference.as_deref());
        self.question.len() + self.response.len() + more
    }

    /// The question that the critic reads, without the white space around it.
    fn whole_question(&self) -> String {
        let question = self.question.trim();
        match &self.instruction {
            Some(instruction) => format!("{instruction}\n\n{question}"),
            None => question.to_owned(),
        }
    }

    /// The response without the white space around it, which a transcript does not tell from that of its format.
    fn bare_response(&self) -> String {
        self.response.trim().to_owned()
    }

    /// The case to judge.
    pub(super) fn into_case(self) -> Case {
        let question = self.whole_question();
        let responses = Responses::One(self.bare_response());
        Case { images: self.images, reference: self.reference, ..Case::new(question, responses) }
    }

    /// The case to compare the response, which is the first, with the reference; `None` without a reference.
    pub(super) fn into_pair(self) -> Option<Case> {
        let question = self.whole_question();
        let response = self.bare_response();
        let responses = Responses::Pair(response, self.reference?);
        Some(Case { images: self.images, ..Case::new(question, responses) })
    }
}

/// The error for a text at `path` that cannot be split into turns.
fn unknown_transcript(path: &str) -> ApiError {
    let message = format!(
        "{path} is no transcript of a chat format that is known here, with a question and an answer to it."
    );
    ApiError::invalid(path, message).with_code(ErrorCode::UnknownTranscript)
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
        let sample = Sample::of_transcript(&text, None, "query[0]", &reader).unwrap();
        assert_eq!((&*sample.question, sample.response.as_str()), ("What is it?", "A cat."));
        assert_eq!(sample.images, [EncodedImage::new([0, 1, 2])]);
        assert!(Sample::of_transcript("A cat.", None, "query[0]", &reader).is_err());
        // Data URLs in an answer add no image, and do not affect that of the question.
        for answer in ["data:image/png;base64,AAEC", "data:image/png;base64,!", "Yes"] {
            let question = format!("Is it? {IMAGE}");
            let text = format!("{question}{answer}");
            let sample = Sample::of_transcript(&text, Some(&question), "query[0]", &reader).unwrap();
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
        let named = with(json!({ "question": "<image:file-1> Which animal?" })).unwrap();
        assert_eq!((&*named.question, named.images.len()), ("Which animal?", 1));
        assert_eq!(with(json!({ "question": "<image:a.png>" })).unwrap_err().code(), ErrorCode::UnknownImage);
        assert_eq!(with(json!("42")).unwrap().reference.as_deref(), Some("42"));
        let number = with(json!({ "image": null, "images": IMAGE, "reference": 42 })).unwrap();
        assert_eq!((number.reference.as_deref(), number.images.len()), (Some("42"), 1));
        let objects = json!({ "image": { "url": IMAGE }, "images": [{ "url": IMAGE }, IMAGE] });
        assert_eq!(with(objects).unwrap().images.len(), 3);
        assert_eq!(with(json!(3)).unwrap().reference.as_deref(), Some("3"));
        let answer = json!({ "answer": "4" }).to_string();
        for text in ["{ not JSON", "[4]", &answer] {
            assert_eq!(with(json!(text)).unwrap().reference.as_deref(), Some(text));
        }
        for (value, text) in [
            (json!(true), "true"),
            (json!(false), "false"),
            (json!(["orange"]), r#"["orange"]"#),
            (json!([1, "two", true, null, [3]]), r#"[1,"two",true,null,[3]]"#),
            (json!([{ "answer": 4 }]), r#"[{"answer":4}]"#),
        ] {
            for label in [value.clone(), json!({ "reference": value })] {
                assert_eq!(with(label).unwrap().reference.as_deref(), Some(text));
            }
        }
        for nothing in [
            json!(null),
            json!(""),
            json!([]),
            json!({}),
            json!("{}"),
            json!({ "reference": [] }),
            json!({ "question": "" }),
            json!({ "question": " \n" }),
        ] {
            assert_eq!(with(nothing).unwrap(), sample);
        }
        assert_eq!(with(json!({ "images": null, "reference": " " })).unwrap().reference, None);
        for (wrong, param) in [
            (json!({ "image": "http://elsewhere/a.png" }), "labels[0]"),
            (json!({ "img": IMAGE }), "labels[0]"),
            (json!({ "answer": 3 }), "labels[0]"),
            (json!(["orange", { "image": IMAGE }]), "labels[0]"),
            (json!({ "reference": [{ "reference": "orange" }] }), "labels[0].reference"),
            (json!({ "reference": { "answer": 3 } }), "labels[0].reference"),
            (json!(json!({ "question": 3 }).to_string()), "labels[0].question"),
            (json!({ "question": 3 }), "labels[0].question"),
        ] {
            assert_eq!(with(wrong.clone()).unwrap_err().param(), Some(param), "{wrong}");
        }
    }

    #[test]
    fn a_mark_names_an_image_or_is_refused() {
        let off = RemoteImages::default();
        let reader = ImageReader::new(&off);
        let sample_of = |question: &str| {
            let mut images = Vec::new();
            let plain = take_marked_images(question, "query[0]", &reader, &mut images)?;
            Ok::<_, ApiError>(Sample { images, ..Sample::new(plain.trim(), "A") })
        };
        let digest = "0123456789abcdef".repeat(4);
        for name in ["file-0123", &digest, &digest.to_uppercase(), &format!("sha256:{digest}")] {
            let sample = sample_of(&format!("<image:{name}>\nWhat is it?")).unwrap();
            assert_eq!((&*sample.question, sample.images.len()), ("What is it?", 1), "{name}");
        }
        for name in ["SHA256", "sha256:abc", &digest[1..], "scene.png", "https://a.example/b.png", ""] {
            let error = sample_of(&format!("<image:{name}> What is it?")).unwrap_err();
            assert_eq!((error.code(), error.param()), (ErrorCode::UnknownImage, Some("query[0]")), "{name}");
        }
        for question in
            ["<image>\nWhat is it?", "What does <image: mean?", "a <image: b\n c > d", "<image:<b>"]
        {
            assert_eq!(&*sample_of(question).unwrap().question, question);
        }
        // Marks in the policy's earlier answers add no image and are not an error of the trainer.
        let own = "<image:x> <image:file-1> data:image/png;base64,AAEC";
        let text = format!("USER: <image:file-2>Hi. ASSISTANT: {own}</s>USER: And? ASSISTANT: No.</s>");
        let sample = Sample::of_transcript(&text, None, "query[0]", &reader).unwrap();
        assert_eq!(&*sample.question, format!("User: Hi.\nAssistant: {own}\nUser: And?"));
        assert_eq!(sample.images.len(), 1);
        // A data URL in the place of a name adds the image, and nothing of the mark is left.
        let text = format!(
            "<|im_start|>user\n<image:{IMAGE}>Is it?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>"
        );
        let sample = Sample::of_transcript(&text, None, "query[0]", &reader).unwrap();
        assert_eq!((&*sample.question, sample.images.len()), ("Is it?", 1));
    }

    #[test]
    fn images_of_a_label_are_told_from_those_of_the_question() {
        let off = RemoteImages::default();
        let reader = ImageReader::new(&off);
        let sample = Sample { images: vec![EncodedImage::new([1])], ..Sample::new("Q", "A") };
        let sample = sample.with_label(Some(json!({ "image": IMAGE })), "labels[7]", &reader).unwrap();
        let expected = LabelImages { first: 1, path: "labels[7]".to_owned() };
        assert_eq!(sample.label_images, Some(expected));
        assert_eq!(Sample::new("Q", "A").label_images, None);
    }
}
