//! Every metric: its name, labels, kind, buckets and help text. All are an interface: dashboards and alerts depend on
//! them.
//!
//! A name is written here alone. What records a metric takes a [`Metric`], which only this module makes, so that
//! nothing is recorded without a description, as another kind, or with other labels.

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

/// Bucket bounds of durations, in seconds: from the time of HTTP alone to that of a large critic on a CPU.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bucket bounds of counts: powers of two.
const COUNTS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];
/// Bucket bounds of values between 0 and 1.
const PARTS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Bucket bounds of entropies, in nats.
const NATS: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];

/// A metric that is recorded with `Handle`, one of [`Counter`], [`Gauge`] and [`Histogram`], and has `LABELS` labels.
pub(super) struct Metric<Handle, const LABELS: usize> {
    pub(super) definition: Definition,
    handle: PhantomData<fn() -> Handle>,
}

/// What is exported about a metric besides its values.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    labels: &'static [&'static str],
    pub(super) help: &'static str,
    kind: Kind,
}

/// The kind of a metric.
#[derive(Debug)]
enum Kind {
    Counter,
    Gauge,
    /// With the bounds of its buckets.
    Histogram(&'static [f64]),
}

impl<Handle, const LABELS: usize> Metric<Handle, LABELS> {
    /// The key of the time series with these values of the labels, in the order in which the labels are defined.
    pub(super) fn key(&self, values: [&str; LABELS]) -> Key {
        let labels = self.definition.labels.iter().zip(values);
        let labels = labels.map(|(label, value)| Label::new(*label, value.to_owned()));
        Key::from_parts(self.definition.name, labels.collect::<Vec<_>>())
    }
}

impl Definition {
    /// The unit, which by Prometheus' convention is the last word of the name, before `_total`.
    fn unit(&self) -> Option<Unit> {
        let quantity = self.name.strip_suffix("_total").unwrap_or(self.name);
        match quantity.rsplit('_').next() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }
}

/// All metrics.
fn all() -> impl Iterator<Item = &'static Definition> {
    [COUNTERS, GAUGES, DURATIONS, SIZES, SHARES, ENTROPIES].into_iter().flatten().copied()
}

/// Sets the buckets of all histograms.
pub(super) fn with_buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    all().fold(builder, |builder, definition| match definition.kind {
        Kind::Histogram(bounds) => {
            let name = Matcher::Full(definition.name.into());
            builder.set_buckets_for_metric(name, bounds).expect("there are buckets")
        }
        Kind::Counter | Kind::Gauge => builder,
    })
}

/// Registers the descriptions of all metrics with the recorder.
pub(super) fn describe(recorder: &PrometheusRecorder) {
    for definition in all() {
        let (name, unit) = (KeyName::from(definition.name), definition.unit());
        let help = definition.help.into();
        match definition.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        }
    }
}

/// Defines metrics of one kind, and the list of them. The name of each is that of the metric in capitals, without
/// `gavel_`.
macro_rules! define {
    ($group:ident: $handle:ident, $kind:expr;
     $($metric:ident = $name:literal, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) static $metric: Metric<$handle, { <[&'static str]>::len(&[$($label),*]) }> = Metric {
            definition: Definition { name: $name, labels: &[$($label),*], help: $help, kind: $kind },
            handle: PhantomData,
        };)*
        static $group: &[&Definition] = &[$(&$metric.definition),*];
    };
}

