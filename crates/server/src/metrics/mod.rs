//! Figures for Prometheus: of requests, of the engine, and of the verdicts themselves.
//!
//! No label comes from a client: paths are those of the routes, and whatever else a client chooses is counted together.

mod engine;
mod verdicts;

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use judge::{MemoCounts, Stats};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::state::AppState;

pub(crate) use engine::EngineMetrics;

/// Upper bounds of the buckets of times, in seconds: from what HTTP alone takes to what a large critic takes on a CPU.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Of counts: powers of two.
const COUNTS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
/// Of what lies between 0 and 1.
const PARTS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// What every metric of this crate says of itself to its recorder.
static METADATA: Metadata<'static> = Metadata::new("gavel", Level::INFO, None);

/// The figures of one server. Clones are the same figures.
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

impl Metrics {
    /// Nothing counted yet, for a server of the critic `model`.
    pub(crate) fn new(model: &str) -> Self {
        let buckets = [
            (Matcher::Suffix("_seconds".into()), &SECONDS[..]),
            (Matcher::Suffix("_per_step".into()), &COUNTS),
        ];
        let parts = ["gavel_score", "gavel_label_mass"].map(|name| (Matcher::Full(name.into()), &PARTS[..]));
        let entropy = (
            Matcher::Full("gavel_score_entropy_nats".into()),
            &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0][..],
        );
        let builder = buckets.into_iter().chain(parts).chain([entropy]).fold(
            PrometheusBuilder::new(),
            |builder, (matcher, bounds)| {
                builder.set_buckets_for_metric(matcher, bounds).expect("there are buckets")
            },
        );
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder: Arc::new(recorder), handle };
        metrics.describe();
        let build = [("version", env!("CARGO_PKG_VERSION")), ("model", model)];
        metrics.gauge("gavel_build_info", &build).set(1.0);
        metrics
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

    fn describe(&self) {
        let seconds = |name: &'static str, text: &'static str| {
            self.recorder.describe_histogram(KeyName::from(name), Some(Unit::Seconds), text.into());
        };
        seconds(
            "gavel_request_duration_seconds",
            "From a request to its answer, or to the beginning of a stream.",
        );
        seconds("gavel_queue_seconds", "From the arrival of a sequence to its admission.");
        seconds("gavel_time_to_first_token_seconds", "From the arrival of a sequence to its first token.");
        seconds(
            "gavel_time_to_score_seconds",
            "From the arrival of a sequence to its verdict, where it chooses one.",
        );
        seconds("gavel_step_duration_seconds", "Length of a step of the model.");
        let plain = |name: &'static str, text: &'static str| {
            self.recorder.describe_histogram(KeyName::from(name), None, text.into());
        };
        plain("gavel_sequences_per_step", "Sequences in a step.");
        plain("gavel_prompt_tokens_per_step", "Tokens of prompts in a step.");
        plain("gavel_reply_tokens_per_step", "Tokens of replies in a step.");
        plain("gavel_score", "Scores, each scale as 0 to 1.");
        plain("gavel_label_mass", "How much of the critic's belief the possible verdicts hold together.");
        plain("gavel_score_entropy_nats", "How undecided the critic is.");
        let counter = |name: &'static str, text: &'static str| {
            self.recorder.describe_counter(KeyName::from(name), None, text.into());
        };
        counter("gavel_requests_total", "Requests that were answered.");
        counter("gavel_sequences_total", "Sequences that ended, by how and how far they came.");
        counter("gavel_prompt_tokens_total", "Tokens of prompts, computed or kept from earlier ones.");
        counter("gavel_reply_tokens_total", "Tokens of replies.");
        counter("gavel_steps_total", "Steps of the model.");
        counter("gavel_verdicts_total", "Verdicts, by what they say.");
        counter("gavel_verdict_failures_total", "Judgements without a verdict, by the code of their error.");
        counter("gavel_form_answers_total", "Chat answers in the form of a known program, by its name.");
        counter(
            "gavel_memo_lookups_total",
            "Verdicts that were looked for in memory, by whether they were there.",
        );
        counter("gavel_position_checked_total", "Pairs that were judged in both orders.");
        counter("gavel_position_flips_total", "Those of them whose orders name different winners.");
        counter("gavel_judging_log_lines_total", "Lines of the judging log that were written.");
        counter("gavel_judging_log_dropped_total", "Lines of the judging log that were lost.");
        let gauge = |name: &'static str, text: &'static str| {
            self.recorder.describe_gauge(KeyName::from(name), None, text.into());
        };
        gauge("gavel_build_info", "Version and model; always 1.");
        gauge("gavel_engine_alive", "Whether the engine takes requests.");
        gauge("gavel_requests_running", "Sequences that run.");
        gauge("gavel_requests_waiting", "Requests that wait for their turn.");
        gauge("gavel_waiting_tokens", "Tokens of waiting prompts that are not known yet.");
        gauge("gavel_tokens_per_second", "Tokens run each second of work, lately.");
        gauge("gavel_kv_blocks", "Blocks of the cache of keys and values.");
    }

    /// Notes how often a verdict was remembered.
    fn set_memo(&self, counts: MemoCounts) {
        for (result, count) in [("hit", counts.hits), ("miss", counts.misses)] {
            self.counter("gavel_memo_lookups_total", &[("result", result)]).absolute(count);
        }
    }

    /// Notes what the engine is doing now.
    fn set_engine(&self, stats: &Stats) {
        let set = |name, value: usize| self.gauge(name, &[]).set(value as f64);
        set("gavel_engine_alive", usize::from(stats.alive));
        set("gavel_requests_running", stats.running);
        set("gavel_waiting_tokens", stats.waiting_tokens);
        set("gavel_tokens_per_second", stats.tokens_per_second as usize);
        for (lane, waiting) in [("score", stats.waiting_scores), ("explain", stats.waiting_texts)] {
            self.gauge("gavel_requests_waiting", &[("lane", lane)]).set(waiting as f64);
        }
        // Kept blocks that are being read are counted as kept.
        let used = stats.total_blocks.saturating_sub(stats.free_blocks);
        for (state, blocks) in
            [("available", stats.free_blocks), ("in_use", used), ("kept", stats.cached_blocks)]
        {
            self.gauge("gavel_kv_blocks", &[("state", state)]).set(blocks as f64);
        }
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

/// `GET /metrics`: everything in Prometheus' text format.
pub(crate) async fn scrape(State(state): State<AppState>) -> impl IntoResponse {
    state.metrics.set_engine(&state.judge.stats());
    state.metrics.set_memo(state.judge.memo_counts());
    let text = state.metrics.handle.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Counts a request and its time, by its route and the class of its status.
pub(crate) async fn count_request(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".into());
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    metrics.counter("gavel_requests_total", &[("endpoint", &route), ("status", &status)]).increment(1);
    metrics.histogram("gavel_request_duration_seconds", &[("endpoint", &route)]).record(start.elapsed());
    response
}
