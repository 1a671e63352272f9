//! LLaVA-OneVision: SigLIP tower, two-layer projector, any-resolution tiles, Qwen2 decoder.
//!
//! LLaVA-Critic, UnifiedReward-7b, the llava-onevision chat models and, with a reward head, MM-RLHF-Reward-7B share it. Two layouts of checkpoint are read:
//! Hugging Face's ([`hf_config`]) and LLaVA-NeXT's own ([`native_config`]); both become one [`Anatomy`].

mod anatomy;
mod geometry;
mod hf_config;
mod model;
mod names;
mod native_config;
mod packing;
mod processor;
mod reward_head;

pub use anatomy::Anatomy;
pub(crate) use anatomy::{Layout, TextAnatomy, VisionAnatomy};
pub use geometry::{Geometry, Placement, VideoNewline};
pub(crate) use hf_config::read as read_hf_config;
pub use model::Model;
pub(crate) use names::{GGUF, Names};
pub(crate) use native_config::read as read_native_config;
pub(crate) use processor::{ControlTokens, Normalisation};
pub use processor::{LlavaProcessor, Segment};
