//! Names of the tower's tensors.

use crate::weights::PartNames;

/// llama.cpp's names for the names after the prefix.
pub(crate) static IN_GGUF: PartNames = PartNames {
    layers: "encoder.layers.",
    layers_in_gguf: "v.blk.",
    whole: &[
        ("embeddings.patch_embedding", &["v.patch_embd"]),
        ("embeddings.position_embedding", &["v.position_embd"]),
        ("post_layernorm", &["v.post_ln"]),
    ],
    of_layer: &[
        ("layer_norm1", &["ln1"]),
        ("layer_norm2", &["ln2"]),
        ("self_attn.q_proj", &["attn_q"]),
        ("self_attn.k_proj", &["attn_k"]),
        ("self_attn.v_proj", &["attn_v"]),
        ("self_attn.out_proj", &["attn_out"]),
        // Older converters swap these two names.
        ("mlp.fc1", &["ffn_up", "ffn_down"]),
        ("mlp.fc2", &["ffn_down", "ffn_up"]),
    ],
};
