//! Judgements of several responses about one image; every scene has new images and texts.

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{CompareDevice, texts::Texts};
use crate::{drawn_image::DrawnImage, error::BenchError};

const QUESTION: &str = "What is to be seen in this picture, and where?";
const CRITERIA: &str = "Choose the response that tells more of what the picture shows, and nothing else.";

/// The beginning of the critic's turn.
pub(crate) const REPLY: &str = "Better: ";

/// The labels that may follow: the first response, the second, or neither. Their first tokens differ, and give
/// their probabilities.
pub(crate) const LABELS: [&str; 3] = ["1\n", "2\n", "tie\n"];

/// An image, and responses about it, that no other scene has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    seed: u64,
    device: CompareDevice,
}

impl Scene {
    /// The scene of a round for a program, with the image size for the processor.
    pub(crate) fn new(round: usize, program: usize) -> Self {
        Self { seed: (round * 1000 + program) as u64, device: CompareDevice::Cpu }
    }

    /// The scene with image and response sizes for another device.
    pub(crate) fn on(self, device: CompareDevice) -> Self {
        Self { device, ..self }
    }

    pub(crate) fn png(self) -> Result<Vec<u8>, BenchError> {
        DrawnImage::of_size(&mut StdRng::seed_from_u64(self.seed), self.device.image()).png(0)
    }

    pub(crate) fn base64(self) -> Result<String, BenchError> {
        Ok(BASE64_STANDARD.encode(self.png()?))
    }

    /// Generates `count` responses of about [`CompareDevice::response_tokens`] tokens each.
    pub(crate) fn responses(self, texts: Texts, count: usize) -> Vec<String> {
        let tokens = self.device.response_tokens();
        (0..count).map(|index| texts.tokens(tokens, self.seed * 100 + index as u64)).collect()
    }

    /// The body of `POST /reward`, or of `POST /judge` when there are two responses and a mode is added.
    pub(crate) fn body(self, responses: &[String]) -> Result<Value, BenchError> {
        Ok(json!({
            "question": QUESTION,
            "images": [self.base64()?],
            "responses": responses,
            "criteria": CRITERIA,
        }))
    }
}

/// The text of a prompt that compares two responses, equal to the one that the profile below makes Gavel build.
pub(crate) fn prompt(first: &str, second: &str) -> String {
    format!("Question: {QUESTION}\n{CRITERIA}\nResponse 1: {first}\nResponse 2: {second}\n")
}

/// A critic profile for the model of this name, so that all programs get the same text.
pub(crate) fn profile(model: &str) -> String {
    let format = |kind: &str, parts: &str, (reply, answer): (&str, &str)| {
        format!(
            "[[formats]]\nname = \"compared\"\nkind = \"{kind}\"\nparts = [\"Question: {{question}}\\n\", \
             \"{{criteria}}\\n\", \"{parts}\"]\nreply = \"{reply}\"\nanswer = \"{answer}\"\n\n"
        )
    };
    let pointwise = format("pointwise", "Response: {response}\\n", ("Score: ", "score_line"));
    let both = "Response 1: {response_1}\\nResponse 2: {response_2}\\n";
    let pairwise = format("pairwise", both, (REPLY, "better_line"));
    let name = Value::from(model.to_lowercase());
    format!(
        "name = {name}\ndefault_pointwise = \"helpfulness\"\ndefault_pairwise = \"better\"\n\n{pointwise}{pairwise}"
    )
}
