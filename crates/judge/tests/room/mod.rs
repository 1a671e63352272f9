//! The room that the critics of these tests have for sequences.

use critic::Limits;

/// Room for a few short sequences.
pub(crate) const LIMITS: Limits = Limits {
    block_size: 16,
    block_count: 32,
    context_length: 256,
    max_step_tokens: 64,
    efficient_step_tokens: 64,
};
