//! Arithmetic on CUDA GPUs, in bf16 with sums in f32: products, attention over blocks, norms, rotary embeddings.
//!
//! It is the counterpart of `kernels`, which is for the CPU. The kernels themselves are in `cuda/` and are compiled
//! if the feature `cuda` is enabled. The driver and cuBLASLt are opened when a GPU is, so that a program starts where
//! they are missing. `emulator/` is a driver whose GPU is the CPU: tests run the same kernels on it.
//!
//! All work is submitted to one stream and executed in order. Calls return before their work is done; reading results
//! waits for it. Calls that allocate memory on the GPU fail with [`Error::Capturing`] while a graph is captured.

mod activation;
mod attention;
mod cache;
mod communicators;
mod draw;
mod error;
mod gpu;
mod graph;
mod limits;
mod linear;
mod list;
mod matrix_product;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(not(feature = "nccl"))]
#[path = "no_nccl.rs"]
mod nccl;
mod norm;
mod patches;
mod prefix_groups;
mod products;
mod quantised;
mod rows;
mod sharing;
mod staging;
mod step;

pub use activation::Activation;
pub use attention::{MOST_HEAD_SIZE, attend_all};
pub use cache::{BLOCK_SIZE, Heads, PagedCache, RotaryTable};
pub use communicators::Communicators;
pub use draw::Draw;
pub use error::{Error, Result};
pub use gpu::{Gpu, is_ready};
pub use graph::Graph;
pub use linear::{FEW_QUANTISED_ROWS, Linear, Normed, Output, Weight};
pub use norm::Norm;
pub use patches::PatchCutter;
pub use products::{Bf16Weights, Bias, Destination, FEW_ROWS, Floats, fewest_rows_of_kernels};
pub use quantised::{Blocks, CodeBits, QuantisedWeights, RoundedRows};
pub use rows::{Mixture, Rows};
pub use sharing::MOST_GROUP;
pub use step::{Chunk, Step};
