//! Critic models in candle: weights, layers, vision towers, image tiles, tokenizer.
//!
//! [`load`] reads a checkpoint into a [`critic::Critic`]. No other crate of the workspace depends on candle.
//!
//! Shapes in comments use these letters: `T` tokens in a step, `S` positions of a sequence, `C` hidden size, `H`
//! query heads, `K` key/value heads, `D` size of a head, `V` vocabulary, `N` tiles, `P` patches of a tile, `E`
//! hidden size of the vision tower.

mod architectures;
mod backend;
mod chat;
mod convert;
mod decoders;
mod device;
mod drawn;
mod error;
mod generation;
mod gpu_limits;
mod hub;
mod image;
mod inspect;
mod kv_cache;
mod layers;
mod load;
mod machine;
mod make;
mod parallel;
mod rows;
mod source;
mod sync;
mod tokenizer;
mod vision;
mod weights;

pub use architectures::{Geometry, ModelParts, Packing, Placement, SegmentEncoder, VideoNewline};
pub use backend::CandleBackend;
pub use chat::Segment;
pub use convert::{GgufForm, convert};
pub use drawn::DrawnCheckpoint;
pub use error::LoadError;
pub use hub::{HubError, HubOptions, Unanswered, resolve};
pub use image::{ImageLimits, RgbImage, resize_bicubic};
pub use inspect::{Inspection, inspect};
pub use load::{Checkpoint, Device, Options, Precision, load};
pub use machine::device_limits;
pub use make::{MadeForm, MakeOptions, Shape, drawn_checkpoint, make_model};
pub use source::Source;
pub use tokenizer::Tokenizer;
pub use weights::WeightForm;
