//! Vision towers, which architectures share.

mod config;
mod siglip;

pub(crate) use config::VisionConfig;
pub(crate) use siglip::{IN_GGUF as SIGLIP_IN_GGUF, Siglip, SiglipConfig};
