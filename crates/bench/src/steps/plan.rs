//! The steps that are measured: kinds, sizes, and which of them fit.

use critic::Limits;
use serde::Serialize;

use crate::extent::Extent;

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Single tokens: bound by memory bandwidth.
    Decode,
    /// Prompt chunks: bound by arithmetic.
    Prefill,
    /// Tiles through the vision tower and the projector: bound by arithmetic.
    Images,
}

impl StepKind {
    /// The name in tables and in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Images => "images",
        }
    }
}

/// A step that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Single tokens of several sequences after `context` positions each.
    Decode {
        /// The number of sequences.
        sequences: usize,
        /// Positions before the token of each sequence.
        context: usize,
    },
    /// Prompt chunks of several sequences that share the positions before.
    Prefill {
        /// The number of sequences.
        sequences: usize,
        /// Tokens of each sequence.
        tokens: usize,
        /// Positions before these, which all sequences share.
        shared: usize,
    },
    /// Images of one tile each, which pass through the vision tower together.
    Images {
        /// The number of tiles.
        tiles: usize,
    },
}

/// The sizes of the steps.
struct Sizes {
    sequences: &'static [usize],
    contexts: &'static [usize],
    prompts: &'static [usize],
    tiles: &'static [usize],
}

/// They include those of `compare` on a GPU: 1, 8 and 32 sequences, 20 comparisons, prompts of 1000 tokens,
/// images of 7 tiles.
const FULL: Sizes = Sizes {
    sequences: &[1, 2, 4, 8, 16, 20, 32, 64],
    contexts: &[1024, 8192],
    prompts: &[64, 128, 256, 512, 1000, 2048, 4096],
    tiles: &[1, 7, 10],
};

const QUICK: Sizes = Sizes { sequences: &[1, 2], contexts: &[64], prompts: &[128], tiles: &[1] };

/// A step of a round robin of responses about one image.
const JUDGING: Step = Step::Prefill { sequences: 16, tokens: 128, shared: 2048 };

/// The steps of an extent that fit into `limits`, in the order in which they are measured.
pub(crate) fn plan(extent: Extent, limits: Limits) -> Vec<Step> {
    let (sizes, judging) = match extent {
        Extent::Full => (FULL, Some(JUDGING)),
        Extent::Quick => (QUICK, None),
    };
    let decode = sizes.contexts.iter().flat_map(|context| {
        sizes.sequences.iter().map(|sequences| Step::Decode { sequences: *sequences, context: *context })
    });
    let prefill =
        sizes.prompts.iter().map(|tokens| Step::Prefill { sequences: 1, tokens: *tokens, shared: 0 });
    let images = sizes.tiles.iter().map(|tiles| Step::Images { tiles: *tiles });
    decode.chain(prefill).chain(judging).chain(images).filter(|step| step.fits(limits)).collect()
}

impl Step {
    pub(crate) fn kind(self) -> StepKind {
        match self {
            Self::Decode { .. } => StepKind::Decode,
            Self::Prefill { .. } => StepKind::Prefill,
            Self::Images { .. } => StepKind::Images,
        }
    }

    /// The size as text.
    pub(crate) fn setting(self) -> String {
        match self {
            Self::Decode { sequences, context } => format!("{sequences} x 1 after {context}"),
            Self::Prefill { sequences, tokens, shared } => format!("{sequences} x {tokens} after {shared}"),
            Self::Images { tiles } => format!("{tiles} tiles"),
        }
    }

    /// The number of tokens, or of tiles.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Decode { sequences, .. } => sequences,
            Self::Prefill { sequences, tokens, .. } => sequences * tokens,
            Self::Images { tiles } => tiles,
        }
    }

    /// Blocks of the cache that the step reads and writes.
    pub(crate) fn blocks(self, block_size: usize) -> usize {
        match self {
            Self::Decode { sequences, context } => sequences * (context + 1).div_ceil(block_size),
            Self::Prefill { sequences, tokens, shared } => {
                shared.div_ceil(block_size) + sequences * tokens.div_ceil(block_size)
            }
            // One position per image.
            Self::Images { tiles } => tiles.div_ceil(block_size),
        }
    }

    fn fits(self, limits: Limits) -> bool {
        let positions = match self {
            Self::Decode { context, .. } => context + 1,
            Self::Prefill { tokens, shared, .. } => shared + tokens,
            Self::Images { tiles } => tiles,
        };
        self.count() <= limits.max_step_tokens
            && positions <= limits.context_length
            && self.blocks(limits.block_size) <= limits.block_count
    }
}

#[cfg(test)]
mod tests {
    use critic::Limits;

    use super::{JUDGING, Step, plan};
    use crate::extent::Extent;

    const LARGE: Limits = Limits {
        block_size: 32,
        block_count: 1 << 20,
        context_length: 32_768,
        max_step_tokens: 8192,
        efficient_step_tokens: 8192,
    };

    #[test]
    fn what_the_aims_name_is_measured() {
        let steps = plan(Extent::Full, LARGE);
        for sequences in [1, 8, 20, 32, 64] {
            assert!(steps.contains(&Step::Decode { sequences, context: 1024 }), "{sequences} in {steps:?}");
        }
        for tokens in [1000, 4096] {
            let prompt = Step::Prefill { sequences: 1, tokens, shared: 0 };
            assert!(steps.contains(&prompt), "{tokens} in {steps:?}");
        }
        for tiles in [1, 7, 10] {
            assert!(steps.contains(&Step::Images { tiles }), "{tiles} in {steps:?}");
        }
        assert!(steps.contains(&JUDGING), "{steps:?}");
    }

    #[test]
    fn a_step_that_has_no_room_is_left_out() {
        // 64 blocks: a context of 1024 and its next token take 33 of them.
        let small = Limits { block_count: 64, context_length: 2048, max_step_tokens: 512, ..LARGE };
        let steps = plan(Extent::Full, small);
        assert!(steps.contains(&Step::Decode { sequences: 1, context: 1024 }), "{steps:?}");
        assert!(!steps.contains(&Step::Decode { sequences: 2, context: 1024 }), "{steps:?}");
        assert!(!steps.contains(&Step::Decode { sequences: 1, context: 8192 }), "{steps:?}");
        assert!(steps.contains(&Step::Prefill { sequences: 1, tokens: 512, shared: 0 }), "{steps:?}");
        assert!(!steps.contains(&Step::Prefill { sequences: 1, tokens: 1000, shared: 0 }), "{steps:?}");
        assert!(!steps.contains(&JUDGING), "{steps:?}");
        assert!(steps.iter().all(|step| step.blocks(32) <= 64), "{steps:?}");
    }
}
