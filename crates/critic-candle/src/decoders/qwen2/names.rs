//! What the decoder's tensors are called.

use crate::weights::PartNames;

/// The names of one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    /// Before `embed_tokens`, `layers`, `norm`; it ends with a dot.
    pub(crate) prefix: &'static str,
    /// The head's whole name.
    pub(crate) head: &'static str,
}

impl Names {
    /// The name of the embeddings.
    pub(crate) fn embedding(self) -> String {
        format!("{}embed_tokens.weight", self.prefix)
    }
}

/// The names of llama.cpp, for those behind the prefix.
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

/// What llama.cpp calls the head.
pub(crate) const HEAD_IN_GGUF: &str = "output.weight";
