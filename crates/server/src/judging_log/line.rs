//! A line of the judging log, and what is left out of it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use judge::{Case, EncodedImage, Responses, RubricChoice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{command::Redaction, hexadecimal::hexadecimal};

/// What stands before the digest of something that was left out.
const DIGEST: &str = "sha256:";

/// A verdict and what it is about, as the handler had them.
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) id: String,
    pub(super) case: Case,
    pub(super) rubric: RubricChoice,
    pub(super) verdict: Value,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// The request's.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) rubric: LoggedRubric,
    /// Names what was asked: the same model, rubric and case have the same digest.
    pub(crate) prompt_digest: String,
    pub(crate) case: LoggedCase,
    /// The body of the answer, without its distribution.
    pub(crate) verdict: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distribution: Option<Value>,
}

/// By what was judged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoggedRubric {
    pub(crate) name: String,
    /// Of a rubric that the request brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) criteria: Option<String>,
}

/// What was judged. What was left out is told by its digest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoggedCase {
    pub(crate) question: String,
    /// In base64.
    pub(crate) images: Vec<String>,
    /// Of a video, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) frames: Vec<String>,
    pub(crate) responses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// Whether a text of a line is only the digest of what stood there.
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
    /// The line, with its end. It is made on the writer's thread, as images are large.
    pub(super) fn into_line(self, model: &str, redactions: &[Redaction]) -> String {
        let hides = |wanted: Redaction| redactions.contains(&wanted);
        let text = |text: String| if hides(Redaction::Text) { digest(text.as_bytes()) } else { text };
        let Case { question, images, frames, responses, reference, description } = self.case;
        let digests = |images: &[EncodedImage]| -> Vec<String> {
            images.iter().map(|image| named(image.digest())).collect()
        };
        let seen = [digests(&images), digests(&frames)];
        let mut verdict = self.verdict;
        let name = verdict["rubric"].as_str().unwrap_or_default().to_owned();
        let criteria = match self.rubric {
            RubricChoice::Inline { criteria, .. } => Some(criteria),
            RubricChoice::Default | RubricChoice::Named(_) => None,
        };
        let responses = match responses {
            Responses::One(one) => vec![one],
            Responses::Pair(first, second) => vec![first, second],
        };
        let asked = json!([
            model,
            name,
            criteria,
            verdict["scale"],
            question,
            seen,
            responses,
            reference,
            description
        ]);
        let prompt_digest = digest(asked.to_string().as_bytes());
        let mut distribution = None;
        if let Value::Object(members) = &mut verdict {
            distribution = members.remove("distribution");
            hide_reasons(members, &text);
        }
        let whole = |images: &[EncodedImage]| {
            images.iter().map(|image| BASE64_STANDARD.encode(image.bytes())).collect()
        };
        let [images, frames] = if hides(Redaction::Images) { seen } else { [whole(&images), whole(&frames)] };
        let line = Line {
            time: self.time.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
            id: self.id,
            model: model.to_owned(),
            rubric: LoggedRubric { name, criteria: criteria.map(text) },
            prompt_digest,
            case: LoggedCase {
                question: text(question),
                images,
                frames,
                responses: responses.into_iter().map(text).collect(),
                reference: reference.map(text),
                description: description.map(text),
            },
            verdict,
            distribution,
        };
        let mut line = serde_json::to_string(&line).expect("a line can be written as JSON");
        line.push('\n');
        line
    }
}

/// Justifications repeat what they judge; each order of a pair has its own.
fn hide_reasons(members: &mut serde_json::Map<String, Value>, text: &dyn Fn(String) -> String) {
    if let Some(Value::String(reasons)) = members.get_mut("justification") {
        *reasons = text(std::mem::take(reasons));
    }
    if let Some(Value::Array(orders)) = members.get_mut("orders") {
        orders.iter_mut().filter_map(Value::as_object_mut).for_each(|order| hide_reasons(order, text));
    }
}
