//! The lines of the judging log, and their redaction.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use judge::{Case, EncodedImage, RubricChoice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{hexadecimal::hexadecimal, options::Redaction};

/// Prefix of the digest that replaces redacted content.
const DIGEST: &str = "sha256:";

/// A verdict and its case, as the handler passes them on.
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) id: String,
    pub(super) case: Case,
    pub(super) rubric: RubricChoice,
    pub(super) verdict: Value,
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// The id of the request.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) rubric: LoggedRubric,
    /// Digest that identifies the question: equal for the same model, rubric and case.
    pub(crate) prompt_digest: String,
    pub(crate) case: LoggedCase,
    /// The body of the answer without its distribution.
    pub(crate) verdict: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distribution: Option<Value>,
}

/// The rubric of a verdict.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoggedRubric {
    pub(crate) name: String,
    /// The criteria, if the rubric was part of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) criteria: Option<String>,
}

/// The judged case. Redacted content is replaced by its digest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoggedCase {
    pub(crate) question: String,
    /// The images, in base64.
    pub(crate) images: Vec<String>,
    /// The frames of a video, in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) frames: Vec<String>,
    pub(crate) responses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// The digest, if a text of a line is the digest of redacted content.
pub(crate) fn digest_of(text: &str) -> Option<&str> {
    text.strip_prefix(DIGEST)
        .filter(|rest| rest.len() == 64 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn digest(bytes: &[u8]) -> String {
    named(Sha256::digest(bytes).into())
}

fn named(digest: [u8; 32]) -> String {
    format!("{DIGEST}{}", hexadecimal(&digest))
}

impl Entry {
    /// The images and frames of its case.
    pub(super) fn images(&self) -> impl Iterator<Item = &EncodedImage> {
        self.case.images.iter().chain(&self.case.frames)
    }

    /// The size of the texts of its case and of its criteria in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let criteria = match &self.rubric {
            RubricChoice::Inline { criteria, .. } => criteria.len(),
            RubricChoice::Default | RubricChoice::Named(_) => 0,
        };
        self.case.text_bytes() + criteria
    }

    /// Formats the line, including the newline. This runs on the writer's thread, because images are large.
    pub(super) fn into_line(self, model: &str, redactions: &[Redaction]) -> String {
        let Self { time, id, case, rubric, mut verdict } = self;
        let rubric = LoggedRubric {
            name: verdict["rubric"].as_str().unwrap_or_default().to_owned(),
            criteria: match rubric {
                RubricChoice::Inline { criteria, .. } => Some(criteria),
                RubricChoice::Default | RubricChoice::Named(_) => None,
            },
        };
        let seen = [digests(&case.images), digests(&case.frames)];
        let prompt_digest = prompt_digest(model, (&rubric, &verdict["scale"]), (&case, &seen));
        let redact = |text: String| {
            if redactions.contains(&Redaction::Text) { digest(text.as_bytes()) } else { text }
        };
        let distribution = verdict.as_object_mut().and_then(|members| members.remove("distribution"));
        hide_texts(&mut verdict, &redact);
        let images = if redactions.contains(&Redaction::Images) {
            seen
        } else {
            [whole(&case.images), whole(&case.frames)]
        };
        let line = Line {
            time: time.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            id,
            model: model.to_owned(),
            rubric: LoggedRubric { criteria: rubric.criteria.map(redact), ..rubric },
            prompt_digest,
            case: redacted_case(case, images, &redact),
            verdict,
            distribution,
        };
        let mut line = serde_json::to_string(&line).expect("a line can be written as JSON");
        line.push('\n');
        line
    }
}

/// The digest of what was judged by which model and rubric. `seen` are the digests of the images and frames.
fn prompt_digest(
    model: &str,
    (rubric, scale): (&LoggedRubric, &Value),
    (case, seen): (&Case, &[Vec<String>; 2]),
) -> String {
    let Case { question, images: _, frames: _, responses, reference, description } = case;
    let responses: Vec<&str> = responses.texts().collect();
    let LoggedRubric { name, criteria } = rubric;
    let asked = json!([model, name, criteria, scale, question, seen, responses, reference, description]);
    digest(asked.to_string().as_bytes())
}

/// The case with its texts as `redact` leaves them, and with the given images and frames.
fn redacted_case(
    case: Case,
    [images, frames]: [Vec<String>; 2],
    redact: &dyn Fn(String) -> String,
) -> LoggedCase {
    let Case { question, images: _, frames: _, responses, reference, description } = case;
    LoggedCase {
        question: redact(question),
        images,
        frames,
        responses: responses.into_texts().into_iter().map(redact).collect(),
        reference: reference.map(redact),
        description: description.map(redact),
    }
}

/// The digests of images.
fn digests(images: &[EncodedImage]) -> Vec<String> {
    images.iter().map(|image| named(image.digest())).collect()
}

/// Images in base64.
fn whole(images: &[EncodedImage]) -> Vec<String> {
    images.iter().map(|image| BASE64_STANDARD.encode(image.bytes())).collect()
}

/// The members of a verdict whose strings are words of this program, names or digests. A receipt has nothing else.
const PLAIN_MEMBERS: [&str; 13] = [
    "code",
    "confidence",
    "direction",
    "finish_reason",
    "flags",
    "kind",
    "model",
    "param",
    "preference",
    "receipt",
    "rubric",
    "strength",
    "type",
];

/// Redacts all other strings in a verdict and in those inside it: the texts of the critic, which repeat what they
/// judge, and the messages of errors, which may quote them. A member that is new is redacted until it is listed above.
fn hide_texts(value: &mut Value, redact: &dyn Fn(String) -> String) {
    match value {
        Value::String(text) => *text = redact(std::mem::take(text)),
        Value::Array(parts) => parts.iter_mut().for_each(|part| hide_texts(part, redact)),
        Value::Object(members) => {
            let texts = members.iter_mut().filter(|(name, _)| !PLAIN_MEMBERS.contains(&name.as_str()));
            texts.for_each(|(_, member)| hide_texts(member, redact));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_verdict_is_redacted_whatever_its_name() {
        let mut verdict = json!({
            "kind": "pairwise",
            "preference": "first",
            "scale": { "min": 1.0, "direction": "lower" },
            "flags": ["copied"],
            "justification": "A secret.",
            "orders": [{ "justification": "A secret.", "thoughts": ["A secret.", { "first": "A secret." }] }],
            "samples": [{ "error": { "message": "A secret.", "code": "unparsable_verdict" }, "text": "A secret." }],
            "receipt": { "model": "critic", "seed": 7 },
        });
        let plain = verdict.clone();
        hide_texts(&mut verdict, &|text| text);
        assert_eq!(verdict, plain);
        hide_texts(&mut verdict, &|text| digest(text.as_bytes()));
        let hidden = json!(digest(b"A secret."));
        let expected = plain.to_string().replace("\"A secret.\"", &hidden.to_string());
        assert_eq!(verdict.to_string(), expected);
    }
}
