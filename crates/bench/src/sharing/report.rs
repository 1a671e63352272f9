//! The report of how much work the sharing of prompts saves.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::RoundRobin;
use crate::{machine::Machine, table::Table};

/// The results of one round robin.
#[derive(Debug, Clone, Serialize)]
pub struct SharingResult {
    /// The responses that were compared, and the lengths of prompts.
    #[serde(flatten)]
    pub round_robin: RoundRobin,
    /// The number of comparisons.
    pub requests: usize,
    /// Tokens of all prompts: what would be computed without any sharing.
    pub asked_tokens: usize,
    /// Tokens that the model computed.
    pub computed_tokens: usize,
    /// The fewest tokens that could have been computed.
    pub distinct_tokens: usize,
    /// `asked_tokens / computed_tokens`.
    pub ratio: f64,
    /// Tokens that the engine reported as cached from earlier requests.
    pub cached_tokens: usize,
    /// Steps of the engine.
    pub steps: usize,
    /// Tokens of the largest step.
    pub largest_step_tokens: usize,
    /// Milliseconds from the first request to the last verdict: the engine's own work, since the model does
    /// none.
    pub elapsed_ms: f64,
}

impl SharingResult {
    /// Computes the results from the cached tokens of each request and the tokens of each step.
    pub(crate) fn new(
        round_robin: &RoundRobin,
        cached: &[usize],
        step_tokens: &[usize],
        elapsed: Duration,
    ) -> Self {
        let asked_tokens = cached.len() * round_robin.prompt_tokens();
        let computed_tokens = step_tokens.iter().sum();
        Self {
            round_robin: *round_robin,
            requests: cached.len(),
            asked_tokens,
            computed_tokens,
            distinct_tokens: round_robin.distinct_tokens(),
            ratio: asked_tokens as f64 / computed_tokens as f64,
            cached_tokens: cached.iter().sum(),
            steps: step_tokens.len(),
            largest_step_tokens: step_tokens.iter().copied().max().unwrap_or(0),
            elapsed_ms: elapsed.as_secs_f64() * 1000.0,
        }
    }
}

/// Round robins of several sizes.
#[derive(Debug, Clone, Serialize)]
pub struct SharingReport {
    /// Always `sharing`.
    pub benchmark: &'static str,
    /// The machine it ran on; only the times depend on it.
    pub machine: Machine,
    /// One result for each size.
    pub round_robins: Vec<SharingResult>,
}

impl fmt::Display for SharingReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "round robin",
            "requests",
            "asked",
            "computed",
            "least",
            "ratio",
            "cached",
            "steps",
            "largest",
            "ms",
        ];
        let mut table = Table::new(head);
        for result in &self.round_robins {
            table.row([
                format!("{} responses", result.round_robin.responses),
                result.requests.to_string(),
                result.asked_tokens.to_string(),
                result.computed_tokens.to_string(),
                result.distinct_tokens.to_string(),
                format!("{:.2}", result.ratio),
                result.cached_tokens.to_string(),
                result.steps.to_string(),
                result.largest_step_tokens.to_string(),
                format!("{:.1}", result.elapsed_ms),
            ]);
        }
        write!(formatter, "{table}")
    }
}
