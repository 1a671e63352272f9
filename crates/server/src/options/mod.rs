//! The commands and options of the command line. Their doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod access;
mod bench;
mod bulk;
mod convert;
mod device;
mod evaluate;
mod images;
mod key;
mod limits;
mod log;
mod models;
mod numbers;
mod rubric;
pub(crate) mod spelling;
mod storage;
mod systemd;
mod trace;

pub(crate) use access::{AccessOptions, ConnectionOptions, TlsOptions};
pub(crate) use bench::{
    AbuseArguments, BenchCommand, CompareArguments, CompareDeviceChoice, ComparePart, CorpusArguments,
    LoadArguments, MadeFormChoice, MakeModelArguments, OverheadArguments, ShapeChoice, SharingArguments,
    StepsArguments,
};
pub(crate) use bulk::{Files, PairForm, PreferOptions, Urls, left_out_beside};
pub(crate) use convert::{ConvertOptions, GgufFormChoice};
pub(crate) use device::DeviceChoice;
pub(crate) use evaluate::{AttackOptions, EvaluateOptions, LabelledOptions};
pub(crate) use images::ImageOptions;
pub(crate) use key::KeyCommand;
pub(crate) use limits::LimitOptions;
pub(crate) use log::{DEFAULT_FILTER, ExportOptions, FILTER_VARIABLE, LogOptions, Redaction};
pub(crate) use models::{ModelOptions, ResponseName, UnknownNames};
use numbers::{MANY, MOST_MIB, YEAR_S, seconds, whole};
pub(crate) use rubric::RubricCommand;
pub(crate) use storage::StorageOptions;
pub(crate) use systemd::SystemdArguments;
pub(crate) use trace::TraceOptions;

/// Judges answers about images: a model of the LLaVA-Critic kind behind a command line and a server.
#[derive(Debug, Parser)]
#[command(name = "gavel", version)]
pub(crate) struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer HTTP requests.
    Serve(Box<ServeOptions>),
    /// Judge one case and print the verdict, with the justification as it is written; or judge a file of cases.
    // An error about missing options shows both usages.
    #[command(override_usage = "gavel judge --question QUESTION --response RESPONSE [OPTIONS]\n       \
                                gavel judge --input FILE --output FILE [OPTIONS]")]
    Judge(Box<CaseOptions>),
    /// Compare several responses to each question of a file, and write the pairs for preference learning.
    Prefer(Box<PreferOptions>),
    /// Measure a critic on a labelled set: agreement, biases, calibration.
    Evaluate(Box<EvaluateOptions>),
    /// Measure how far known attacks on judges move a critic's verdicts on a labelled set.
    Attack(Box<AttackOptions>),
    /// Make a training set in LLaVA-Critic's form from a judging log.
    Export(ExportOptions),
    /// Report the architecture, the size and the memory need of a checkpoint, without loading it.
    Inspect(InspectOptions),
    /// Write the language model of a checkpoint as a GGUF file, with its vocabulary, for llama.cpp and others.
    Convert(ConvertOptions),
    /// Check configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check whether a running server is ready; the exit status is 0 if it is.
    Probe(ProbeOptions),
    /// Check or list rubrics and critic profiles.
    #[command(subcommand)]
    Rubric(RubricCommand),
    /// Run a benchmark; each prints a table and can write its figures as JSON.
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// Where the critic and its rubrics come from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Critic")]
pub(crate) struct CriticOptions {
    /// Checkpoint: a folder, or the id of a repository on the hub. Without it, the small critic inside the program.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Folder with `rubrics/*.toml`, `critics/*.toml` and `forms/*.toml` that add to the built-in ones or replace those
    /// of the same name.
    #[arg(long)]
    pub(crate) config_dir: Option<PathBuf>,
    /// What to compute on: cpu, cuda, cuda:1 for another GPU, or auto: the first GPU if there is one, else the CPU.
    #[arg(long, default_value_t)]
    pub(crate) device: DeviceChoice,
    /// Split the decoder over this many GPUs, starting with that of `--device`, or over this many threads of the CPU; a
    /// number by which its key heads can be divided. GPUs need a program with the feature `nccl`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) tensor_parallel: u8,
    /// Maximum tokens of a prompt and its reply together. By default the context length of the checkpoint; a shorter
    /// one takes less memory, since the cache has room for at least one whole context.
    #[arg(long, value_parser = whole::<1, MANY, usize>)]
    pub(crate) context_length: Option<usize>,
    /// Memory for the KV cache, in mebibytes; at least one whole context is reserved. By default room for three
    /// contexts on a CPU, but from 64 to 256 MiB, and on a GPU what is left when everything else is loaded. A larger
    /// cache lets more requests run at once.
    #[arg(long, value_parser = whole::<0, MOST_MIB, usize>)]
    pub(crate) cache_mib: Option<usize>,
    /// Memory for images that were decoded and cut into tiles for earlier requests, in mebibytes.
    #[arg(long, default_value_t = 128, value_parser = whole::<0, MOST_MIB, usize>)]
    pub(crate) image_cache_mib: usize,
    /// Number type to compute in. By default f32 on a CPU, where the 16-bit types only save memory: they are slower
    /// there and less exact. A GPU computes in bf16.
    #[arg(long, value_enum)]
    pub(crate) precision: Option<PrecisionChoice>,
    /// How weights are held in memory when computing in f32.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weights: WeightsChoice,
    /// Quantise weights to fewer bits: faster and smaller, but less exact.
    #[arg(long, value_enum)]
    pub(crate) quantize: Option<QuantizeChoice>,
    #[command(flatten)]
    pub(crate) hub: HubArguments,
}

