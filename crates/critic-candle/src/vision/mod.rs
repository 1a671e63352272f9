//! Vision towers, which architectures share.

mod anatomy;
mod siglip;

pub(crate) use anatomy::VisionAnatomy;
pub(crate) use siglip::{IN_GGUF as SIGLIP_IN_GGUF, Siglip, SiglipConfig};
