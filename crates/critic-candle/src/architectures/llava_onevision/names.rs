//! What the tensors are called: native, and three generations of Hugging Face names, told apart by what is there.

use crate::weights::Weights;

/// The names of one checkpoint. Prefixes end with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    /// Before `embed_tokens`, `layers`, `norm`.
    pub(crate) text: &'static str,
    /// The head's whole name.
    pub(crate) head: &'static str,
    /// Before `embeddings` and `encoder`.
    pub(crate) vision: &'static str,
    /// The projector's two layers.
    pub(crate) projector: [&'static str; 2],
    /// The newline vector's whole name.
    pub(crate) newline: &'static str,
}

/// Longest first, since `model.` begins others.
const TEXT: &[&str] = &["language_model.model.", "model.language_model.", "model."];
const HEAD: &[&str] = &["lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight"];
const VISION: &[&str] = &[
    "model.vision_tower.vision_tower.vision_model.",
    "vision_tower.vision_model.",
    "model.vision_tower.vision_model.",
    "model.vision_tower.",
    "vision_tower.",
];
/// Names of a tower in a repository of its own.
const ALONE: &[&str] = &["vision_model.", ""];
const PROJECTOR: &[[&str; 2]] = &[
    ["multi_modal_projector.linear_1.", "multi_modal_projector.linear_2."],
    ["model.multi_modal_projector.linear_1.", "model.multi_modal_projector.linear_2."],
    ["model.mm_projector.0.", "model.mm_projector.2."],
];
const NEWLINE: &[&str] = &["image_newline", "model.image_newline"];

/// A tensor that every tower has, by which its prefix is found.
const TOWER_PROBE: &str = "embeddings.patch_embedding.weight";

impl Names {
    /// The names that `weights` uses. Where nothing matches, the first form is taken, and loading names what is missing.
    pub(crate) fn detect(weights: &Weights) -> Self {
        let projector = PROJECTOR.iter().find(|names| weights.contains(&format!("{}weight", names[0])));
        Self {
            text: weights.prefix_of(TEXT, "embed_tokens.weight"),
            head: weights.prefix_of(HEAD, ""),
            vision: weights.prefix_of(VISION, TOWER_PROBE),
            projector: *projector.unwrap_or(&PROJECTOR[0]),
            newline: weights.prefix_of(NEWLINE, ""),
        }
    }

    /// Whether the vision tower is in the checkpoint.
    pub(crate) fn has_vision(&self, weights: &Weights) -> bool {
        weights.contains(&format!("{}{TOWER_PROBE}", self.vision))
    }

    /// The prefix in a repository that holds a tower alone.
    pub(crate) fn vision_alone(weights: &Weights) -> &'static str {
        weights.prefix_of(ALONE, TOWER_PROBE)
    }
}