/// A number type.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PrecisionChoice {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// 16-bit floats with more precision and less range.
    F16,
}

/// A type of weights in memory.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum WeightsChoice {
    /// As they are stored: 16-bit weights take half the memory, and the results have the same bits.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
}

/// Bits of a quantised weight.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum QuantizeChoice {
    /// Eight bits.
    Q8,
    /// Four bits; eight for the output head, which computes the logits.
    Q4,
}

/// Options of downloads from the hub.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hub")]
pub(crate) struct HubArguments {
    /// Branch, tag or commit of a repository on the hub.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// Address of the hub.
    #[arg(long, env = "HF_ENDPOINT", hide_env_values = true)]
    pub(crate) hub_endpoint: Option<String>,
    /// Access token for repositories that require one; better set in the environment as HF_TOKEN.
    #[arg(long, env = "HF_TOKEN", hide_env_values = true)]
    pub(crate) hub_token: Option<String>,
    /// Folder of the hub's cache.
    #[arg(long, env = "HF_HUB_CACHE")]
    pub(crate) hub_cache: Option<PathBuf>,
    /// Use only what was downloaded before.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// The most sequences that can run at once. Each needs a token in every step, and its logits afterwards.
const MOST_SEQUENCES: u64 = 1 << 16;

/// The most verdicts that can be remembered: their table is made for all of them at the start.
const MOST_MEMO_ENTRIES: u64 = 1 << 24;

/// Limits of the engine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineOptions {
    /// Maximum number of sequences that run at once.
    #[arg(long, default_value_t = judge::EngineConfig::default().max_sequences, value_parser = whole::<1, MOST_SEQUENCES, usize>)]
    pub(crate) max_sequences: usize,
    /// Maximum number of requests in the queue, beyond those for which a sequence is free; further ones are refused
    /// at once. A request counts once, however many samples, rubrics, comparisons or texts it asks for.
    #[arg(long, default_value_t = judge::EngineConfig::default().max_waiting, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_waiting: usize,
    /// Maximum number of prompt tokens in the queue, without those that are cached from earlier requests.
    #[arg(long, default_value_t = judge::EngineConfig::default().max_waiting_tokens, value_parser = whole::<1, MANY, usize>)]
    pub(crate) max_waiting_tokens: usize,
    /// When the model's code panics, continue with an empty cache instead of ending with an error.
    #[arg(long)]
    pub(crate) restart_after_panic: bool,
}

/// Options of `gavel serve`. Each can also be set in a configuration file, under its section and name, and in the
/// environment, as `GAVEL_` and its name in capitals. The command line overrides the environment, which overrides the
/// file.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Configuration file (TOML); `config/gavel.toml` has all settings.
    #[arg(long, env = "GAVEL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings in force and their sources, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) systemd: SystemdArguments,
    #[command(flatten)]
    pub(crate) http: HttpOptions,
    #[command(flatten)]
    pub(crate) access: AccessOptions,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(flatten)]
    pub(crate) connections: ConnectionOptions,
    #[command(flatten)]
    pub(crate) models: ModelOptions,
    #[command(flatten)]
    pub(crate) images: ImageOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(flatten)]
    pub(crate) traces: TraceOptions,
    #[command(flatten)]
    pub(crate) storage: StorageOptions,
}

