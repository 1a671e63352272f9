//! The list of the decoder's tensors, and its metadata in GGUF files. Conversion writes this list, checkpoints of
//! random weights are drawn by it, and a test compares loading with it.

use super::names::{HEAD_IN_GGUF, IN_GGUF};
use crate::{
    decoders::{DecoderConfig, DecoderNames, DecoderTensor, TensorRole},
    weights::gguf_format::{KeyValue, Value},
};

/// llama.cpp's name of the architecture.
pub(super) const GGUF_ARCHITECTURE: &str = "qwen2";

/// All tensors of the decoder with these `names`, in the order of a forward pass. A tied decoder has no head of its
/// own.
pub(super) fn tensors(config: &DecoderConfig, names: DecoderNames) -> Vec<DecoderTensor> {
    let named = |behind: String, role: TensorRole, shape: Vec<usize>| DecoderTensor {
        name: format!("{}{behind}", names.prefix),
        name_in_gguf: IN_GGUF.in_gguf(&behind).swap_remove(0),
        shape,
        role,
    };
    let table = vec![config.vocabulary, config.hidden_size];
    let mut tensors = vec![named("embed_tokens.weight".into(), TensorRole::Embedding, table.clone())];
    for index in 0..config.layers {
        let layer = of_layer(config).into_iter();
        tensors.extend(layer.map(|(part, role, shape)| named(format!("layers.{index}.{part}"), role, shape)));
    }
    tensors.push(named("norm.weight".into(), TensorRole::Norm, vec![config.hidden_size]));
    if !config.tied {
        let (name, name_in_gguf) = (names.head.into(), HEAD_IN_GGUF.into());
        tensors.push(DecoderTensor { name, name_in_gguf, shape: table, role: TensorRole::Head });
    }
    tensors
}

/// The tensors of one layer, by their names after the layer's number.
fn of_layer(config: &DecoderConfig) -> [(&'static str, TensorRole, Vec<usize>); 12] {
    let (size, wide) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.heads * config.head_size, config.kv_heads * config.head_size);
    [
        ("input_layernorm.weight", TensorRole::Norm, vec![size]),
        ("self_attn.q_proj.weight", TensorRole::Queries, vec![queries, size]),
        ("self_attn.q_proj.bias", TensorRole::Bias, vec![queries]),
        ("self_attn.k_proj.weight", TensorRole::Keys, vec![keys, size]),
        ("self_attn.k_proj.bias", TensorRole::Bias, vec![keys]),
        ("self_attn.v_proj.weight", TensorRole::Values, vec![keys, size]),
        ("self_attn.v_proj.bias", TensorRole::Bias, vec![keys]),
        ("self_attn.o_proj.weight", TensorRole::AttentionOutput, vec![size, queries]),
        ("post_attention_layernorm.weight", TensorRole::Norm, vec![size]),
        ("mlp.gate_proj.weight", TensorRole::Gate, vec![wide, size]),
        ("mlp.up_proj.weight", TensorRole::Up, vec![wide, size]),
        ("mlp.down_proj.weight", TensorRole::Down, vec![size, wide]),
    ]
}

/// The metadata of the decoder that llama.cpp needs.
pub(super) fn gguf_metadata(config: &DecoderConfig) -> Vec<KeyValue> {
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let values = [
        ("context_length", number(config.context_length)),
        ("embedding_length", number(config.hidden_size)),
        ("block_count", number(config.layers)),
        ("feed_forward_length", number(config.intermediate_size)),
        ("attention.head_count", number(config.heads)),
        ("attention.head_count_kv", number(config.kv_heads)),
        ("attention.key_length", number(config.head_size)),
        ("attention.value_length", number(config.head_size)),
        ("attention.layer_norm_rms_epsilon", Value::F32(config.norm_epsilon as f32)),
        ("rope.freq_base", Value::F32(config.rope_theta as f32)),
    ];
    values.into_iter().map(|(key, value)| (format!("{GGUF_ARCHITECTURE}.{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::Path};

    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::{
        decoders::{QWEN2, Qwen2},
        device::ComputeDevice,
        error::LoadError,
        layers::Activation,
        parallel::Rank,
        source::Source,
        weights::{GgufNaming, WeightForm, Weights},
    };

    static NAMING: GgufNaming = GgufNaming { architectures: &[], names: |_| Vec::new() };

    /// Two layers, with all sizes different.
    fn config(tied: bool) -> DecoderConfig {
        DecoderConfig {
            kind: &QWEN2,
            hidden_size: 20,
            intermediate_size: 40,
            layers: 2,
            heads: 6,
            kv_heads: 3,
            head_size: 8,
            vocabulary: 56,
            context_length: 64,
            norm_epsilon: 1e-6,
            rope_theta: 1e6,
            activation: Activation::Silu,
            tied,
            stored_head_counts: false,
        }
    }

    /// Loads a decoder from a file that contains exactly these tensors.
    fn load(
        folder: &Path,
        config: &DecoderConfig,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Qwen2, LoadError> {
        candle_core::safetensors::save(tensors, folder.join("model.safetensors")).unwrap();
        let rank = Rank::alone(ComputeDevice::Kernels);
        let source = Source::Folder(folder.into());
        let weights = Weights::open(&source, &NAMING, &rank, WeightForm::Stored).unwrap();
        Qwen2::load(&weights, QWEN2.published, config, 16)
    }

    #[test]
    fn loading_reads_every_tensor_of_the_inventory_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for config in [config(true), config(false)] {
            let listed = tensors(&config, QWEN2.published);
            let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            let all: HashMap<String, Tensor> =
                listed.iter().map(|tensor| (tensor.name.clone(), zeros(&tensor.shape))).collect();
            assert_eq!(all.len(), listed.len(), "two tensors have the same name");
            load(folder.path(), &config, &all).unwrap();
            for tensor in &listed {
                // A missing head is no error: the embedding table is used instead.
                if tensor.role != TensorRole::Head {
                    let mut without = all.clone();
                    without.remove(&tensor.name);
                    let error = load(folder.path(), &config, &without).unwrap_err();
                    assert!(
                        matches!(&error, LoadError::MissingTensor { tensor: name, .. } if *name == tensor.name),
                        "without {}: {error}",
                        tensor.name
                    );
                }
                let mut longer = all.clone();
                longer.insert(tensor.name.clone(), zeros(&[&tensor.shape[..], &[2]].concat()));
                let error = load(folder.path(), &config, &longer).unwrap_err();
                assert!(
                    matches!(&error, LoadError::WrongShape { expected, .. } if *expected == tensor.shape),
                    "with a longer {}: {error}",
                    tensor.name
                );
            }
        }
    }

    #[test]
    fn every_tensor_has_a_name_of_its_own_in_gguf() {
        let listed = tensors(&config(false), QWEN2.published);
        let mut names: Vec<&str> = listed.iter().map(|tensor| tensor.name_in_gguf.as_str()).collect();
        assert_eq!((names[0], names[1]), ("token_embd.weight", "blk.0.attn_norm.weight"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), listed.len());
    }

    #[test]
    fn metadata_is_under_the_name_of_the_architecture() {
        let metadata = gguf_metadata(&config(false));
        assert!(metadata.contains(&("qwen2.attention.head_count_kv".into(), Value::U32(3))), "{metadata:?}");
        assert!(metadata.iter().all(|(key, _)| key.starts_with("qwen2.")));
    }
}
