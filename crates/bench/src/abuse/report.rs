//! What came of abuse.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde::Serialize;

use super::{Shape, sampler::Sampled};
use crate::{
    corpus::Times,
    latency::Latency,
    live::{Growth, mib},
    table::Table,
};

/// What became of the clients of one shape.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Behaviour {
    /// How many clients or requests there were.
    pub clients: usize,
    /// What became of them, in words.
    pub outcomes: BTreeMap<String, usize>,
    /// How long the last of them took, in seconds.
    #[serde(rename = "longest_s", serialize_with = "seconds")]
    pub longest: Duration,
    /// Figures of its own.
    pub figures: BTreeMap<&'static str, Spread>,
    /// Memory that each client took in the server, in KiB: the peak meanwhile less what was used before.
    pub memory_kib_each: f64,
    /// The most connections that were open.
    pub connections: f64,
    /// The most files that were open.
    pub files: f64,
    /// Verdicts of honest clients meanwhile.
    pub honest: Times,
    /// The same in the first half of the passes and in the second: 99 of 100 take at most so many milliseconds.
    pub honest_p99_ms: [f64; 2],
    /// `/livez` meanwhile.
    pub probes: Times,
    /// `/metrics` meanwhile.
    pub scrapes: Times,
    #[serde(skip)]
    pub(crate) problems: Vec<String>,
}

/// A figure of several passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least of them.
    pub least: f64,
    /// The most of them.
    pub most: f64,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Behaviour {
    /// Notes what became of one client.
    pub(crate) fn note(&mut self, word: &str, time: Duration) {
        self.count(word, 1);
        self.longest = self.longest.max(time);
    }

    /// Notes what became of so many.
    pub(crate) fn count(&mut self, word: &str, count: usize) {
        self.clients += count;
        *self.outcomes.entry(word.to_owned()).or_default() += count;
    }

    /// Notes a figure.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64) {
        let spread = self.figures.entry(name).or_insert(Spread { least: value, most: value });
        *spread = Spread { least: spread.least.min(value), most: spread.most.max(value) };
    }

    /// Says that nothing else may become of them.
    pub(crate) fn must_be(&mut self, words: &[&str]) {
        for (word, count) in &self.outcomes {
            if !words.contains(&word.as_str()) {
                self.problems.push(format!("{count} of {}: {word}", self.clients));
            }
        }
    }

    /// Adds what another time came to.
    pub(crate) fn add(&mut self, other: Self) {
        for (word, count) in other.outcomes {
            self.count(&word, count);
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

/// What is known before there is a report.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    shapes: BTreeMap<Shape, (Behaviour, [Vec<Duration>; 3])>,
    failures: Vec<(String, String)>,
    left_out: Vec<(String, String)>,
    pub(crate) alone: Vec<Duration>,
    pub(crate) passes: usize,
    pub(crate) honest: u64,
    pub(crate) growth: Option<Growth>,
    /// Seconds and MiB of memory after each pass.
    pub(crate) memory: Vec<(f64, f64)>,
    /// At first and at most after a shape: bytes of memory, files, threads.
    pub(crate) state: [(f64, f64); 3],
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

    /// Adds one shape: what became of its clients, and what was seen of the server meanwhile.
    pub(crate) fn note(
        &mut self,
        shape: Shape,
        behaviour: Result<Behaviour, String>,
        (sampled, before, honest): (Sampled, f64, Vec<Duration>),
    ) {
        let mut behaviour =
            behaviour.unwrap_or_else(|problem| Behaviour { problems: vec![problem], ..Behaviour::default() });
        let each = (sampled.memory - before).max(0.0) / 1024.0 / behaviour.clients.max(1) as f64;
        (behaviour.memory_kib_each, behaviour.connections, behaviour.files) =
            (each, sampled.connections, sampled.files);
        self.problems(shape, [std::mem::take(&mut behaviour.problems), sampled.problems].concat());
        let (known, times) = self.shapes.entry(shape).or_default();
        known.add(behaviour);
        times[0].extend(honest);
        times[1].extend(sampled.probes);
        times[2].extend(sampled.scrapes);
    }

    pub(crate) fn report(self, elapsed: Duration) -> AbuseReport {
        let shapes = self.shapes.into_iter().map(|(shape, (behaviour, [honest, probes, scrapes]))| {
            let halves = honest.split_at(honest.len() / 2);
            let honest_p99_ms = [halves.0, halves.1].map(|half| Latency::of(half.to_vec()).p99_ms);
            let [honest, probes, scrapes] = [honest, probes, scrapes].map(Times::of);
            (shape.name().to_owned(), Behaviour { honest, honest_p99_ms, probes, scrapes, ..behaviour })
        });
        let [memory, files, threads] = self.state;
        AbuseReport {
            shapes: shapes.collect(),
            failures: self.failures,
            left_out: self.left_out,
            passes: self.passes,
            alone: Times::of(self.alone),
            honest_requests: self.honest,
            memory_mib: [mib(memory.0), mib(memory.1)],
            peak_mib: self.peak.map(|bytes| mib(bytes as f64)),
            files: [files.0, files.1],
            threads: [threads.0, threads.1],
            growth: self.growth,
            memory_by_pass: self.memory,
            seconds: elapsed.as_secs_f64(),
        }
    }
}

/// What came of abuse.
#[derive(Debug, Clone, Serialize)]
pub struct AbuseReport {
    /// By name, in the order in which they were tried.
    pub shapes: Vec<(String, Behaviour)>,
    /// Everything that was wrong, with the shape after which it was.
    pub failures: Vec<(String, String)>,
    /// Shapes that could not be tried, and why.
    pub left_out: Vec<(String, String)>,
    /// How often all shapes were tried.
    pub passes: usize,
    /// Verdicts of honest clients before anybody else was there.
    pub alone: Times,
    /// Requests of honest clients.
    pub honest_requests: u64,
    /// Resident memory at the start and at most after a shape, in MiB.
    pub memory_mib: [f64; 2],
    /// The most memory that the process ever had, in MiB, where it was started here.
    pub peak_mib: Option<f64>,
    /// Open files at the start and at most after a shape.
    pub files: [f64; 2],
    /// Threads at the start and at most after a shape.
    pub threads: [f64; 2],
    /// Whether memory grew, when there were enough passes to tell.
    pub growth: Option<Growth>,
    /// Seconds since the start and MiB of resident memory, after each pass.
    pub memory_by_pass: Vec<(f64, f64)>,
    /// How long everything took.
    pub seconds: f64,
}

impl AbuseReport {
    /// Whether everything was as it must be, and memory does not surely grow.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
            && !self.shapes.is_empty()
            && !self.growth.is_some_and(|growth| growth.leaks())
    }
}

