//! The size of the KV cache's blocks.

/// The number of positions in a block of the KV cache: that of the real backends, which is `kernels::BLOCK_SIZE`. A
/// server does not report its own.
pub(crate) const BLOCK_SIZE: usize = 32;
