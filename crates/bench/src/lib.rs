//! Benchmarks of a judge server: its behaviour under load, its overhead when the model computes nothing, and
//! how much work the sharing of prompts saves.
//!
//! [`load`] and [`overhead`] send HTTP requests to a server that is already running; [`sharing`] drives an
//! engine and [`steps`] a model directly; [`compare`] starts Gavel and other programs and measures them in
//! turn; [`corpus`] sends malformed and hostile input, [`abuse`] simulates badly behaved clients, and both
//! check the state of the server afterwards. Each returns a report, which prints as a table and serialises as
//! JSON.

mod abuse;
mod arrivals;
mod cache_block;
mod client;
mod compare;
mod corpus;
mod cpu_time;
mod drawn_image;
mod error;
mod extent;
mod latency;
mod live;
mod load;
mod machine;
mod null_critic;
mod quantile;
mod sharing;
mod steps;
mod table;
mod weight_form;

pub use abuse::{AbuseOptions, AbuseReport, Behaviour, Outcome, Shape, Spread, abuse};
pub use client::Server;
pub use compare::{
    Agreement, CompareDevice, CompareOptions, CompareReport, Contender, Figure, Host, HostError, HostLimits,
    Noise, Part, Program, ProgramName, Ratio, Section, Skipped, Unit, Weights, compare,
};
pub use corpus::{CaseFailure, CorpusOptions, CorpusReport, Coverage, Family, corpus};
pub use critic::ModelSize;
pub use error::BenchError;
pub use extent::Extent;
pub use latency::{Latency, Times};
pub use live::{Growth, Target};
pub use load::{
    Count, LoadOptions, LoadPhase, LoadReport, OverheadOptions, OverheadPhase, OverheadReport, Sample,
    ServiceTimes, Usage, load, overhead,
};
pub use machine::Machine;
pub use null_critic::null_critic;
pub use sharing::{RoundRobin, SharingReport, SharingResult, sharing};
pub use steps::{MachineLimits, MemoryShares, StepFigure, StepKind, StepsOptions, StepsReport, steps};
pub use weight_form::{Form, Widths};
