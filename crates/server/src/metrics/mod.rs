//! Prometheus metrics: of requests, of the engine, and of the verdicts themselves.
//!
//! No label value comes from a client: paths are route patterns, and everything else that clients choose is
//! aggregated.

mod describe;
mod engine;
mod process;
mod requests;
mod storage;
mod verdicts;

use std::{sync::Arc, time::Duration};

use judge::{CacheFigures, Judge, MemoCounts};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::connections::{ConnectionFigures, Lost};

pub(crate) use engine::EngineMetrics;
pub(crate) use requests::{Outcome, Refusal, RequestKind, StreamOutcome, count_request};
pub(crate) use storage::LineOutcome;
pub(crate) use verdicts::Task;

/// Bucket bounds of durations, in seconds: from the time of HTTP alone to that of a large critic on a CPU.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bucket bounds of counts: powers of two.
const COUNTS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];
/// Bucket bounds of values between 0 and 1.
const PARTS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Interval at which recorded values are sorted into buckets: at most a hundred thousand values accumulate in it,
/// which take a megabyte.
const SORTING: Duration = Duration::from_secs(5);

/// The metadata of every metric, which the recorder requires.
static METADATA: Metadata<'static> = Metadata::new("gavel", Level::INFO, None);

/// The metrics of one server. Clones share the same metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The sources of metrics that are read when metrics are rendered.
pub(crate) struct Sources<'a> {
    /// The engine and its caches.
    pub(crate) judge: &'a Judge,
    /// Connections of all listeners.
    pub(crate) connections: &'a ConnectionFigures,
    /// Bytes of the bodies of unanswered requests.
    pub(crate) body_bytes: usize,
    /// Log lines that were dropped because standard error was not read in time.
    pub(crate) dropped_log_lines: u64,
    /// Counts of stored files and batches, if there is a store.
    pub(crate) storage: Option<store::Figures>,
}

