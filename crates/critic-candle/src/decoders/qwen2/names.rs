//! Names of the decoder's tensors in GGUF files.

use crate::weights::PartNames;

/// llama.cpp's names for the names after the prefix.
pub(super) static IN_GGUF: PartNames = PartNames {
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
pub(super) const HEAD_IN_GGUF: &str = "output.weight";
