//! Decides which sequences run next and in which cache blocks; owns the one thread that calls the model.
//!
//! [`Engine`] is the handle that everything else holds. Behind it one thread owns the [`Scheduler`](scheduler) and the
//! backend by value and repeats four verbs: receive, schedule, forward, commit. A [`Request`] says by a script what its
//! reply is made of: text that the critic writes, by the rules of a [`Guide`] or freely, text that is given, and labels of
//! which it chooses one. Tokens come back
//! on a [`TokenStream`]; dropping the stream cancels the sequence before the next step.

mod arrival;
mod audience;
mod backlog;
#[cfg(test)]
mod backlog_tests;
mod block_allocator;
mod config;
mod draw;
mod engine;
mod error;
mod fair_share;
mod guide;
mod labels;
mod neighbours;
mod observer;
mod pace;
mod parallel;
mod patience;
mod prefix_cache;
mod probability;
mod reply;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod stats;
mod stream;
mod suspects;
mod sync;
mod turns;
mod worker;

pub use config::{Config, OnPanic};
pub use engine::{Engine, Preparing};
pub use error::{EngineError, Failure};
pub use guide::{Allowed, Guide, Guided, Lost, Rule, Taken};
pub use labels::{Labels, LabelsError};
pub use observer::{Ending, Observer, SequenceReport, Stage, StepReport, Unobserved};
pub use patience::Patience;
pub use request::{Lane, Part, Request, Tenant, Terms, Urgency};
pub use stats::{MANY_NON_FINITE, Stats};
pub use stream::{Choice, Event, FinishReason, Reported, Sampled, TokenStream};
pub use suspects::{Fingerprint, QUARANTINE, Suspect};
