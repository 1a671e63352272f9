//! Names of the tensors: native ones and three generations of Hugging Face names, detected by the tensors that
//! exist, and the names of each in GGUF.

use crate::{
    decoders::{DecoderNames, QWEN2},
    vision::SIGLIP_IN_GGUF,
    weights::{GgufNaming, Weights},
};

/// The names that one checkpoint uses. Prefixes end with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    /// Names of the decoder.
    pub(super) decoder: DecoderNames,
    /// Prefix of the vision tower, before `embeddings` and `encoder`.
    pub(super) vision: &'static str,
    /// Prefixes of the projector's two layers.
    pub(super) projector: [&'static str; 2],
    /// Full name of the newline vector.
    pub(super) newline: &'static str,
}

/// Longest first, since `model.` is a prefix of another.
const TEXT: &[&str] = &["language_model.model.", "model.language_model.", "model."];
const HEAD: &[&str] = &["lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight"];
const VISION: &[&str] = &[
    "model.vision_tower.vision_tower.vision_model.",
    PUBLISHED_VISION,
    "model.vision_tower.vision_model.",
    "model.vision_tower.",
    "vision_tower.",
];
/// The tower's prefix in published checkpoints in the Hugging Face layout.
const PUBLISHED_VISION: &str = "vision_tower.vision_model.";
/// Prefixes of a tower in a repository of its own.
const ALONE: &[&str] = &["vision_model.", ""];
const PROJECTOR: &[[&str; 2]] = &[
    ["multi_modal_projector.linear_1.", "multi_modal_projector.linear_2."],
    ["model.multi_modal_projector.linear_1.", "model.multi_modal_projector.linear_2."],
    ["model.mm_projector.0.", "model.mm_projector.2."],
];
const NEWLINE: &[&str] = &["image_newline", "model.image_newline"];

/// A tensor that every tower has, by which its prefix is detected.
const TOWER_PROBE: &str = "embeddings.patch_embedding.weight";

impl Names {
    /// Detects the names that `weights` use. Where nothing matches, returns the first candidate, so that loading
    /// reports the missing tensor.
    pub(super) fn detect(weights: &Weights) -> Self {
        let projector = PROJECTOR.iter().find(|names| weights.contains(&format!("{}weight", names[0])));
        Self {
            decoder: DecoderNames {
                prefix: weights.prefix_of(TEXT, "embed_tokens.weight"),
                head: weights.prefix_of(HEAD, ""),
            },
            vision: weights.prefix_of(VISION, TOWER_PROBE),
            projector: *projector.unwrap_or(&PROJECTOR[0]),
            newline: weights.prefix_of(NEWLINE, ""),
        }
    }

    /// The names in published checkpoints in the Hugging Face layout.
    pub(super) fn published() -> Self {
        Self {
            decoder: QWEN2.published,
            vision: PUBLISHED_VISION,
            projector: PROJECTOR[0],
            newline: NEWLINE[0],
        }
    }

    /// Whether the vision tower is in the checkpoint.
    pub(super) fn has_vision(&self, weights: &Weights) -> bool {
        weights.contains(&format!("{}{TOWER_PROBE}", self.vision))
    }

    /// Prefix of the tower in a repository of its own.
    pub(super) fn vision_alone(weights: &Weights) -> &'static str {
        weights.prefix_of(ALONE, TOWER_PROBE)
    }
}

/// The names of llama.cpp: those of its Qwen2, and those of its projector files, which also contain the tower.
pub(super) static GGUF: GgufNaming =
    GgufNaming { architectures: &[QWEN2.gguf.architecture, "clip"], names: in_gguf };

const NEWLINE_IN_GGUF: [&str; 2] = ["v.image_newline", "model.image_newline"];

/// The names that tensor `name` may have in GGUF files; empty for a tensor that is not part of the model.
fn in_gguf(name: &str) -> Vec<String> {
    if NEWLINE.contains(&name) {
        return NEWLINE_IN_GGUF.map(str::to_owned).to_vec();
    }
    if HEAD.contains(&name) {
        return vec![QWEN2.gguf.head.into()];
    }
    let layers = PROJECTOR.iter().flat_map(|names| [(names[0], "mm.0."), (names[1], "mm.2.")]);
    for (prefix, other) in layers {
        if let Some(rest) = name.strip_prefix(prefix) {
            return vec![format!("{other}{rest}")];
        }
    }
    // The tower is tried first: the decoder's prefix `model.` also matches names of the tower.
    let vision = VISION.iter().filter_map(|prefix| name.strip_prefix(prefix));
    let vision: Vec<String> = vision.flat_map(|rest| SIGLIP_IN_GGUF.in_gguf(rest)).collect();
    if !vision.is_empty() {
        return vision;
    }
    let text = TEXT.iter().filter_map(|prefix| name.strip_prefix(prefix));
    text.flat_map(|rest| QWEN2.gguf.names.in_gguf(rest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_has_the_same_names_in_gguf() {
        for (ours, theirs) in [
            ("model.embed_tokens.weight", &["token_embd.weight"][..]),
            ("language_model.lm_head.weight", &["output.weight"]),
            ("model.language_model.norm.weight", &["output_norm.weight"]),
            ("language_model.model.layers.12.self_attn.q_proj.bias", &["blk.12.attn_q.bias"]),
            ("model.layers.3.post_attention_layernorm.weight", &["blk.3.ffn_norm.weight"]),
            ("model.layers.3.mlp.up_proj.weight", &["blk.3.ffn_up.weight"]),
            (
                "model.vision_tower.vision_tower.vision_model.encoder.layers.2.mlp.fc1.bias",
                &["v.blk.2.ffn_up.bias", "v.blk.2.ffn_down.bias"],
            ),
            ("model.vision_tower.encoder.layers.0.layer_norm1.weight", &["v.blk.0.ln1.weight"]),
            ("vision_tower.vision_model.embeddings.patch_embedding.bias", &["v.patch_embd.bias"]),
            ("model.mm_projector.2.weight", &["mm.2.weight"]),
            ("multi_modal_projector.linear_1.bias", &["mm.0.bias"]),
            ("image_newline", &["v.image_newline", "model.image_newline"]),
            ("model.rm_head.weight", &[]),
        ] {
            assert_eq!(in_gguf(ours), theirs, "{ours}");
        }
    }
}
