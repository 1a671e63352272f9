//! What the tensors are called: native, and three generations of Hugging Face names, told apart by what is there; and
//! what each of them is called in GGUF.

use crate::weights::{GgufNaming, Weights};

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

/// The names of llama.cpp: its Qwen2, and its projector files, which have the tower too.
pub(crate) static GGUF: GgufNaming = GgufNaming { architectures: &["qwen2", "clip"], names: in_gguf };

/// Parts of names before and after the number of a layer, ours and llama.cpp's.
type Parts = &'static [(&'static str, &'static [&'static str])];

const TEXT_PARTS: Parts = &[("embed_tokens", &["token_embd"]), ("norm", &["output_norm"])];
const TEXT_LAYER_PARTS: Parts = &[
    ("input_layernorm", &["attn_norm"]),
    ("self_attn.q_proj", &["attn_q"]),
    ("self_attn.k_proj", &["attn_k"]),
    ("self_attn.v_proj", &["attn_v"]),
    ("self_attn.o_proj", &["attn_output"]),
    ("post_attention_layernorm", &["ffn_norm"]),
    ("mlp.gate_proj", &["ffn_gate"]),
    ("mlp.up_proj", &["ffn_up"]),
    ("mlp.down_proj", &["ffn_down"]),
];
const VISION_PARTS: Parts = &[
    ("embeddings.patch_embedding", &["v.patch_embd"]),
    ("embeddings.position_embedding", &["v.position_embd"]),
    ("post_layernorm", &["v.post_ln"]),
];
const VISION_LAYER_PARTS: Parts = &[
    ("layer_norm1", &["ln1"]),
    ("layer_norm2", &["ln2"]),
    ("self_attn.q_proj", &["attn_q"]),
    ("self_attn.k_proj", &["attn_k"]),
    ("self_attn.v_proj", &["attn_v"]),
    ("self_attn.out_proj", &["attn_out"]),
    // The older converter has these two the wrong way round.
    ("mlp.fc1", &["ffn_up", "ffn_down"]),
    ("mlp.fc2", &["ffn_down", "ffn_up"]),
];
const NEWLINE_IN_GGUF: [&str; 2] = ["v.image_newline", "model.image_newline"];

/// What the tensor that we call `name` may be called in GGUF; none for what is no part of the model.
fn in_gguf(name: &str) -> Vec<String> {
    if NEWLINE.contains(&name) {
        return NEWLINE_IN_GGUF.map(str::to_owned).to_vec();
    }
    if HEAD.contains(&name) {
        return vec!["output.weight".into()];
    }
    let layers = PROJECTOR.iter().flat_map(|names| [(names[0], "mm.0."), (names[1], "mm.2.")]);
    for (prefix, other) in layers {
        if let Some(rest) = name.strip_prefix(prefix) {
            return vec![format!("{other}{rest}")];
        }
    }
    let vision = VISION.iter().filter_map(|prefix| name.strip_prefix(prefix));
    let vision =
        vision.flat_map(|rest| translate(rest, "encoder.layers.", (VISION_PARTS, VISION_LAYER_PARTS)));
    let text = TEXT.iter().filter_map(|prefix| name.strip_prefix(prefix));
    let text = text.flat_map(|rest| translate(rest, "layers.", (TEXT_PARTS, TEXT_LAYER_PARTS)));
    // Of a tower only layers have names that a decoder's have too.
    let in_layer = |name: String| match name.strip_prefix("blk.") {
        Some(rest) => format!("v.blk.{rest}"),
        None => name,
    };
    let vision: Vec<String> = vision.map(in_layer).collect();
    if vision.is_empty() { text.collect() } else { vision }
}

/// Translates a name without its prefix; `layers` is what stands before the number of a layer.
fn translate(name: &str, layers: &str, (whole, of_layer): (Parts, Parts)) -> Vec<String> {
    let translated = |name: &str, parts: Parts| -> Vec<String> {
        let Some((part, kind)) = name.rsplit_once('.') else { return Vec::new() };
        let found = parts.iter().find(|(ours, _)| *ours == part);
        found.into_iter().flat_map(|(_, theirs)| *theirs).map(|part| format!("{part}.{kind}")).collect()
    };
    match name.strip_prefix(layers).and_then(|rest| rest.split_once('.')) {
        Some((index, part)) => {
            translated(part, of_layer).into_iter().map(|name| format!("blk.{index}.{name}")).collect()
        }
        None => translated(name, whole),
    }
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