impl Metrics {
    /// Creates the metrics of a server with the critic `model`, which computes in the number type `dtype`.
    pub(crate) fn new(model: &str, dtype: &str) -> Self {
        let seconds = (Matcher::Suffix("_seconds".into()), &SECONDS[..]);
        let counts = [
            "gavel_step_batch_size",
            "gavel_step_tokens",
            "gavel_group_fanout",
            "gavel_image_tokens",
            "gavel_image_tiles",
        ];
        let counts = counts.map(|name| (Matcher::Full(name.into()), &COUNTS[..]));
        let parts = ["gavel_score", "gavel_label_mass", "gavel_rubric_score", "gavel_rubric_label_mass"];
        let parts = parts.map(|name| (Matcher::Full(name.into()), &PARTS[..]));
        let entropy =
            (Matcher::Full("gavel_score_entropy".into()), &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0][..]);
        let builder = [seconds].into_iter().chain(counts).chain(parts).chain([entropy]).fold(
            PrometheusBuilder::new(),
            |builder, (matcher, bounds)| {
                builder.set_buckets_for_metric(matcher, bounds).expect("there are buckets")
            },
        );
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder: Arc::new(recorder), handle };
        describe::describe(&metrics.recorder);
        let git = option_env!("GAVEL_GIT").unwrap_or("unknown");
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("git", git), ("model", model), ("dtype", dtype)];
        metrics.gauge("gavel_build_info", &build).set(1.0);
        for reason in ["requests", "prefill_tokens", "queue_timeout", "deadline", "too_large"] {
            // A counter that appears with its first increment hides that increment from `rate`.
            metrics.counter("gavel_admission_rejections_total", &[("reason", reason)]).increment(0);
        }
        metrics.set_start();
        metrics.begin_verdicts();
        metrics
    }

    /// Sorts recorded values into buckets periodically; never returns. Without it every value would be kept until
    /// metrics are rendered, and forever if they never are.
    pub(crate) async fn keep_sorting(self) {
        let mut ticks = tokio::time::interval(SORTING);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// Records the duration of a phase of the start.
    pub(crate) fn started(&self, phase: &str, duration: Duration) {
        self.gauge("gavel_startup_seconds", &[("phase", phase)]).set(duration.as_secs_f64());
    }

    /// Counts a reload of files, by its success.
    pub(crate) fn reloaded<T, E>(&self, read: &Result<T, E>) {
        let outcome = if read.is_ok() { "right" } else { "wrong" };
        self.counter("gavel_reloads_total", &[("outcome", outcome)]).increment(1);
    }

    /// Renders all metrics in Prometheus' text format, with the current values of `sources`.
    pub(crate) fn render(&self, sources: &Sources<'_>) -> String {
        self.set_connections(sources.connections);
        self.gauge("gavel_body_bytes", &[]).set(sources.body_bytes as f64);
        self.set_memo(sources.judge.memo_counts());
        self.counter("gavel_log_lines_dropped_total", &[]).absolute(sources.dropped_log_lines);
        if let Some(figures) = &sources.storage {
            self.set_storage(figures);
        }
        let more = self.set_engine(sources.judge) + &self.set_process().unwrap_or_default();
        self.handle.render() + &more
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// Sets the number of open connections and of those lost, by reason.
    fn set_connections(&self, figures: &ConnectionFigures) {
        self.gauge("gavel_connections_open", &[]).set(figures.open_now() as f64);
        for reason in Lost::ALL {
            let labels = [("reason", reason.as_str())];
            self.counter("gavel_connections_lost_total", &labels).absolute(figures.lost_for(reason));
        }
    }

    /// Sets the hits and misses of the verdict memo.
    fn set_memo(&self, counts: MemoCounts) {
        for (result, count) in [("hit", counts.hits), ("miss", counts.misses)] {
            self.counter("gavel_memo_lookups_total", &[("result", result)]).absolute(count);
        }
    }

    /// Sets the state of the engine and its caches; returns the counter of seconds spent on images as text.
    fn set_engine(&self, judge: &Judge) -> String {
        let stats = judge.stats();
        let set = |name, value: usize| self.gauge(name, &[]).set(value as f64);
        set("gavel_engine_alive", usize::from(stats.alive));
        set("gavel_requests_running", stats.running);
        set("gavel_waiting_tokens", stats.waiting_tokens);
        set("gavel_tokens_per_second", stats.tokens_per_second as usize);
        self.gauge("gavel_engine_step_age_seconds", &[]).set(stats.step_running.as_secs_f64());
        for (lane, waiting) in [("score", stats.waiting_scores), ("explain", stats.waiting_texts)] {
            self.gauge("gavel_requests_waiting", &[("lane", lane)]).set(waiting as f64);
        }
        self.counter("gavel_numerical_errors_total", &[]).absolute(stats.non_finite);
        let used = stats.total_blocks.saturating_sub(stats.free_blocks);
        let free = stats.free_blocks.saturating_sub(stats.idle_blocks);
        for (state, blocks) in [("free", free), ("kept", stats.idle_blocks), ("in_use", used)] {
            self.gauge("gavel_kv_blocks", &[("state", state)]).set(blocks as f64);
        }
        for (reason, count) in
            [("requests", stats.refused_requests), ("prefill_tokens", stats.refused_tokens)]
        {
            self.counter("gavel_admission_rejections_total", &[("reason", reason)]).absolute(count);
        }
        let processor = judge.processor_figures();
        for (tier, figures) in
            [("prefix", stats.prefix), ("features", stats.features), ("tiles", processor.tiles)]
        {
            self.set_cache(tier, figures);
        }
        let text = "Time spent on decoding and cutting images.";
        seconds_counter("gavel_image_decode_seconds_total", text, processor.cutting.as_secs_f64())
    }

    fn set_cache(&self, tier: &'static str, figures: CacheFigures) {
        let CacheFigures { hits, misses, evictions, bytes } = figures;
        for (result, count) in [("hit", hits), ("miss", misses)] {
            let labels = [("tier", tier), ("result", result)];
            self.counter("gavel_cache_requests_total", &labels).absolute(count);
        }
        self.counter("gavel_cache_evictions_total", &[("tier", tier)]).absolute(evictions);
        self.gauge("gavel_cache_bytes", &[("tier", tier)]).set(bytes as f64);
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

/// Renders a counter of seconds as text, because the recorder's counters are integers.
fn seconds_counter(name: &str, text: &str, seconds: f64) -> String {
    format!("# HELP {name} {text}\n# TYPE {name} counter\n{name} {seconds}\n\n")
}