define! {
    COUNTERS: Counter, Kind::Counter;
    REQUESTS_TOTAL = "gavel_requests_total", ["endpoint", "kind", "outcome"],
        "Requests whose answer has ended, by what became of them.";
    SEQUENCES_TOTAL = "gavel_sequences_total", ["lane", "ending"],
        "Sequences that ended, by how.";
    CANCELLED_TOTAL = "gavel_cancelled_total", ["stage"],
        "Sequences whose clients left, by how far they had come.";
    ADMISSION_REJECTIONS_TOTAL = "gavel_admission_rejections_total", ["reason"],
        "Requests that were not admitted, by the reason.";
    REFUSALS_TOTAL = "gavel_refusals_total", ["reason", "key"],
        "Requests that were refused before the engine saw them, by the reason and the key.";
    CONNECTIONS_LOST_TOTAL = "gavel_connections_lost_total", ["reason"],
        "Connections that were closed or broke, by the reason.";
    DISCARDED_BODY_BYTES_TOTAL = "gavel_discarded_body_bytes_total", [],
        "Bytes of bodies that were not read before their requests were answered, and were discarded.";
    PROMPT_TOKENS_TOTAL = "gavel_prompt_tokens_total", ["source"],
        "Tokens of prompts, computed or kept from earlier ones.";
    REPLY_TOKENS_TOTAL = "gavel_reply_tokens_total", ["lane"],
        "Tokens of replies.";
    STEPS_TOTAL = "gavel_steps_total", [],
        "Steps of the model.";
    STEP_FAILURES_TOTAL = "gavel_step_failures_total", [],
        "Sequences that failed with their step.";
    NUMERICAL_ERRORS_TOTAL = "gavel_numerical_errors_total", [],
        "Sequences that failed since the model wrote values that are no numbers.";
    RELOADS_TOTAL = "gavel_reloads_total", ["outcome"],
        "Times that keys, certificates and rubrics were read again, by whether all were right.";
    LOG_LINES_DROPPED_TOTAL = "gavel_log_lines_dropped_total", [],
        "Lines of the log that nobody took from standard error in time.";
    CACHE_REQUESTS_TOTAL = "gavel_cache_requests_total", ["tier", "result"],
        "What was looked for in the caches: blocks of prompts, features and tiles of images.";
    CACHE_EVICTIONS_TOTAL = "gavel_cache_evictions_total", ["tier"],
        "What the caches gave up to make room.";
    VERDICTS_TOTAL = "gavel_verdicts_total", ["verdict"],
        "Verdicts, by what they say.";
    VERDICT_FAILURES_TOTAL = "gavel_verdict_failures_total", ["code"],
        "Judgements without a verdict, by the code of their error.";
    PARSE_FAILURES_TOTAL = "gavel_parse_failures_total", ["kind"],
        "Texts of the critic that are no verdict, by what is wrong with them.";
    FORM_ANSWERS_TOTAL = "gavel_form_answers_total", ["form"],
        "Answers in chats and completions, by the form that their prompt was recognised to want; none for the others.";
    IMAGE_FETCH_TOTAL = "gavel_image_fetch_total", ["outcome"],
        "Images that were to be fetched from other hosts, by whether they came.";
    IMAGE_DECODE_SECONDS_TOTAL = "gavel_image_decode_seconds_total", [],
        "Time spent on decoding and cutting images.";
    MEMO_LOOKUPS_TOTAL = "gavel_memo_lookups_total", ["result"],
        "Verdicts that were looked for in memory, by whether they were there.";
    BATCH_LINES_TOTAL = "gavel_batch_lines_total", ["outcome"],
        "Lines of batches, by what became of them.";
    JUDGING_LOG_LINES_TOTAL = "gavel_judging_log_lines_total", [],
        "Lines of the judging log that were written.";
    JUDGING_LOG_DROPPED_TOTAL = "gavel_judging_log_dropped_total", [],
        "Lines of the judging log that were lost.";
    OFF_LABEL_TOTAL = "gavel_off_label_total", [],
        "Verdicts where the critic gave all possible verdicts together a probability of less than a half.";
    TRUNCATED_TOTAL = "gavel_truncated_total", [],
        "Verdicts whose justification was cut by its bound of tokens.";
    POSITION_CHECKED_TOTAL = "gavel_position_checked_total", [],
        "Pairs that were judged in both orders.";
    POSITION_FLIPS_TOTAL = "gavel_position_flips_total", [],
        "Pairs judged in both orders whose orders name different winners.";
    RUBRIC_VERDICTS_TOTAL = "gavel_rubric_verdicts_total", ["rubric", "verdict"],
        "Verdicts, by rubric and what they say.";
    RUBRIC_POSITION_CHECKED_TOTAL = "gavel_rubric_position_checked_total", ["rubric"],
        "Pairs that were judged in both orders, by rubric.";
    RUBRIC_POSITION_FLIPS_TOTAL = "gavel_rubric_position_flips_total", ["rubric"],
        "Pairs judged in both orders whose orders name different winners, by rubric.";
    FLAGS_TOTAL = "gavel_flags_total", ["rubric", "flag"],
        "What was odd about responses and verdicts, by rubric.";
    PROCESS_CPU_SECONDS_TOTAL = "process_cpu_seconds_total", [],
        "Time that processors spent on the process.";
}

