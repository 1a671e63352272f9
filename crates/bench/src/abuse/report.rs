//! The report of an abuse run.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde::Serialize;

use super::{Shape, outcome::Outcome, sampler::Sampled};
use crate::{
    latency::{Latency, Times},
    live::{Growth, ResourceLines, Resources, mib},
    load::Tally,
    table::Table,
};

/// The outcomes of one shape.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Behaviour {
    /// The number of clients or requests.
    pub clients: usize,
    /// The number of clients or requests by outcome.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// The longest time that a client took, in seconds.
    #[serde(rename = "longest_s", serialize_with = "seconds")]
    pub longest: Duration,
    /// Further figures of this shape.
    pub figures: BTreeMap<&'static str, Spread>,
    /// Memory of the server per client, in KiB: the peak during the shape minus the memory in use before.
    pub memory_kib_each: f64,
    /// The highest number of open connections.
    pub connections: f64,
    /// The highest number of open files.
    pub files: f64,
    /// Latencies of the honest clients' verdicts during the shape.
    pub honest: Times,
    /// The 99th percentile of these in milliseconds, in the first and in the second half of the passes.
    pub honest_p99_ms: [f64; 2],
    /// Latencies of `/livez` during the shape.
    pub probes: Times,
    /// Latencies of `/metrics` during the shape.
    pub scrapes: Times,
    #[serde(skip)]
    pub(crate) problems: Vec<String>,
}

/// The range of a figure over several passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The lowest value.
    pub least: f64,
    /// The highest value.
    pub most: f64,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Behaviour {
    /// Records the outcome of one client.
    pub(crate) fn note(&mut self, outcome: Outcome, time: Duration) {
        self.count(outcome, 1);
        self.longest = self.longest.max(time);
    }

    /// Records `count` clients with the same outcome.
    pub(crate) fn count(&mut self, outcome: Outcome, count: usize) {
        self.clients += count;
        *self.outcomes.entry(outcome).or_default() += count;
    }

    /// Records the requests of a tally that got no verdict.
    pub(crate) fn count_errors(&mut self, tally: &Tally) {
        for (why, count) in &tally.count.errors {
            self.count(Outcome::Error(why.clone()), *count);
        }
    }

    /// Records a figure.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64) {
        let spread = self.figures.entry(name).or_insert(Spread { least: value, most: value });
        *spread = Spread { least: spread.least.min(value), most: spread.most.max(value) };
    }

    /// Records a problem for every outcome that is not among `permitted`.
    pub(crate) fn must_be(&mut self, permitted: &[Outcome]) {
        for (outcome, count) in &self.outcomes {
            if !permitted.contains(outcome) {
                self.problems.push(format!("{count} of {}: {outcome}", self.clients));
            }
        }
    }

    /// Adds the outcomes of another pass or part.
    pub(crate) fn add(&mut self, other: Self) {
        for (outcome, count) in other.outcomes {
            self.count(outcome, count);
        }
        for (name, Spread { least, most }) in other.figures {
            self.figure(name, least);
            self.figure(name, most);
        }
        self.longest = self.longest.max(other.longest);
        self.memory_kib_each = self.memory_kib_each.max(other.memory_kib_each);
        self.connections = self.connections.max(other.connections);
        self.files = self.files.max(other.files);
        self.problems.extend(other.problems);
    }
}

/// What was observed of the server during one run of a shape.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) sampled: Sampled,
    /// Memory in use before the run, in bytes.
    pub(crate) memory_before: f64,
    /// Latencies of the honest clients' verdicts.
    pub(crate) honest: Vec<Duration>,
}

/// All runs of a shape.
#[derive(Debug, Default)]
struct ShapeRuns {
    behaviour: Behaviour,
    honest: Vec<Duration>,
    probes: Vec<Duration>,
    scrapes: Vec<Duration>,
}

/// The data from which the report is made.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    shapes: BTreeMap<Shape, ShapeRuns>,
    failures: Vec<(String, String)>,
    left_out: Vec<(String, String)>,
    pub(crate) alone: Vec<Duration>,
    pub(crate) passes: usize,
    pub(crate) honest: u64,
    pub(crate) growth: Option<Growth>,
    /// Seconds since the start and MiB of memory after each pass.
    pub(crate) memory: Vec<(f64, f64)>,
    /// At the start, and the highest after a shape.
    pub(crate) resources: Resources,
    pub(crate) peak: Option<u64>,
}

impl Gathered {
    pub(crate) fn left_out(&mut self, shape: Shape, why: &str) {
        self.left_out.push((shape.name().to_owned(), why.to_owned()));
    }

    pub(crate) fn problems(&mut self, shape: Shape, problems: Vec<String>) {
        let named = problems.into_iter().map(|problem| (shape.name().to_owned(), problem));
        self.failures.extend(named);
    }

    /// Adds one run of a shape: its outcomes, and what was observed of the server during it.
    pub(crate) fn note(&mut self, shape: Shape, behaviour: Result<Behaviour, String>, observed: Observed) {
        let Observed { sampled, memory_before, honest } = observed;
        let mut behaviour =
            behaviour.unwrap_or_else(|problem| Behaviour { problems: vec![problem], ..Behaviour::default() });
        let each = (sampled.memory - memory_before).max(0.0) / 1024.0 / behaviour.clients.max(1) as f64;
        (behaviour.memory_kib_each, behaviour.connections, behaviour.files) =
            (each, sampled.connections, sampled.files);
        self.problems(shape, [std::mem::take(&mut behaviour.problems), sampled.problems].concat());
        let runs = self.shapes.entry(shape).or_default();
        runs.behaviour.add(behaviour);
        runs.honest.extend(honest);
        runs.probes.extend(sampled.probes);
        runs.scrapes.extend(sampled.scrapes);
    }

