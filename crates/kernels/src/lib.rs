//! Products, attention and what lies between them on the CPU in f32, fast and the same to the last bit in any company;
//! and images scaled in whole numbers.
//!
//! Every sum is made in an order that depends on nothing but its own row or sequence: not on the other rows, not on where
//! it stands among them, not on how a prompt was cut, not on the number of threads and not on the instruction set. An
//! output of a product is one chain of fused multiply-adds: vectors run across outputs, keys and dimensions of the head,
//! and a sum that is left for a while is put away and taken up again as f32. Sums along a row, as in norms, and the
//! totals of a softmax along its keys are as many chains as a vector has lanes, in every set 16, which are added up at the
//! end in one order. Only whole numbers, whose sums are exact, are added in any order: with quantised weights a step of the
//! chain is a block of 32 inputs.

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
pub use isa::Isa;
pub use linear::Linear;
pub use norm::Norm;
pub use panels::Form;
pub use resample::{Resampling, Window};
pub use residual::add;
pub use rope::Rotation;
pub use team::together;
pub use weights::Matrix;

/// Work below this many multiply-adds stays on one thread: waking another costs more.
const ONE_THREAD: usize = 1 << 17;
