//! Language decoders, which architectures share.

mod anatomy;
mod qwen2;

/// The tokens of a step whose hidden states are computed by the last layer. Keys and values are computed for every
/// token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokensOf<'a> {
    /// All tokens.
    Every,
    /// The tokens of these rows of the step, in ascending order.
    These(&'a [u32]),
}

pub(crate) use anatomy::TextAnatomy;
pub(crate) use qwen2::{
    DecoderTensor, GGUF_ARCHITECTURE, HEAD_IN_GGUF, IN_GGUF as QWEN2_IN_GGUF, Names as DecoderNames, Qwen2,
    Qwen2Config, Role as TensorRole, gguf_metadata, tensors as decoder_tensors,
};
