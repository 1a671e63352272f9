//! Language decoders, one folder each, which architectures share. The rest of the crate knows each by its
//! [`DecoderKind`]. A new decoder needs its folder, and two lines here: the module, and what architectures use of it.

mod config;
mod kind;
mod qwen2;

pub(crate) use config::DecoderConfig;
pub(crate) use kind::{
    ControlIds, DecoderKind, DecoderNames, DecoderTensor, GgufDecoder, TensorRole, TokenizerKind,
};
pub(crate) use qwen2::{QWEN2, Qwen2, Qwen2Config};
