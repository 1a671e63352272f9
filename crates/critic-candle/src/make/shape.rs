//! The shapes of models that can be made.

use crate::{
    architectures::{LLAVA_ONEVISION, SyntheticArchitecture},
    decoders::{DecoderConfig, QWEN2},
    layers::Activation,
    vision::VisionConfig,
};

/// The shape of a made model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 50 million weights, 5 million of them in the tower, with tiles of the published size: for comparing programs.
    Small,
    /// LLaVA-Critic-7B: Qwen2-7B under SigLIP so400m.
    SevenB,
    /// LLaVA-Critic-72B: Qwen2-72B under the same tower.
    SeventyTwoB,
}

impl Shape {
    /// The architecture, which is that of all published critics.
    pub(super) fn architecture(self) -> &'static SyntheticArchitecture {
        match self {
            Self::Small | Self::SevenB | Self::SeventyTwoB => &LLAVA_ONEVISION,
        }
    }

    /// The sizes of the tower, all of whose layers are run.
    pub(super) fn vision(self) -> VisionConfig {
        match self {
            Self::Small => VisionConfig {
                hidden_size: 256,
                intermediate_size: 1024,
                layers: 6,
                heads: 4,
                ..VisionConfig::SO400M
            },
            Self::SevenB | Self::SeventyTwoB => VisionConfig::SO400M,
        }
    }

    /// The sizes of the decoder, whose head is not tied.
    pub(super) fn text(self) -> DecoderConfig {
        let (hidden_size, intermediate_size, layers, heads, kv_heads, vocabulary) = match self {
            Self::Small => (512, 1536, 12, 8, 2, 8192),
            Self::SevenB => (3584, 18_944, 28, 28, 4, 152_064),
            Self::SeventyTwoB => (8192, 29_568, 80, 64, 8, 152_064),
        };
        DecoderConfig {
            kind: &QWEN2,
            hidden_size,
            intermediate_size,
            layers,
            heads,
            kv_heads,
            head_size: hidden_size / heads,
            vocabulary,
            context_length: 32_768,
            norm_epsilon: 1e-6,
            rope_theta: 1e6,
            activation: Activation::Silu,
            tied: false,
            stored_head_counts: false,
        }
    }
}
