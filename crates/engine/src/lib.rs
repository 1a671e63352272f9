//! Decides which sequences run next and in which cache blocks; owns the one thread that calls the model.
//!
//! [`Engine`] is the handle that everything else holds. Behind it one thread owns the [`Scheduler`](scheduler) and the
//! backend by value and repeats four verbs: admit, schedule, forward, commit. Tokens come back on a [`TokenStream`];
//! dropping the stream cancels the sequence before the next step.

mod block_allocator;
mod config;
mod engine;
mod error;
mod prefix_cache;
mod sampler;
mod scheduler;
mod sequence;
mod stats;
mod stream;

pub use config::Config;
pub use engine::{Engine, Request};
pub use error::{EngineError, Failure};
pub use stats::Stats;
pub use stream::{Event, FinishReason, Sampled, TokenStream};
