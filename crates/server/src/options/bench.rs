//! Options of `gavel bench`.

use std::path::PathBuf;

use bench::Shape;
use clap::{Args, Subcommand, ValueEnum};

use super::{
    CriticOptions, EngineOptions, HubArguments,
    numbers::{MANY, MOST_SEED, seconds, whole},
};

/// The most clients, of which each has a connection with a port of its own.
const MOST_CLIENTS: u64 = 1 << 16;

/// The most responses that are compared, each with every other.
const MOST_RESPONSES: u64 = 1 << 12;

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure a server under load: requests one at a time, then random arrivals at several rates.
    Load(Box<LoadArguments>),
    /// Measure the overhead of HTTP and scheduling: many clients, and a critic that computes nothing.
    Overhead(OverheadArguments),
    /// Send bad input of every kind to a live server, and check the server's state after each request.
    Corpus(CorpusArguments),
    /// Mistreat a live server as slow, vanishing, flooding and key-guessing clients do, next to honest clients.
    Abuse(AbuseArguments),
    /// Measure how much work shared prompts save when each response is compared with every other.
    Sharing(SharingArguments),
    /// Measure the model alone, step by step, next to the limits of its device. With `--model random:7b` or
    /// `random:72b` random weights are generated on the device, and nothing is downloaded.
    Steps(StepsArguments),
    /// Compare with transformers, llama.cpp and mistral.rs, as far as they are installed.
    Compare(CompareArguments),
    /// Make a critic of random weights, for measuring this program and others on the same model.
    MakeModel(MakeModelArguments),
}

/// Options of `gavel bench load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// A running server, such as `http://127.0.0.1:8080`. Without it a server is started, with the critic and the
    /// limits that the other options choose.
    #[arg(long, conflicts_with_all = ["model", "config_dir", "max_sequences", "max_waiting", "quantize"])]
    pub(crate) url: Option<String>,
    /// Requests at each rate.
    #[arg(long, default_value_t = 64, value_parser = whole::<0, MANY, usize>)]
    pub(crate) requests: usize,
    /// Rates of arrivals in requests per second, comma-separated. Without it, 0.5, 1, 2 and 4 times the rate at
    /// which requests are judged one at a time.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rates: Vec<f64>,
    /// Tokens that the critic may write for each request.
    #[arg(long, default_value_t = 64, value_parser = whole::<0, MANY, usize>)]
    pub(crate) max_tokens: usize,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    // Last, so that the command's own options are not listed under their headings.
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel bench overhead`.
#[derive(Debug, Args)]
pub(crate) struct OverheadArguments {
    /// Number of clients, each with one persistent connection.
    #[arg(long, default_value_t = 1000, value_parser = whole::<0, MOST_CLIENTS, usize>)]
    pub(crate) clients: usize,
    /// Duration of each phase in seconds: requests as fast as they are answered, then random arrivals.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Rate of the random arrivals, as a fraction of the highest rate measured.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) paced_part: f64,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// Options of `gavel bench corpus`.
#[derive(Debug, Args)]
pub(crate) struct CorpusArguments {
    /// Folder with the cases.
    #[arg(default_value = "tests/corpus")]
    pub(crate) folder: PathBuf,
    /// A running server, such as `http://127.0.0.1:8080`. Without it, servers of this program are started, with the
    /// options that the cases need.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The program whose servers are started; by default this program.
    #[arg(long, conflicts_with = "url")]
    pub(crate) program: Option<PathBuf>,
    /// The file to which the running server's standard error is written.
    #[arg(long, requires = "url")]
    pub(crate) log: Option<PathBuf>,
    /// Send only the first request of each case, and skip slow cases.
    #[arg(long)]
    pub(crate) short: bool,
    /// Prefixes of the names of cases to run, comma-separated, such as `J,I-0`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Repeat the cases that need no server options for this many minutes, and report whether memory grows.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `gavel bench abuse`.
