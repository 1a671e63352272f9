//! Prometheus metrics: of requests, of the engine, and of the verdicts themselves.
//!
//! No label value comes from a client: paths are route patterns, and everything else that clients choose is
//! aggregated.

mod engine;
mod names;
mod process;
mod requests;
mod storage;
mod verdicts;

use std::{sync::Arc, time::Duration};

use judge::{CacheFigures, Judge, VerdictCacheCounts};
use metrics::{Counter, Gauge, Histogram, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::connections::{ConnectionFigures, DisconnectReason};
use names::{Definition, Metric};

pub(crate) use engine::EngineMetrics;
pub(crate) use requests::{KeyLabel, Outcome, Refusal, RequestKind, StreamOutcome, count_request};
pub(crate) use storage::LineOutcome;
pub(crate) use verdicts::Task;

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
        let recorder = names::with_buckets(PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder: Arc::new(recorder), handle };
        names::describe(&metrics.recorder);
        let git = option_env!("GAVEL_GIT").unwrap_or("unknown");
        metrics.gauge(&names::BUILD_INFO, [env!("CARGO_PKG_VERSION"), git, model, dtype]).set(1.0);
        for reason in ["requests", "prefill_tokens", "queue_timeout", "deadline", "too_large"] {
            // A counter that appears with its first increment hides that increment from `rate`.
            metrics.counter(&names::ADMISSION_REJECTIONS_TOTAL, [reason]).increment(0);
        }
        for outcome in ["right", "wrong"] {
            metrics.counter(&names::RELOADS_TOTAL, [outcome]).increment(0);
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
        self.gauge(&names::STARTUP_SECONDS, [phase]).set(duration.as_secs_f64());
    }

    /// Counts a reload of files, by its success.
    pub(crate) fn reloaded<T, E>(&self, read: &Result<T, E>) {
        let outcome = if read.is_ok() { "right" } else { "wrong" };
        self.counter(&names::RELOADS_TOTAL, [outcome]).increment(1);
    }

    /// Renders all metrics in Prometheus' text format, with the current values of `sources`.
    pub(crate) fn render(&self, sources: &Sources<'_>) -> String {
        self.set_connections(sources.connections);
        self.gauge(&names::BODY_BYTES, []).set(sources.body_bytes as f64);
        self.set_memo(sources.judge.verdict_cache_counts());
        self.counter(&names::LOG_LINES_DROPPED_TOTAL, []).absolute(sources.dropped_log_lines);
        if let Some(figures) = &sources.storage {
            self.set_storage(figures);
        }
        let more = self.set_engine(sources.judge) + &self.set_process().unwrap_or_default();
        self.handle.render() + &more
    }

    /// The counter with these values of its labels, which are in the order of their definition.
    fn counter<const LABELS: usize>(
        &self,
        metric: &Metric<Counter, LABELS>,
        values: [&str; LABELS],
    ) -> Counter {
        self.recorder.register_counter(&metric.key(values), &METADATA)
    }

    /// As [`Self::counter`].
    fn gauge<const LABELS: usize>(&self, metric: &Metric<Gauge, LABELS>, values: [&str; LABELS]) -> Gauge {
        self.recorder.register_gauge(&metric.key(values), &METADATA)
    }

    /// As [`Self::counter`].
    fn histogram<const LABELS: usize>(
        &self,
        metric: &Metric<Histogram, LABELS>,
        values: [&str; LABELS],
    ) -> Histogram {
        self.recorder.register_histogram(&metric.key(values), &METADATA)
    }

    /// Sets the number of open connections, of those lost, by reason, and of discarded bytes.
    fn set_connections(&self, figures: &ConnectionFigures) {
        self.gauge(&names::CONNECTIONS_OPEN, []).set(figures.open_now() as f64);
        self.counter(&names::DISCARDED_BODY_BYTES_TOTAL, []).absolute(figures.discarded_bytes());
        for reason in DisconnectReason::ALL {
            let lost = self.counter(&names::CONNECTIONS_LOST_TOTAL, [reason.as_str()]);
            lost.absolute(figures.lost_for(reason));
        }
    }

    /// Sets the hits and misses of the verdict memo.
    fn set_memo(&self, counts: VerdictCacheCounts) {
        for (result, count) in [("hit", counts.hits), ("miss", counts.misses)] {
            self.counter(&names::MEMO_LOOKUPS_TOTAL, [result]).absolute(count);
        }
    }

    /// Sets the state of the engine and its caches; returns the counter of seconds spent on images as text.
    fn set_engine(&self, judge: &Judge) -> String {
        let stats = judge.stats();
        let set = |metric: &Metric<Gauge, 0>, value: usize| self.gauge(metric, []).set(value as f64);
        set(&names::ENGINE_ALIVE, usize::from(stats.alive));
        set(&names::REQUESTS_RUNNING, stats.running);
        set(&names::WAITING_TOKENS, stats.waiting_tokens);
        set(&names::TOKENS_PER_SECOND, stats.tokens_per_second as usize);
        self.gauge(&names::ENGINE_STEP_AGE_SECONDS, []).set(stats.step_running.as_secs_f64());
        for (lane, waiting) in [("score", stats.waiting_scores), ("explain", stats.waiting_texts)] {
            self.gauge(&names::REQUESTS_WAITING, [lane]).set(waiting as f64);
        }
        self.counter(&names::NUMERICAL_ERRORS_TOTAL, []).absolute(stats.non_finite);
        let used = stats.total_blocks.saturating_sub(stats.free_blocks);
        let free = stats.free_blocks.saturating_sub(stats.idle_blocks);
        for (state, blocks) in [("free", free), ("kept", stats.idle_blocks), ("in_use", used)] {
            self.gauge(&names::KV_BLOCKS, [state]).set(blocks as f64);
        }
        for (reason, count) in
            [("requests", stats.refused_requests), ("prefill_tokens", stats.refused_tokens)]
        {
            self.counter(&names::ADMISSION_REJECTIONS_TOTAL, [reason]).absolute(count);
        }
        let processor = judge.processor_figures();
        for (tier, figures) in
            [("prefix", stats.prefix), ("features", stats.features), ("tiles", processor.tiles)]
        {
            self.set_cache(tier, figures);
        }
        seconds_counter(&names::IMAGE_DECODE_SECONDS_TOTAL, processor.cutting.as_secs_f64())
    }

    fn set_cache(&self, tier: &'static str, figures: CacheFigures) {
        let CacheFigures { hits, misses, evictions, bytes } = figures;
        for (result, count) in [("hit", hits), ("miss", misses)] {
            self.counter(&names::CACHE_REQUESTS_TOTAL, [tier, result]).absolute(count);
        }
        self.counter(&names::CACHE_EVICTIONS_TOTAL, [tier]).absolute(evictions);
        self.gauge(&names::CACHE_BYTES, [tier]).set(bytes as f64);
    }
}

/// Renders a counter of seconds as text, because the recorder's counters are integers.
fn seconds_counter(metric: &Metric<Counter, 0>, seconds: f64) -> String {
    let Definition { name, help, .. } = metric.definition;
    format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n\n")
}
