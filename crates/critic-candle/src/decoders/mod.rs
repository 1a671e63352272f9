//! Language decoders, shared by architectures.

mod qwen2;

pub(crate) use qwen2::Qwen2;
