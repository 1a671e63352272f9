//! Names of the decoder's tensors.

use crate::weights::PartNames;

/// The names that one checkpoint uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    /// Prefix before `embed_tokens`, `layers` and `norm`; it ends with a dot.
    pub(crate) prefix: &'static str,
    /// Full name of the head.
    pub(crate) head: &'static str,
}

impl Names {
    /// The names of published checkpoints in the Hugging Face layout.
    pub(crate) const PUBLISHED: Self =
        Self { prefix: "language_model.model.", head: "language_model.lm_head.weight" };

    /// Full name of the embedding table.
    pub(crate) fn embedding(self) -> String {
        format!("{}embed_tokens.weight", self.prefix)
    }
}

/// llama.cpp's names for the names after the prefix.
pub(crate) static IN_GGUF: PartNames = PartNames {
    layers: "layers.",
    layers_in_gguf: "blk.",
    whole: &[("embed_tokens", &["token_embd"]), ("norm", &["output_norm"])],
    of_layer: &[
        ("input_layernorm", &["attn_norm"]),
        ("self_attn.q_proj", &["attn_q"]),
        ("self_attn.k_proj", &["attn_k"]),
        ("self_attn.v_proj", &["attn_v"]),
        ("self_attn.o_proj", &["attn_output"]),
        ("post_attention_layernorm", &["ffn_norm"]),
        ("mlp.gate_proj", &["ffn_gate"]),
        ("mlp.up_proj", &["ffn_up"]),
        ("mlp.down_proj", &["ffn_down"]),
    ],
};

/// llama.cpp's name of the head.
pub(crate) const HEAD_IN_GGUF: &str = "output.weight";
