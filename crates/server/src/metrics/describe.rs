//! The descriptions of all metrics. Names, labels and units are an interface: dashboards and alerts depend on them.

use metrics::{KeyName, Recorder, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

const HISTOGRAMS: [(&str, &str); 19] = [
    ("gavel_request_duration_seconds", "From a request to the end of its answer."),
    ("gavel_queue_seconds", "From the arrival of a sequence to its admission."),
    ("gavel_prefill_seconds", "From the admission of a sequence to its first token or label."),
    ("gavel_decode_seconds", "From the first token or label of a sequence to its end."),
    ("gavel_time_to_first_token_seconds", "From the arrival of a sequence to its first token or label."),
    ("gavel_time_to_score_seconds", "From the arrival of a sequence to its verdict, where it chooses one."),
    ("gavel_inter_token_latency_seconds", "Between two tokens that a sequence writes."),
    ("gavel_step_duration_seconds", "Length of a step of the model, and of its part for images."),
    ("gavel_step_batch_size", "Sequences in a step."),
    ("gavel_step_tokens", "Tokens in a step."),
    ("gavel_group_fanout", "Sequences that run with the same kept beginning when one is admitted to it."),
    (
        "gavel_image_fetch_seconds",
        "From the wish for an image of another host to its last byte, or to its failure.",
    ),
    ("gavel_image_tokens", "Tokens that stand for the images of a sequence."),
    ("gavel_image_tiles", "Tiles that the images of a sequence are cut into."),
    ("gavel_score", "Scores, each scale as 0 to 1."),
    ("gavel_label_mass", "Probability that the critic gives all possible verdicts together."),
    ("gavel_rubric_score", "Scores by rubric, each scale as 0 to 1."),
    (
        "gavel_rubric_label_mass",
        "Probability that the critic gives all possible verdicts together, by rubric.",
    ),
    ("gavel_score_entropy", "How undecided the critic is, in nats."),
];

const COUNTERS: [(&str, &str); 32] = [
    ("gavel_requests_total", "Requests whose answer has ended, by what became of them."),
    ("gavel_sequences_total", "Sequences that ended, by how."),
    ("gavel_cancelled_total", "Sequences whose clients left, by how far they had come."),
    ("gavel_admission_rejections_total", "Requests that were not let in, by why."),
    ("gavel_refusals_total", "Requests that were refused before the engine saw them, by why and by key."),
    ("gavel_connections_lost_total", "Connections that were closed or broke, by why."),
    ("gavel_prompt_tokens_total", "Tokens of prompts, computed or kept from earlier ones."),
    ("gavel_reply_tokens_total", "Tokens of replies."),
    ("gavel_steps_total", "Steps of the model."),
    ("gavel_step_failures_total", "Sequences that failed with their step."),
    (
        "gavel_numerical_errors_total",
        "Sequences that failed since the model wrote values that are no numbers.",
    ),
    (
        "gavel_reloads_total",
        "Times that keys, certificates and rubrics were read again, by whether all were right.",
    ),
    ("gavel_log_lines_dropped_total", "Lines of the log that nobody took from standard error in time."),
    (
        "gavel_cache_requests_total",
        "What was looked for in the caches: blocks of prompts, features and tiles of images.",
    ),
    ("gavel_cache_evictions_total", "What the caches gave up to make room."),
    ("gavel_verdicts_total", "Verdicts, by what they say."),
    ("gavel_verdict_failures_total", "Judgements without a verdict, by the code of their error."),
    ("gavel_parse_failures_total", "Texts of the critic that are no verdict, by what is wrong with them."),
    ("gavel_form_answers_total", "Chat answers in the form of a known program, by its name."),
    ("gavel_image_fetch_total", "Images that were to be fetched from other hosts, by whether they came."),
    ("gavel_memo_lookups_total", "Verdicts that were looked for in memory, by whether they were there."),
    ("gavel_batch_lines_total", "Lines of batches, by what became of them."),
    ("gavel_judging_log_lines_total", "Lines of the judging log that were written."),
    ("gavel_judging_log_dropped_total", "Lines of the judging log that were lost."),
    (
        "gavel_off_label_total",
        "Verdicts where the critic gave all possible verdicts together a probability of less than a half.",
    ),
    ("gavel_truncated_total", "Verdicts whose justification was cut by its bound of tokens."),
    ("gavel_position_checked_total", "Pairs that were judged in both orders."),
    ("gavel_position_flips_total", "Pairs judged in both orders whose orders name different winners."),
    ("gavel_rubric_verdicts_total", "Verdicts, by rubric and what they say."),
    ("gavel_rubric_position_checked_total", "Pairs that were judged in both orders, by rubric."),
    (
        "gavel_rubric_position_flips_total",
        "Pairs judged in both orders whose orders name different winners, by rubric.",
    ),
    ("gavel_flags_total", "What was odd about responses and verdicts, by rubric."),
];

const GAUGES: [(&str, &str); 21] = [
    ("gavel_connections_open", "Connections that are open now."),
    ("gavel_body_bytes", "Bytes of bodies of requests that are not answered."),
    ("gavel_build_info", "Version, commit, model and number type; always 1."),
    ("gavel_startup_seconds", "How long the parts of the start took."),
    ("gavel_engine_alive", "Whether the engine takes requests."),
    (
        "gavel_engine_step_age_seconds",
        "For how long the engine has been at its present step; 0 when it has none.",
    ),
    ("gavel_requests_running", "Sequences that run."),
    ("gavel_requests_waiting", "Requests that wait for their turn."),
    ("gavel_waiting_tokens", "Tokens of waiting prompts that are not known yet."),
    ("gavel_tokens_per_second", "Tokens run each second of work, lately."),
    ("gavel_kv_blocks", "Blocks of the cache of keys and values: free, kept for later requests, or in use."),
    ("gavel_cache_bytes", "Bytes that the caches hold."),
    ("gavel_gpu_memory_bytes", "How the memory of the GPUs is shared out, as the server starts."),
    ("gavel_files", "Files that are kept for clients."),
    ("gavel_files_bytes", "Their bytes."),
    ("gavel_batches", "Batches, by where they stand."),
    ("process_resident_memory_bytes", "Memory that the process takes."),
    ("process_threads", "Threads of the process."),
    ("process_open_fds", "Files and sockets that the process has open."),
    ("process_max_fds", "The most files and sockets that the process may have open."),
    ("process_start_time_seconds", "When the process started, in seconds since 1970."),
];

/// Registers all descriptions with the recorder.
pub(super) fn describe(recorder: &PrometheusRecorder) {
    for (name, text) in HISTOGRAMS {
        let unit = name.ends_with("_seconds").then_some(Unit::Seconds);
        recorder.describe_histogram(KeyName::from(name), unit, text.into());
    }
    for (name, text) in COUNTERS {
        recorder.describe_counter(KeyName::from(name), None, text.into());
    }
    for (name, text) in GAUGES {
        recorder.describe_gauge(KeyName::from(name), None, text.into());
    }
}