    pub(crate) fn report(self, elapsed: Duration) -> AbuseReport {
        let shapes = self.shapes.into_iter().map(|(shape, runs)| {
            let ShapeRuns { behaviour, honest, probes, scrapes } = runs;
            let halves = honest.split_at(honest.len() / 2);
            let honest_p99_ms = [halves.0, halves.1].map(|half| Latency::of(half.to_vec()).p99_ms);
            let [honest, probes, scrapes] = [honest, probes, scrapes].map(Times::of);
            (shape.name().to_owned(), Behaviour { honest, honest_p99_ms, probes, scrapes, ..behaviour })
        });
        let Resources { memory, files, threads } = self.resources;
        AbuseReport {
            shapes: shapes.collect(),
            failures: self.failures,
            left_out: self.left_out,
            passes: self.passes,
            alone: Times::of(self.alone),
            honest_requests: self.honest,
            memory_mib: memory.pair().map(mib),
            peak_mib: self.peak.map(|bytes| mib(bytes as f64)),
            files: files.pair(),
            threads: threads.pair(),
            growth: self.growth,
            memory_by_pass: self.memory,
            seconds: elapsed.as_secs_f64(),
        }
    }
}

/// The report of an abuse run.
#[derive(Debug, Clone, Serialize)]
pub struct AbuseReport {
    /// The shapes with their names, in the order in which they were run.
    pub shapes: Vec<(String, Behaviour)>,
    /// All problems, each with the shape after which it was found.
    pub failures: Vec<(String, String)>,
    /// Shapes that could not be run, and why.
    pub left_out: Vec<(String, String)>,
    /// How often the selected shapes were run.
    pub passes: usize,
    /// Latencies of the honest clients' verdicts before the first shape.
    pub alone: Times,
    /// The number of requests of honest clients.
    pub honest_requests: u64,
    /// Resident memory at the start, and its highest value after a shape, in MiB.
    pub memory_mib: [f64; 2],
    /// The peak resident memory of the process in MiB; `None` if it was not started here.
    pub peak_mib: Option<f64>,
    /// Open files at the start, and their highest number after a shape.
    pub files: [f64; 2],
    /// Threads at the start, and their highest number after a shape.
    pub threads: [f64; 2],
    /// The growth of memory; `None` if there were too few passes to determine it.
    pub growth: Option<Growth>,
    /// Seconds since the start and MiB of resident memory, after each pass.
    pub memory_by_pass: Vec<(f64, f64)>,
    /// The duration of the run in seconds.
    pub seconds: f64,
}

impl AbuseReport {
    /// Whether at least one shape was run, there were no problems, and memory does not leak.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
            && !self.shapes.is_empty()
            && !self.growth.is_some_and(|growth| growth.leaks())
    }
}

impl Display for AbuseReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.latencies(formatter)?;
        self.outcomes(formatter)?;
        self.state(formatter)?;
        for (name, why) in &self.left_out {
            writeln!(formatter, "left out: {name}: {why}")?;
        }
        for (name, problem) in &self.failures {
            writeln!(formatter, "FAILED {name}: {problem}")?;
        }
        writeln!(formatter, "{} passes, {:.0} s", self.passes, self.seconds)
    }
}

impl AbuseReport {
    /// Writes the table of the honest clients' latencies during each shape.
    fn latencies(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "shape",
            "clients",
            "longest s",
            "open",
            "KiB each",
            "honest p50 ms",
            "p99",
            "livez p99",
            "metrics p99",
        ]);
        let latency =
            |times: &Times| [times.latency.p50_ms, times.latency.p99_ms].map(|ms| format!("{ms:.1}"));
        let [p50, p99] = latency(&self.alone);
        let none = String::new;
        table.row(["(nobody)".into(), none(), none(), none(), none(), p50, p99, none(), none()]);
        for (name, shape) in &self.shapes {
            let [p50, p99] = latency(&shape.honest);
            table.row([
                name.clone(),
                shape.clients.to_string(),
                format!("{:.1}", shape.longest.as_secs_f64()),
                format!("{:.0}", shape.connections),
                format!("{:.1}", shape.memory_kib_each),
                p50,
                p99,
                format!("{:.1}", shape.probes.latency.p99_ms),
                format!("{:.1}", shape.scrapes.latency.p99_ms),
            ]);
        }
        write!(formatter, "{table}")
    }

    /// Writes the outcomes of each shape, one line per shape.
    fn outcomes(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Behaviour { outcomes, figures, .. }) in &self.shapes {
            let became = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}"));
            let figures = figures.iter().map(|(name, Spread { least, most })| match least == most {
                true => format!("{name} {least:.2}"),
                false => format!("{name} {least:.2} to {most:.2}"),
            });
            let all: Vec<String> = became.chain(figures).collect();
            writeln!(formatter, "{name}: {}", all.join(", "))?;
        }
        Ok(())
    }

    /// Writes the server's memory, files and threads, and how they changed.
    fn state(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = ResourceLines {
            after: "a shape",
            memory_mib: self.memory_mib,
            seen_mib: None,
            peak_mib: self.peak_mib,
            files: self.files,
            threads: self.threads,
        };
        write!(formatter, "{resources}")?;
        writeln!(formatter, "honest requests: {}", self.honest_requests)?;
        if self.passes > 1 {
            for (name, Behaviour { honest_p99_ms: [before, after], .. }) in &self.shapes {
                writeln!(
                    formatter,
                    "honest p99 beside {name}: {before:.1} ms in the first half, {after:.1} in the second"
                )?;
            }
        }
        self.growth.iter().try_for_each(|growth| writeln!(formatter, "{growth}"))
    }
}
