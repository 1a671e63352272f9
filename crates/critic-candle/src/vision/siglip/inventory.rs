//! The list of the tower's tensors, by which checkpoints of random weights are drawn.

use super::names::{
    ATTENTION_NORM, ATTENTION_OUTPUT, CONTRACT, EXPAND, KEYS, LAST_NORM, LAYERS, MLP_NORM, PATCHES,
    POSITIONS, QUERIES, VALUES,
};
use crate::vision::{ImageTensor, ImageTensorRole, VisionConfig};

/// All tensors of a tower whose names begin with `prefix`, in the order of a forward pass.
pub(crate) fn tensors(config: &VisionConfig, prefix: &str) -> Vec<ImageTensor> {
    let (size, patch) = (config.hidden_size, config.patch_size);
    let named = |name: String, shape: Vec<usize>, role| ImageTensor { name, shape, role };
    let weight = |part: &str, shape, role| named(format!("{prefix}{part}.weight"), shape, role);
    let bias =
        |part: &str, length| named(format!("{prefix}{part}.bias"), vec![length], ImageTensorRole::Bias);
    let positions = vec![config.patches_per_side().pow(2), size];
    let mut tensors = vec![
        weight(PATCHES, vec![size, 3, patch, patch], ImageTensorRole::Patches),
        bias(PATCHES, size),
        weight(POSITIONS, positions, ImageTensorRole::Positions),
    ];
    for index in 0..config.layers {
        for (part, shape, role) in of_layer(config) {
            let (part, length) = (format!("{LAYERS}{index}.{part}"), shape[0]);
            tensors.extend([weight(&part, shape, role), bias(&part, length)]);
        }
    }
    // Never applied, but part of published checkpoints.
    tensors.extend([weight(LAST_NORM, vec![size], ImageTensorRole::Norm), bias(LAST_NORM, size)]);
    tensors
}

/// The weights of one layer, each of which has a bias.
fn of_layer(config: &VisionConfig) -> [(&'static str, Vec<usize>, ImageTensorRole); 8] {
    let (size, wide) = (config.hidden_size, config.intermediate_size);
    [
        (ATTENTION_NORM, vec![size], ImageTensorRole::Norm),
        (QUERIES, vec![size, size], ImageTensorRole::Queries),
        (KEYS, vec![size, size], ImageTensorRole::Keys),
        (VALUES, vec![size, size], ImageTensorRole::Values),
        (ATTENTION_OUTPUT, vec![size, size], ImageTensorRole::AttentionOutput),
        (MLP_NORM, vec![size], ImageTensorRole::Norm),
        (EXPAND, vec![wide, size], ImageTensorRole::Expand),
        (CONTRACT, vec![size, wide], ImageTensorRole::Contract),
    ]
}
