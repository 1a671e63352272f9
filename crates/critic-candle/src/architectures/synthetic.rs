//! What is needed of an architecture to make checkpoints of random weights.

use serde_json::Value;

use crate::{
    decoders::{ControlIds, DecoderConfig},
    vision::{ImageTensor, VisionConfig},
};

/// An architecture whose checkpoints can be made, in the layout of published ones.
#[derive(Debug)]
pub(crate) struct SyntheticArchitecture {
    /// The class of its processor in transformers.
    pub(crate) processor: &'static str,
    /// The control tokens in place of images and of videos.
    pub(crate) image_token: &'static str,
    pub(crate) video_token: &'static str,
    /// The names and contents of its configurations, with `config.json` last.
    pub(crate) files: fn(&SyntheticModel<'_>) -> Vec<(&'static str, Value)>,
    /// All tensors but the decoder's, in the order of a forward pass.
    pub(crate) image_tensors: fn(&VisionConfig, &DecoderConfig) -> Vec<ImageTensor>,
}

/// A model that configurations describe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyntheticModel<'a> {
    pub(crate) vision: &'a VisionConfig,
    pub(crate) text: &'a DecoderConfig,
    pub(crate) control: ControlIds,
    /// The id of [`SyntheticArchitecture::image_token`].
    pub(crate) image: u32,
    /// The id of [`SyntheticArchitecture::video_token`].
    pub(crate) video: u32,
    /// The float type of the weights, as PyTorch names it.
    pub(crate) dtype: &'static str,
}
