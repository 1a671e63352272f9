//! CPU kernels in f32: matrix products, attention, activations, norms, rotary embeddings, and image resampling in
//! integer arithmetic. They are fast, and a result has the same bits whatever else is computed beside it.
//!
//! The order of every sum depends only on its own row or sequence: not on the other rows, not on its place among
//! them, not on how a prompt was split into chunks, not on the number of threads and not on the instruction set. Each
//! output of a product is one chain of fused multiply-adds: vectors run across outputs, keys or head dimensions, and
//! a partial sum that is set aside is stored and resumed as f32. Sums along a row, as in norms, and the totals of a
//! softmax along its keys consist of as many chains as a vector has lanes, 16 in every instruction set, which are
//! added up at the end in a fixed order. Only integers, whose sums are exact, are added in any order: with quantised
//! weights, one step of the chain is a block of 32 inputs.

mod activation;
mod aligned;
mod attention;
mod blocks;
mod cache;
mod columns;
mod dense;
mod dots;
mod exp;
mod floats;
mod gguf;
mod group;
mod half;
mod isa;
mod lanes;
pub mod limits;
mod linear;
mod micro;
mod narrow;
mod norm;
mod pack;
mod panels;
mod quantise;
mod resample;
mod residual;
mod rope;
mod rounded;
mod rows;
mod softmax;
mod task;
mod team;
mod tile;
mod weights;

pub use activation::Activation;
pub use attention::Queries;
pub use blocks::{to_iq4_nl, to_q8_0};
pub use cache::{BLOCK_SIZE, Heads, PagedCache, Span};
pub use columns::Columns;
pub use dense::{Dense, attend_all};
pub use gguf::{EIGHT_BITS as Q8_0_BYTES, FOUR_BITS as Q4_BYTES};
pub use isa::Isa;
pub use linear::Linear;
pub use norm::Norm;
pub use panels::Form;
pub use quantise::{BLOCK as QUANTISED_BLOCK, LEVELS as IQ4_NL_LEVELS};
pub use resample::{Resampling, Window};
pub use residual::add;
pub use rope::Rotation;
pub use team::together;
pub use weights::Matrix;

/// Work below this many multiply-adds runs on one thread: waking another costs more than it saves.
const ONE_THREAD: usize = 1 << 17;