impl Display for AbuseReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        write!(formatter, "{table}")?;
        for (name, Behaviour { outcomes, figures, .. }) in &self.shapes {
            let became = outcomes.iter().map(|(word, count)| format!("{count} {word}"));
            let told = figures.iter().map(|(name, Spread { least, most })| match least == most {
                true => format!("{name} {least:.2}"),
                false => format!("{name} {least:.2} to {most:.2}"),
            });
            let all: Vec<String> = became.chain(told).collect();
            writeln!(formatter, "{name}: {}", all.join(", "))?;
        }
        let ([memory, most], [files, most_files], [threads, most_threads]) =
            (self.memory_mib, self.files, self.threads);
        write!(formatter, "memory: {memory:.0} MiB at first, {most:.0} after a shape")?;
        match self.peak_mib {
            Some(peak) => writeln!(formatter, ", {peak:.0} at the peak")?,
            None => writeln!(formatter)?,
        }
        writeln!(
            formatter,
            "files: {files}, at most {most_files} after a shape; threads: {threads}, at most {most_threads}"
        )?;
        writeln!(formatter, "honest requests: {}", self.honest_requests)?;
        if self.passes > 1 {
            for (name, Behaviour { honest_p99_ms: [before, after], .. }) in &self.shapes {
                writeln!(
                    formatter,
                    "honest p99 beside {name}: {before:.1} ms in the first half, {after:.1} in the second"
                )?;
            }
        }
        if let Some(growth) = self.growth {
            writeln!(formatter, "{growth}")?;
        }
        for (name, why) in &self.left_out {
            writeln!(formatter, "left out: {name}: {why}")?;
        }
        for (name, problem) in &self.failures {
            writeln!(formatter, "FAILED {name}: {problem}")?;
        }
        writeln!(formatter, "{} passes, {:.0} s", self.passes, self.seconds)
    }
}
