//! What came of the corpus.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde::Serialize;

use super::Coverage;
use crate::{latency::Latency, live::Growth};

/// Cases of one family.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Family {
    /// Cases that were sent.
    pub cases: usize,
    /// Those of them of which everything was as it must be.
    pub passed: usize,
    /// Requests that they made.
    pub requests: usize,
}

/// A request after which something was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseFailure {
    /// The case.
    pub id: String,
    /// Which of its requests.
    pub request: String,
    /// What was wrong.
    pub problem: String,
}

/// Times of answers.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Times {
    /// How many there were.
    pub count: usize,
    /// What they say together.
    #[serde(flatten)]
    pub latency: Latency,
}

impl Times {
    pub(crate) fn of(times: Vec<Duration>) -> Self {
        Self { count: times.len(), latency: Latency::of(times) }
    }
}

/// What came of the corpus.
#[derive(Debug, Default, Clone, Serialize)]
pub struct CorpusReport {
    /// How much of the plan the cases are, where they have one.
    pub coverage: Option<Coverage>,
    /// By the letter of their names.
    pub families: BTreeMap<String, Family>,
    /// Everything that was wrong.
    pub failures: Vec<CaseFailure>,
    /// Files that were not sent, and why.
    pub left_out: Vec<(String, String)>,
    /// Refusals without an image.
    pub refusals: Times,
    /// Refusals of requests with an image.
    pub image_refusals: Times,
    /// Which refusal took longest, and how many seconds.
    pub slowest_refusal: Option<(String, f64)>,
    /// Requests of honest clients meanwhile.
    pub honest_requests: u64,
    /// Resident memory at the start, after a case at most, and at most while it was looked at, in MiB.
    pub memory_mib: [f64; 3],
    /// The most memory that the process ever had, in MiB, where it was started here.
    pub peak_mib: Option<f64>,
    /// Open files at the start and at most after a case.
    pub files: [f64; 2],
    /// Threads at the start and at most after a case.
    pub threads: [f64; 2],
    /// Whether memory grew, when the corpus was sent often enough to tell.
    pub growth: Option<Growth>,
    /// How long everything took.
    pub seconds: f64,
}

impl CorpusReport {
    /// Whether every case passed, the plan has no open row, and memory does not surely grow.
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
        write!(formatter, "memory: {first:.0} MiB at first, {after:.0} after a case, {seen:.0} seen")?;
        match self.peak_mib {
            Some(peak) => writeln!(formatter, ", {peak:.0} at the peak")?,
            None => writeln!(formatter)?,
        }
        let ([files, most_files], [threads, most_threads]) = (self.files, self.threads);
        writeln!(
            formatter,
            "files: {files}, at most {most_files}; threads: {threads}, at most {most_threads}"
        )?;
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
