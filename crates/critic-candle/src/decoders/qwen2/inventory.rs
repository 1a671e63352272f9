//! The list of the decoder's tensors, and its metadata in GGUF files. Conversion writes this list, checkpoints of
//! random weights are drawn by it, and a test compares loading with it.

use super::names::{HEAD_IN_GGUF, IN_GGUF, Names};
use crate::{
    decoders::TextAnatomy,
    weights::gguf_format::{KeyValue, Value},
};

/// llama.cpp's name of the architecture.
pub(crate) const GGUF_ARCHITECTURE: &str = "qwen2";

/// A tensor of the decoder.
#[derive(Debug, Clone)]
pub(crate) struct DecoderTensor {
    /// Its name in the checkpoint.
    pub(crate) name: String,
    /// Its name in llama.cpp.
    pub(crate) name_in_gguf: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

/// The role of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Embedding,
    Norm,
    Queries,
    Keys,
    Values,
    /// The bias of queries, keys or values.
    Bias,
    AttentionOutput,
    Gate,
    Up,
    Down,
    Head,
}

impl DecoderTensor {
    /// Number of weights.
    pub(crate) fn weights(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has a row for each token of the vocabulary.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.role, Role::Embedding | Role::Head)
    }
}

/// All tensors of the decoder with these `names`, in the order of a forward pass. A tied decoder has no head of its
/// own.
pub(crate) fn tensors(anatomy: &TextAnatomy, names: Names) -> Vec<DecoderTensor> {
    let named = |behind: String, role: Role, shape: Vec<usize>| DecoderTensor {
        name: format!("{}{behind}", names.prefix),
        name_in_gguf: IN_GGUF.in_gguf(&behind).swap_remove(0),
        shape,
        role,
    };
    let table = vec![anatomy.vocabulary, anatomy.hidden_size];
    let mut tensors = vec![named("embed_tokens.weight".into(), Role::Embedding, table.clone())];
    for index in 0..anatomy.layers {
        let layer = of_layer(anatomy).into_iter();
        tensors.extend(layer.map(|(part, role, shape)| named(format!("layers.{index}.{part}"), role, shape)));
    }
    tensors.push(named("norm.weight".into(), Role::Norm, vec![anatomy.hidden_size]));
    if !anatomy.tied {
        let (name, name_in_gguf) = (names.head.into(), HEAD_IN_GGUF.into());
        tensors.push(DecoderTensor { name, name_in_gguf, shape: table, role: Role::Head });
    }
    tensors
}

/// The tensors of one layer, by their names after the layer's number.
fn of_layer(anatomy: &TextAnatomy) -> [(&'static str, Role, Vec<usize>); 12] {
    let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
    let (queries, keys) = (anatomy.heads * anatomy.head_size, anatomy.kv_heads * anatomy.head_size);
    [
        ("input_layernorm.weight", Role::Norm, vec![size]),
        ("self_attn.q_proj.weight", Role::Queries, vec![queries, size]),
        ("self_attn.q_proj.bias", Role::Bias, vec![queries]),
        ("self_attn.k_proj.weight", Role::Keys, vec![keys, size]),
        ("self_attn.k_proj.bias", Role::Bias, vec![keys]),
        ("self_attn.v_proj.weight", Role::Values, vec![keys, size]),
        ("self_attn.v_proj.bias", Role::Bias, vec![keys]),
        ("self_attn.o_proj.weight", Role::AttentionOutput, vec![size, queries]),
        ("post_attention_layernorm.weight", Role::Norm, vec![size]),
        ("mlp.gate_proj.weight", Role::Gate, vec![wide, size]),
        ("mlp.up_proj.weight", Role::Up, vec![wide, size]),
        ("mlp.down_proj.weight", Role::Down, vec![size, wide]),
    ]
}

/// The metadata of the decoder that llama.cpp needs.
pub(crate) fn gguf_metadata(anatomy: &TextAnatomy) -> Vec<KeyValue> {
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let values = [
        ("context_length", number(anatomy.context_length)),
        ("embedding_length", number(anatomy.hidden_size)),
        ("block_count", number(anatomy.layers)),
        ("feed_forward_length", number(anatomy.intermediate_size)),
        ("attention.head_count", number(anatomy.heads)),
        ("attention.head_count_kv", number(anatomy.kv_heads)),
        ("attention.key_length", number(anatomy.head_size)),
        ("attention.value_length", number(anatomy.head_size)),
        ("attention.layer_norm_rms_epsilon", Value::F32(anatomy.norm_epsilon as f32)),
        ("rope.freq_base", Value::F32(anatomy.rope_theta as f32)),
    ];
    values.into_iter().map(|(key, value)| (format!("{GGUF_ARCHITECTURE}.{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::Path};

    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::{
        decoders::Qwen2,
        error::LoadError,
        layers::{Activation, ComputeDevice},
        parallel::Rank,
        source::Source,
        weights::{GgufNaming, WeightForm, Weights},
    };

    static NAMING: GgufNaming = GgufNaming { architectures: &[], names: |_| Vec::new() };

    /// Two layers, with all sizes different.
    fn anatomy(tied: bool) -> TextAnatomy {
        TextAnatomy {
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
        anatomy: &TextAnatomy,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Qwen2, LoadError> {
        candle_core::safetensors::save(tensors, folder.join("model.safetensors")).unwrap();
        let rank = Rank::alone(ComputeDevice::Kernels);
        let source = Source::Folder(folder.into());
        let weights = Weights::open(&source, &NAMING, &rank, WeightForm::Stored).unwrap();
        Qwen2::load(&weights, Names::PUBLISHED, anatomy, 16)
    }

    #[test]
    fn loading_reads_every_tensor_of_the_inventory_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for anatomy in [anatomy(true), anatomy(false)] {
            let listed = tensors(&anatomy, Names::PUBLISHED);
            let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            let all: HashMap<String, Tensor> =
                listed.iter().map(|tensor| (tensor.name.clone(), zeros(&tensor.shape))).collect();
            assert_eq!(all.len(), listed.len(), "two tensors have the same name");
            load(folder.path(), &anatomy, &all).unwrap();
            for tensor in &listed {
                // A missing head is no error: the embedding table is used instead.
                if tensor.role != Role::Head {
                    let mut without = all.clone();
                    without.remove(&tensor.name);
                    let error = load(folder.path(), &anatomy, &without).unwrap_err();
                    assert!(
                        matches!(&error, LoadError::MissingTensor { tensor: name, .. } if *name == tensor.name),
                        "without {}: {error}",
                        tensor.name
                    );
                }
                let mut longer = all.clone();
                longer.insert(tensor.name.clone(), zeros(&[&tensor.shape[..], &[2]].concat()));
                let error = load(folder.path(), &anatomy, &longer).unwrap_err();
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
        let listed = tensors(&anatomy(false), Names::PUBLISHED);
        let mut names: Vec<&str> = listed.iter().map(|tensor| tensor.name_in_gguf.as_str()).collect();
        assert_eq!((names[0], names[1]), ("token_embd.weight", "blk.0.attn_norm.weight"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), listed.len());
    }

    #[test]
    fn metadata_is_under_the_name_of_the_architecture() {
        let metadata = gguf_metadata(&anatomy(false));
        assert!(metadata.contains(&("qwen2.attention.head_count_kv".into(), Value::U32(3))), "{metadata:?}");
        assert!(metadata.iter().all(|(key, _)| key.starts_with("qwen2.")));
    }
}
