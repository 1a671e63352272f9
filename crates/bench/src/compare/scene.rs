//! Judgements that are made of one image and several responses, each time others.

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{CompareDevice, texts::Texts};
use crate::{drawn_image::DrawnImage, error::BenchError};

const QUESTION: &str = "What is to be seen in this picture, and where?";
const CRITERIA: &str = "Choose the response that tells more of what the picture shows, and nothing else.";

/// How the critic's turn begins.
pub(crate) const REPLY: &str = "Better: ";

/// An image that no other one is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    seed: u64,
    device: CompareDevice,
}

impl Scene {
    /// The image of a round for a program, as large as it is where the processor computes.
    pub(crate) fn new(round: usize, program: usize) -> Self {
        Self { seed: (round * 1000 + program) as u64, device: CompareDevice::Cpu }
    }

    /// The same with an image and responses as large as they are for another device.
    pub(crate) fn on(self, device: CompareDevice) -> Self {
        Self { device, ..self }
    }

    pub(crate) fn png(self) -> Result<Vec<u8>, BenchError> {
        DrawnImage::of_size(&mut StdRng::seed_from_u64(self.seed), self.device.image()).png(0)
    }

    pub(crate) fn base64(self) -> Result<String, BenchError> {
        Ok(BASE64_STANDARD.encode(self.png()?))
    }

    /// So many responses, of about [`CompareDevice::response_tokens`] each.
    pub(crate) fn responses(self, texts: Texts, count: usize) -> Vec<String> {
        let tokens = self.device.response_tokens();
        (0..count).map(|index| texts.tokens(tokens, self.seed * 100 + index as u64)).collect()
    }

    /// A body of `POST /reward`, or of `POST /judge` when `responses` are two and more is said of how.
    pub(crate) fn body(self, responses: &[String]) -> Result<Value, BenchError> {
        Ok(json!({
            "question": QUESTION,
            "images": [self.base64()?],
            "responses": responses,
            "criteria": CRITERIA,
        }))
    }
}

/// The text of a prompt that compares two responses, as the profile below makes Gavel write it.
pub(crate) fn prompt(first: &str, second: &str) -> String {
    format!("Question: {QUESTION}\n{CRITERIA}\nResponse 1: {first}\nResponse 2: {second}\n")
}

/// A critic profile for the model of this name, so that all programs read the same words.
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
