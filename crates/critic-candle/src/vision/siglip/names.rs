//! Names of the tower's tensors.

use crate::weights::PartNames;

/// Parts outside of the layers.
pub(super) const PATCHES: &str = "embeddings.patch_embedding";
pub(super) const POSITIONS: &str = "embeddings.position_embedding";
pub(super) const LAST_NORM: &str = "post_layernorm";

/// The prefix of layers, before their number.
pub(super) const LAYERS: &str = "encoder.layers.";

/// Parts of a layer.
pub(super) const ATTENTION_NORM: &str = "layer_norm1";
pub(super) const QUERIES: &str = "self_attn.q_proj";
pub(super) const KEYS: &str = "self_attn.k_proj";
pub(super) const VALUES: &str = "self_attn.v_proj";
pub(super) const ATTENTION_OUTPUT: &str = "self_attn.out_proj";
pub(super) const MLP_NORM: &str = "layer_norm2";
pub(super) const EXPAND: &str = "mlp.fc1";
pub(super) const CONTRACT: &str = "mlp.fc2";

/// llama.cpp's names for the names after the prefix.
pub(crate) static IN_GGUF: PartNames = PartNames {
    layers: LAYERS,
    layers_in_gguf: "v.blk.",
    whole: &[(PATCHES, &["v.patch_embd"]), (POSITIONS, &["v.position_embd"]), (LAST_NORM, &["v.post_ln"])],
    of_layer: &[
        (ATTENTION_NORM, &["ln1"]),
        (MLP_NORM, &["ln2"]),
        (QUERIES, &["attn_q"]),
        (KEYS, &["attn_k"]),
        (VALUES, &["attn_v"]),
        (ATTENTION_OUTPUT, &["attn_out"]),
        // Older converters swap these two names.
        (EXPAND, &["ffn_up", "ffn_down"]),
        (CONTRACT, &["ffn_down", "ffn_up"]),
    ],
};