define! {
    GAUGES: Gauge, Kind::Gauge;
    CONNECTIONS_OPEN = "gavel_connections_open", [],
        "Connections that are open now.";
    BODY_BYTES = "gavel_body_bytes", [],
        "Bytes of bodies of requests that are not answered.";
    BUILD_INFO = "gavel_build_info", ["version", "git", "model", "dtype"],
        "Version, commit, model and number type; always 1.";
    STARTUP_SECONDS = "gavel_startup_seconds", ["phase"],
        "How long the parts of the start took.";
    ENGINE_ALIVE = "gavel_engine_alive", [],
        "Whether the engine takes requests.";
    ENGINE_STEP_AGE_SECONDS = "gavel_engine_step_age_seconds", [],
        "For how long the engine has been at its present step; 0 when it has none.";
    REQUESTS_RUNNING = "gavel_requests_running", [],
        "Sequences that run.";
    REQUESTS_WAITING = "gavel_requests_waiting", ["lane"],
        "Sequences that wait for their turn.";
    WAITING_TOKENS = "gavel_waiting_tokens", [],
        "Tokens of waiting prompts that are not known yet.";
    TOKENS_PER_SECOND = "gavel_tokens_per_second", [],
        "Tokens run each second of work, lately.";
    KV_BLOCKS = "gavel_kv_blocks", ["state"],
        "Blocks of the cache of keys and values: free, kept for later requests, or in use.";
    CACHE_BYTES = "gavel_cache_bytes", ["tier"],
        "Bytes that the caches hold.";
    GPU_MEMORY_BYTES = "gavel_gpu_memory_bytes", ["kind"],
        "How the memory of the GPUs is shared out, as the server starts.";
    FILES = "gavel_files", [],
        "Files that are kept for clients.";
    FILES_BYTES = "gavel_files_bytes", [],
        "Bytes of the stored files.";
    BATCHES = "gavel_batches", ["state"],
        "Batches, by where they stand.";
    PROCESS_RESIDENT_MEMORY_BYTES = "process_resident_memory_bytes", [],
        "Memory that the process takes.";
    PROCESS_THREADS = "process_threads", [],
        "Threads of the process.";
    PROCESS_OPEN_FDS = "process_open_fds", [],
        "Files and sockets that the process has open.";
    PROCESS_MAX_FDS = "process_max_fds", [],
        "The most files and sockets that the process may have open.";
    PROCESS_START_TIME_SECONDS = "process_start_time_seconds", [],
        "When the process started, in seconds since 1970.";
}

define! {
    DURATIONS: Histogram, Kind::Histogram(&SECONDS);
    REQUEST_DURATION_SECONDS = "gavel_request_duration_seconds", ["endpoint", "kind"],
        "From a request to the end of its answer.";
    QUEUE_SECONDS = "gavel_queue_seconds", ["lane"],
        "From the arrival of a sequence to its admission.";
    PREFILL_SECONDS = "gavel_prefill_seconds", ["lane"],
        "From the admission of a sequence to its first token or label.";
    DECODE_SECONDS = "gavel_decode_seconds", ["lane"],
        "From the first token or label of a sequence to its end.";
    TIME_TO_FIRST_TOKEN_SECONDS = "gavel_time_to_first_token_seconds", ["lane"],
        "From the arrival of a sequence to its first token or label.";
    TIME_TO_SCORE_SECONDS = "gavel_time_to_score_seconds", ["lane"],
        "From the arrival of a sequence to its verdict, where it chooses one.";
    INTER_TOKEN_LATENCY_SECONDS = "gavel_inter_token_latency_seconds", [],
        "Between two tokens that a sequence writes.";
    STEP_DURATION_SECONDS = "gavel_step_duration_seconds", ["phase"],
        "Length of a step of the model, and of its part for images.";
    IMAGE_FETCH_SECONDS = "gavel_image_fetch_seconds", [],
        "From the wish for an image of another host to its last byte, or to its failure.";
}

define! {
    SIZES: Histogram, Kind::Histogram(&COUNTS);
    STEP_BATCH_SIZE = "gavel_step_batch_size", ["phase"],
        "Sequences in a step.";
    STEP_TOKENS = "gavel_step_tokens", ["phase"],
        "Tokens in a step.";
    GROUP_FANOUT = "gavel_group_fanout", [],
        "Sequences that run with the same kept beginning when one is admitted to it.";
    IMAGE_TOKENS = "gavel_image_tokens", [],
        "Tokens that stand for the images of a sequence.";
    IMAGE_TILES = "gavel_image_tiles", [],
        "Tiles that the images of a sequence are cut into.";
}

define! {
    SHARES: Histogram, Kind::Histogram(&PARTS);
    SCORE = "gavel_score", ["task"],
        "Scores, each scale as 0 to 1.";
    LABEL_MASS = "gavel_label_mass", [],
        "Probability that the critic gives all possible verdicts together, or an upper bound of it.";
    RUBRIC_SCORE = "gavel_rubric_score", ["rubric"],
        "Scores by rubric, each scale as 0 to 1.";
    RUBRIC_LABEL_MASS = "gavel_rubric_label_mass", ["rubric"],
        "Probability that the critic gives all possible verdicts together, or an upper bound of it, by rubric.";
}

define! {
    ENTROPIES: Histogram, Kind::Histogram(&NATS);
    SCORE_ENTROPY = "gavel_score_entropy", [],
        "How undecided the critic is, in nats.";
}
