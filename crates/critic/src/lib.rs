//! The interface of critic models: two traits and the plain data they exchange.
//!
//! A [`Processor`] turns a [`Prompt`] into token ids and image tiles; a [`Backend`] runs a [`Batch`] of chunks of
//! several sequences and returns logits or rewards. This crate depends on no tensor library, HTTP server or scheduler,
//! so that all other crates can depend on it.

mod backend;
mod batch;
mod build;
mod critic;
mod digest;
mod figures;
mod image;
mod processor;
mod prompt;
mod sampling;
mod size;
mod text;

pub use backend::{Backend, BackendError, Limits, Logits, StepOutput};
pub use batch::{Batch, BlockId, Chunk, SequenceId, TokenId, Wants};
pub use build::{Build, LateDigest};
pub use critic::{Critic, GenerationDefaults};
pub use digest::Sha256Hasher;
pub use figures::{BackendFigures, CacheFigures, GpuMemory, ProcessorFigures};
pub use image::{ContentHash, Medium, Tiles, Visual};
pub use processor::{EncodeError, Encoded, ImageFault, Processor};
pub use prompt::{CacheScope, Detail, EncodedImage, ImageTiling, Message, Part, Prompt, Role};
pub use sampling::{Report, SamplingParams};
pub use size::ModelSize;
pub use text::Utf8Stream;
