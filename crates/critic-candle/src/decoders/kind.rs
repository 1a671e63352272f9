//! What the rest of the crate knows of a kind of decoder, whatever its sizes.

use super::DecoderConfig;
use crate::weights::{PartNames, gguf_format::KeyValue};

/// A kind of decoder, whatever its sizes.
#[derive(Debug)]
pub(crate) struct DecoderKind {
    /// Its name, for people.
    pub(crate) name: &'static str,
    /// The names of its tensors in published checkpoints in the Hugging Face layout.
    pub(crate) published: DecoderNames,
    /// All tensors of a decoder with these names, in the order of a forward pass. A tied decoder has no head of its
    /// own.
    pub(crate) tensors: fn(&DecoderConfig, DecoderNames) -> Vec<DecoderTensor>,
    /// The configuration of a decoder in transformers' keys, as in published checkpoints.
    pub(crate) config: fn(&DecoderConfig, ControlIds) -> serde_json::Value,
    /// Its tokenizer.
    pub(crate) tokenizer: TokenizerKind,
    /// Its properties in GGUF files.
    pub(crate) gguf: GgufDecoder,
}

/// The properties of a kind of decoder in GGUF files.
#[derive(Debug)]
pub(crate) struct GgufDecoder {
    /// llama.cpp's name of the architecture.
    pub(crate) architecture: &'static str,
    /// llama.cpp's names for the names after the prefix.
    pub(crate) names: &'static PartNames,
    /// llama.cpp's name of the head.
    pub(crate) head: &'static str,
    /// The metadata of a decoder that llama.cpp needs.
    pub(crate) metadata: fn(&DecoderConfig) -> Vec<KeyValue>,
}

/// The byte-level tokenizer of a kind of decoder.
#[derive(Debug)]
pub(crate) struct TokenizerKind {
    /// Its class in transformers.
    pub(crate) class: &'static str,
    /// The pattern by which it cuts text into pieces.
    pub(crate) pattern: &'static str,
    /// llama.cpp's name of the pattern, which it has built in.
    pub(crate) pattern_in_gguf: &'static str,
    /// The control token that separates texts, and pads them.
    pub(crate) padding: &'static str,
    /// The control token that begins a turn.
    pub(crate) turn_start: &'static str,
    /// The control token that ends a turn.
    pub(crate) turn_end: &'static str,
    /// The chat format, for programs that accept conversations only if the model has a template.
    pub(crate) chat_template: &'static str,
}

/// Ids of the control tokens that a decoder's configuration refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ControlIds {
    /// That of [`TokenizerKind::padding`].
    pub(crate) padding: u32,
    /// That of [`TokenizerKind::turn_end`].
    pub(crate) turn_end: u32,
}

/// The names of a decoder's tensors in one checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecoderNames {
    /// Prefix before `embed_tokens`, `layers` and `norm`; it ends with a dot.
    pub(crate) prefix: &'static str,
    /// Full name of the head.
    pub(crate) head: &'static str,
}

impl DecoderNames {
    /// Full name of the embedding table.
    pub(crate) fn embedding(self) -> String {
        format!("{}embed_tokens.weight", self.prefix)
    }
}

/// A tensor of a decoder.
#[derive(Debug, Clone)]
pub(crate) struct DecoderTensor {
    /// Its name in the checkpoint.
    pub(crate) name: String,
    /// Its name in llama.cpp.
    pub(crate) name_in_gguf: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: TensorRole,
}

/// The role of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorRole {
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
        matches!(self.role, TensorRole::Embedding | TensorRole::Head)
    }
}