/// Options of the HTTP server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct HttpOptions {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", env = "GAVEL_HOST", value_parser = access::listen_host)]
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one, which the first line of the output names.
    #[arg(long, default_value_t = 8080, env = "GAVEL_PORT")]
    pub(crate) port: u16,
    /// Time limit from a request to the end of its answer, in seconds.
    #[arg(long, default_value_t = 600, value_parser = whole::<1, YEAR_S, u64>)]
    pub(crate) request_timeout_s: u64,
    /// Time limit of a request in the queue, in seconds; after it the request is refused, before any work was done for
    /// it. Lines of batches wait as long as their batch.
    #[arg(long, default_value_t = 120, value_parser = whole::<1, YEAR_S, u64>)]
    pub(crate) queue_timeout_s: u64,
    /// Number of verdicts that are remembered, so that an equal request is answered at once; 0 for none.
    #[arg(long, default_value_t = 1024, value_parser = whole::<0, MOST_MEMO_ENTRIES, usize>)]
    pub(crate) memo_entries: usize,
    /// Maximum size of the body of a request, in mebibytes.
    #[arg(long, default_value_t = 64, value_parser = whole::<1, MOST_MIB, usize>)]
    pub(crate) max_body_mib: usize,
    /// Memory for the bodies of all unanswered requests, in mebibytes; a request for which there is no room is refused.
    /// Each key may use the same share of it as of the queue.
    #[arg(long, default_value_t = 2048, value_parser = whole::<1, MOST_MIB, usize>)]
    pub(crate) max_bodies_mib: usize,
    /// Format of the log on standard error. The log has the method, the path and the id of requests, never their text
    /// or images.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace, off), or several by target, such as
    /// `warn,gavel=debug`. Libraries log up to `debug`: at `trace` they would write prompts. If neither this option nor GAVEL_LOG_FILTER is set, RUST_LOG in the environment is used.
    #[arg(long, default_value = log::DEFAULT_FILTER, value_parser = log::filter)]
    pub(crate) log_filter: String,
    /// Whether answers of chat and continued texts have the form that a known program looks for, recognised by its
    /// prompt; the request header `x-gavel-form` overrides it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) forms: FormsChoice,
    /// After a signal to stop: how long requests are still accepted while `/readyz` already answers 503, in seconds.
    /// Behind a load balancer, use a little more than the interval of its probes.
    #[arg(long, default_value_t = 0.0, value_parser = seconds)]
    pub(crate) shutdown_pause_s: f64,
    /// After that: how long running requests may take to finish, in seconds.
    #[arg(long, default_value_t = 30.0, value_parser = seconds)]
    pub(crate) shutdown_timeout_s: f64,
}

/// The format of a log.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Pretty,
    /// One JSON object per line, for programs.
    Json,
}

/// Whether answers have the forms of known programs.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum FormsChoice {
    /// If the prompt is that of a known program.
    #[default]
    Auto,
    /// Only if a request asks for it.
    Off,
}

/// Options of `gavel probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeOptions {
    /// Address that the server listens on.
    #[arg(long, default_value = "127.0.0.1", env = "GAVEL_HOST")]
    pub(crate) host: String,
    /// Port that the server listens on.
    #[arg(long, default_value_t = 8080, env = "GAVEL_PORT")]
    pub(crate) port: u16,
    /// Path to request, which must answer 200.
    #[arg(long, default_value = "/readyz")]
    pub(crate) path: String,
    /// How long to wait for an answer, in seconds.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) timeout_s: f64,
    /// Use TLS, and trust the certificate authorities in this PEM file.
    #[arg(long)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Name that the server's certificate must have; without it, that of `--host`.
    #[arg(long, requires = "tls_ca")]
    pub(crate) tls_name: Option<String>,
}

/// Options of `gavel judge`.
#[derive(Debug, Args)]
pub(crate) struct CaseOptions {
    /// Image that the question is about; may be given several times.
    #[arg(long)]
    pub(crate) image: Vec<PathBuf>,
    /// The question.
    #[arg(long, required_unless_present = "input")]
    pub(crate) question: Option<String>,
    /// The response to score; given twice, the two are compared.
    #[arg(long, required_unless_present = "input")]
    pub(crate) response: Vec<String>,
    /// An answer that is known to be right.
    #[arg(long)]
    pub(crate) reference: Option<String>,
    /// What the image shows, in words.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Name of the rubric; without it, the critic's default.
    #[arg(long)]
    pub(crate) rubric: Option<String>,
    /// Maximum number of tokens to generate.
    #[arg(long, default_value_t = judge::JudgeOptions::default().max_tokens, value_parser = whole::<0, MANY, usize>)]
    pub(crate) max_tokens: usize,
    /// Judge every case of this file instead: JSON lines with a question, images and one response or two each. A
    /// row's own `rubric`, `criteria` and `scale`, `mode` and `order` override the options.
    #[arg(long, requires = "output", conflicts_with_all = ["question", "response", "image", "reference"])]
    pub(crate) input: Option<PathBuf>,
    /// File for the verdicts on `--input`, one JSON line each. Cases that it already has are skipped. Cases that fail
    /// are written to a file beside it whose name ends in `.left-out.jsonl`, with the reasons, and tried again by the
    /// next run. A file whose name ends in `.run.json` has the options. A run is refused if it has other options, or
    /// another case with the id of one that was done, whose digest is in `row`.
    #[arg(long, requires = "input")]
    pub(crate) output: Option<PathBuf>,
    /// Read verdicts from the critic's logits, without any reasons, which saves the time to write them.
    #[arg(long)]
    pub(crate) score_only: bool,
    #[command(flatten)]
    pub(crate) urls: Urls,
    // Last, so that no option of the command itself is listed under its help headings.
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    /// Checkpoint: a folder, or the id of a repository on the hub. Without it, the small critic inside the program.
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubArguments,
}

/// Commands for configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report all errors in a configuration file, with their lines.
    Check {
        /// The file.
        file: PathBuf,
    },
}