#[derive(Debug, Args)]
pub(crate) struct AbuseArguments {
    /// A running server with the default limits, such as `http://127.0.0.1:8080`. Without it, a server of this
    /// program is started.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Key for the running server; all metrics need a key for administration.
    #[arg(long, requires = "url", env = "GAVEL_API_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// The program whose server is started; by default this program.
    #[arg(long, conflicts_with = "url")]
    pub(crate) program: Option<PathBuf>,
    /// The file to which the running server's standard error is written.
    #[arg(long, requires = "url")]
    pub(crate) log: Option<PathBuf>,
    /// Use few clients and short limits: shows that the limits hold, and measures nothing.
    #[arg(long, conflicts_with = "url")]
    pub(crate) short: bool,
    /// Kinds of abuse to run, comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = shape)]
    pub(crate) only: Vec<Shape>,
    /// Repeat for this many minutes, to detect whether memory grows.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

fn shape(name: &str) -> Result<Shape, String> {
    Shape::ALL.into_iter().find(|shape| shape.name() == name).ok_or_else(|| {
        let names = Shape::ALL.map(Shape::name).join(", ");
        format!("one of {names} is wanted")
    })
}

/// Options of `gavel bench sharing`.
#[derive(Debug, Args)]
pub(crate) struct SharingArguments {
    /// Numbers of responses to compare, comma-separated; each number is measured separately.
    #[arg(long, value_delimiter = ',', default_values_t = [5, 16], value_parser = whole::<0, MOST_RESPONSES, usize>)]
    pub(crate) responses: Vec<usize>,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `gavel bench steps`.
#[derive(Debug, Args)]
pub(crate) struct StepsArguments {
    /// Small sizes, each measured once: shows that everything works, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel bench make-model`.
#[derive(Debug, Args)]
pub(crate) struct MakeModelArguments {
    /// Shape of the model.
    pub(crate) shape: ShapeChoice,
    /// Folder for the checkpoint, in the Hugging Face layout.
    pub(crate) folder: PathBuf,
    /// Seed of the random weights.
    #[arg(long, default_value_t = 1, value_parser = whole::<0, MOST_SEED, u64>)]
    pub(crate) seed: u64,
    /// How weights are stored. `f32` and `bf16` hold the same numbers.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: MadeFormChoice,
}

/// The shape of a model.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ShapeChoice {
    /// 50 million weights, with image tiles of the published size.
    Small,
    /// The shape of LLaVA-Critic-7B.
    #[value(name = "7b")]
    SevenB,
    /// The shape of LLaVA-Critic-72B.
    #[value(name = "72b")]
    SeventyTwoB,
}

/// A form of weights on disk.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum MadeFormChoice {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of 32-bit ones.
    #[default]
    Bf16,
    /// The language model as GGUF in eight bits, the rest as bf16.
    Q8,
    /// The language model as GGUF in four bits, the rest as bf16.
    Q4,
}

/// Options of `gavel bench compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// Checkpoint: a folder, or the id of a repository on the hub. Without it, the small critic inside the program,
    /// which the other programs cannot load.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The device to compute on. On a GPU only `language` and `reward` are measured, in bf16, and compared with
    /// transformers.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: CompareDeviceChoice,
    /// A Python interpreter with the packages of `crates/bench/peers/requirements.txt`, in which transformers and
    /// mistral.rs are measured.
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// Path of llama.cpp's `llama-server`.
    #[arg(long)]
    pub(crate) llama_server: Option<PathBuf>,
    /// What to measure, comma-separated. Without it, everything that the device supports.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) parts: Vec<ComparePart>,
    /// Small sizes, each measured once: shows that everything works, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// File for the tables as Markdown.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
    /// Folder for the curves as SVG.
    #[arg(long)]
    pub(crate) plots: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubArguments,
}

/// The device of `gavel bench compare`.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum CompareDeviceChoice {
    /// The CPU.
    #[default]
    Cpu,
    /// The first GPU.
    Cuda,
}

/// A part of `gavel bench compare`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ComparePart {
    /// Time from the start to the first verdict, and memory when idle.
    Startup,
    /// Computing the features of an image.
    Image,
    /// Prefill and decode of the language model alone.
    Language,
    /// Rewards from all ordered pairs of five responses, with and without reasons.
    Reward,
    /// Growth of the cost with context length and number of responses.
    Growth,
}

/// Options that the benchmarks with a server share.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// `mode` of the requests; by default the one that the critic was trained for.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Seed of the requests and their arrival times.
    #[arg(long, default_value_t = 1, value_parser = whole::<0, MOST_SEED, u64>)]
    pub(crate) seed: u64,
    /// File for the results as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
