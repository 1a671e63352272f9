//! Vision towers, which architectures share.

mod config;
mod siglip;
mod tensor;

pub(crate) use config::VisionConfig;
pub(crate) use siglip::{
    IN_GGUF as SIGLIP_IN_GGUF, Siglip, SiglipConfig, tensors as siglip_tensors, write as write_siglip_config,
};
pub(crate) use tensor::{ImageTensor, ImageTensorRole};
