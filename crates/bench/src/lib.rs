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
mod bounds;
mod client;
mod compare;
mod corpus;
mod cpu_time;
mod drawn_image;
mod engine_figures;
mod error;
mod latency;
mod live;
mod load;
mod load_report;
mod machine;
mod null_critic;
mod overhead;
mod overhead_report;
mod round_robin;
mod service_times;
mod sharing;
mod sharing_report;
mod step_plan;
mod steps;
mod steps_report;
mod table;
mod tally;
mod workload;

pub use abuse::{AbuseOptions, AbuseReport, Behaviour, Shape, Spread, abuse};
pub use bounds::{MachineLimits, Widths};
pub use client::Server;
pub use compare::{
    Agreement, CompareDevice, CompareOptions, CompareReport, Extent, Figure, Form, Host, Noise, Part,
    Program, Ratio, Section, Skipped, Unit, Weights, compare,
};
pub use corpus::{CaseFailure, CorpusOptions, CorpusReport, Coverage, Family, Times, corpus};
pub use engine_figures::Sample;
pub use error::BenchError;
pub use latency::Latency;
pub use live::{Growth, Target};
pub use load::{LoadOptions, load};
pub use load_report::{LoadPhase, LoadReport};
pub use machine::Machine;
pub use null_critic::null_critic;
pub use overhead::{OverheadOptions, overhead};
pub use overhead_report::{OverheadPhase, OverheadReport};
pub use round_robin::RoundRobin;
pub use service_times::ServiceTimes;
pub use sharing::sharing;
pub use sharing_report::{SharingReport, SharingResult};
pub use steps::{StepsOptions, steps};
pub use steps_report::{MemoryShares, StepFigure, StepKind, StepsReport};
pub use tally::{Count, Usage};
