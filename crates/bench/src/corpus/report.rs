//! The report of a corpus run.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use serde::Serialize;

use super::Coverage;
use crate::{
    latency::{Latency, Times},
    live::{Growth, ResourceLines},
};

/// Results of the cases of one family.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Family {
    /// The number of cases that were sent.
    pub cases: usize,
    /// The number of cases without a problem.
    pub passed: usize,
    /// The number of their requests.
    pub requests: usize,
}

/// A problem with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseFailure {
    /// The id of the case.
    pub id: String,
    /// The label of the request.
    pub request: String,
    /// The problem.
    pub problem: String,
}

/// The report of a corpus run.
#[derive(Debug, Default, Clone, Serialize)]
pub struct CorpusReport {
    /// The coverage of the plan; `None` if the corpus has no plan.
    pub coverage: Option<Coverage>,
    /// Results by family, the first part of the ids of cases.
    pub families: BTreeMap<String, Family>,
    /// All problems.
    pub failures: Vec<CaseFailure>,
    /// Files that were not sent, and why.
    pub left_out: Vec<(String, String)>,
    /// Latencies of refusals of requests without an image.
    pub refusals: Times,
    /// Latencies of refusals of requests with an image.
    pub image_refusals: Times,
    /// The request whose refusal took longest, and its latency in seconds.
    pub slowest_refusal: Option<(String, f64)>,
    /// The number of requests of honest clients during the run.
    pub honest_requests: u64,
    /// Resident memory in MiB: at the start, the highest after a case, and the highest that was observed.
    pub memory_mib: [f64; 3],
    /// The peak resident memory of the process in MiB; `None` if it was not started here.
    pub peak_mib: Option<f64>,
    /// Open files at the start, and their highest number after a case.
    pub files: [f64; 2],
    /// Threads at the start, and their highest number after a case.
    pub threads: [f64; 2],
    /// The growth of memory; `None` if the corpus was not repeated often enough to determine it.
    pub growth: Option<Growth>,
    /// The duration of the run in seconds.
    pub seconds: f64,
}

impl CorpusReport {
    /// Whether every case passed, the plan has no open row, and memory does not leak.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
            && !self.families.is_empty()
            && self.coverage.as_ref().is_none_or(|coverage| coverage.open.is_empty())
            && !self.growth.is_some_and(|growth| growth.leaks())
    }
}

impl Display for CorpusReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "family  cases  passed  requests")?;
        let mut all = Family::default();
        for (name, Family { cases, passed, requests }) in &self.families {
            writeln!(formatter, "{name:<6} {cases:>6} {passed:>7} {requests:>9}")?;
            all.cases += cases;
            all.passed += passed;
            all.requests += requests;
        }
        writeln!(formatter, "{:<6} {:>6} {:>7} {:>9}", "all", all.cases, all.passed, all.requests)?;
        if let Some(coverage) = &self.coverage {
            writeln!(formatter, "{coverage}")?;
        }
        for (what, times) in [("refusals", &self.refusals), ("refusals with images", &self.image_refusals)] {
            let Times { count, latency: Latency { p50_ms, p99_ms, max_ms, .. } } = times;
            writeln!(
                formatter,
                "{what}: {count}; p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.1} ms"
            )?;
        }
        if let Some((which, seconds)) = &self.slowest_refusal {
            writeln!(formatter, "slowest refusal: {which}, {seconds:.3} s")?;
        }
        writeln!(formatter, "honest requests meanwhile: {}", self.honest_requests)?;
        let [first, after, seen] = self.memory_mib;
        let resources = ResourceLines {
            after: "a case",
            memory_mib: [first, after],
            seen_mib: Some(seen),
            peak_mib: self.peak_mib,
            files: self.files,
            threads: self.threads,
        };
        write!(formatter, "{resources}")?;
        if let Some(growth) = self.growth {
            writeln!(formatter, "{growth}")?;
        }
        for (file, why) in &self.left_out {
            writeln!(formatter, "left out: {file}: {why}")?;
        }
        for CaseFailure { id, request, problem } in &self.failures {
            writeln!(formatter, "FAILED {id} ({request}): {problem}")?;
        }
        writeln!(formatter, "{:.0} s", self.seconds)
    }
}
