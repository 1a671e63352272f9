//! Language decoders, shared by architectures.

mod anatomy;
mod qwen2;

pub(crate) use anatomy::TextAnatomy;
pub(crate) use qwen2::{HEAD_IN_GGUF, IN_GGUF as QWEN2_IN_GGUF, Names as DecoderNames, Qwen2, Qwen2Config};
