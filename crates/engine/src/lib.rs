//! Decides which sequences run next and in which cache blocks; owns the one thread that calls the model.
//!
//! [`Engine`] is the handle for all other code. Behind it, one thread owns the [`Scheduler`](scheduler) and the
//! backend by value and repeats four operations: receive, schedule, forward, commit. The script of a [`Request`]
//! lists the pieces of its reply: text that the critic writes, freely or by the rules of a [`Guide`], fixed text,
//! labels of which it chooses one, and numbers of a reward head. Tokens are returned on a [`TokenStream`]; dropping
//! the stream cancels the sequence before the next step.

mod arrival;
mod average;
mod block_allocator;
mod config;
mod decoding;
mod engine;
mod error;
mod observer;
mod parallel;
mod prefix_cache;
mod queue;
mod request;
mod scheduler;
mod sequence;
mod stats;
mod stream;
mod subscribers;
mod suspects;
mod sync;
mod worker;

pub use config::{Config, OnPanic};
pub use decoding::guide::{Allowed, Guide, GuideError, Guided, Rule, TokenOutcome};
pub use decoding::labels::{Labels, LabelsError};
pub use engine::{Engine, PrepareError, Preparing};
pub use error::{EngineError, Failure};
pub use observer::{Ending, Observer, SequenceReport, Stage, StepReport, Unobserved};
pub use queue::ticket::Ticket;
pub use queue::timeout::QueueTimeout;
pub use request::{Client, Lane, Part, Request, Tenant, Terms, Urgency};
pub use stats::{MANY_NON_FINITE, Stats};
pub use stream::{Choice, Event, FinishReason, Reported, Sampled, TokenStream};
pub use suspects::{Fingerprint, QUARANTINE, Suspect};
