//! What `gavel bench` takes.

use std::path::PathBuf;

use bench::Shape;
use clap::{Args, Subcommand, ValueEnum};

use super::{CriticOptions, EngineOptions, HubArguments};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// A server under load: requests one at a time, then at random times at several rates.
    Load(Box<LoadArguments>),
    /// What HTTP and scheduling cost: many clients, and a critic that computes nothing.
    Overhead(OverheadArguments),
    /// Send bad input of every kind to a live server, and look after each request what is left of it.
    Corpus(CorpusArguments),
    /// Treat a live server badly, as slow, absent, flooding and guessing clients do, with honest ones beside them.
    Abuse(AbuseArguments),
    /// How much work the sharing of prompts saves, when each response is compared with each other one.
    Sharing(SharingArguments),
    /// Measure the model alone, step by step, beside the limits of what it runs on. With `--model random:7b` or `random:72b` its
    /// weights are drawn where it runs, and nothing is downloaded.
    Steps(StepsArguments),
    /// Side by side with transformers, llama.cpp and mistral.rs, as far as they are there.
    Compare(CompareArguments),
    /// Make a critic of random weights, for measuring this program and others on the very same model.
    MakeModel(MakeModelArguments),
}

/// Options of `gavel bench load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// A running server, such as `http://127.0.0.1:8080`. Without it one is started, with the critic and the bounds that
    /// the other options choose.
    #[arg(long, conflicts_with_all = ["model", "config_dir", "max_sequences", "max_waiting", "quantize"])]
    pub(crate) url: Option<String>,
    /// Requests at each rate.
    #[arg(long, default_value_t = 64)]
    pub(crate) requests: usize,
    /// Rates of arrivals in requests each second, with commas between. Without it, 0.5, 1, 2 and 4 times the rate at which
    /// requests are judged one at a time.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rates: Vec<f64>,
    /// Tokens that the critic may write for each request.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_tokens: usize,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    // Last, so that no option of the command stands under their headings.
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel bench overhead`.
#[derive(Debug, Args)]
pub(crate) struct OverheadArguments {
    /// Connections, all kept alive.
    #[arg(long, default_value_t = 1000)]
    pub(crate) clients: usize,
    /// How long requests are sent as fast as they are answered, and again at random times.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// What part of the most that the server does is asked of it at random times.
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
    /// A running server, such as `http://127.0.0.1:8080`. Without it, servers of this program are started, with the options that
    /// the cases need.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The program whose servers are started; this one without it.
    #[arg(long, conflicts_with = "url")]
    pub(crate) program: Option<PathBuf>,
    /// The file that the running server's standard error goes to.
    #[arg(long, requires = "url")]
    pub(crate) log: Option<PathBuf>,
    /// The first request of each case alone, and no slow ones.
    #[arg(long)]
    pub(crate) short: bool,
    /// Beginnings of the names of cases, with commas between, such as `J,I-0`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Send them again and again for so many minutes, those that need no options, and tell whether memory grows.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// File for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `gavel bench abuse`.
#[derive(Debug, Args)]
pub(crate) struct AbuseArguments {
    /// A running server with the usual limits, such as `http://127.0.0.1:8080`. Without it, one of this program is started.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The key that is shown to the running server; one for administration shows all figures.
    #[arg(long, requires = "url", env = "GAVEL_API_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// The program whose server is started; this one without it.
    #[arg(long, conflicts_with = "url")]
    pub(crate) program: Option<PathBuf>,
    /// The file that the running server's standard error goes to.
    #[arg(long, requires = "url")]
    pub(crate) log: Option<PathBuf>,
    /// Few clients and short limits: shows that they hold, and measures nothing.
    #[arg(long, conflicts_with = "url")]
    pub(crate) short: bool,
    /// Shapes of abuse, with commas between.
    #[arg(long, value_delimiter = ',', value_parser = shape)]
    pub(crate) only: Vec<Shape>,
    /// Again and again for so many minutes, to tell whether memory grows.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// File for the figures as JSON.
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
    /// How many responses are compared, with commas between; each number is measured by itself.
    #[arg(long, value_delimiter = ',', default_values_t = [5, 16])]
    pub(crate) responses: Vec<usize>,
    /// File for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `gavel bench steps`.
#[derive(Debug, Args)]
pub(crate) struct StepsArguments {
    /// Small sizes, each once: shows that everything works, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) critic: CriticOptions,
}

/// Options of `gavel bench make-model`.
#[derive(Debug, Args)]
pub(crate) struct MakeModelArguments {
    /// Which model's shape it has.
    pub(crate) shape: ShapeChoice,
    /// Folder for the checkpoint, in the Hugging Face layout.
    pub(crate) folder: PathBuf,
    /// From which all weights follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How weights are stored. They are the same numbers in both forms of floats.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: MadeFormChoice,
}

/// A shape of a model.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ShapeChoice {
    /// 50 million weights; tiles of the published size.
    Small,
    /// That of LLaVA-Critic-7B.
    #[value(name = "7b")]
    SevenB,
    /// That of LLaVA-Critic-72B.
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
    /// Checkpoint: a folder, or the id of a repository on the hub. Without it, the small critic inside the program, which
    /// the others cannot load.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// What to compute on. On a GPU, `language` and `reward` are measured, all of it in bf16, beside transformers.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: CompareDeviceChoice,
    /// A Python with what `crates/bench/peers/requirements.txt` names: transformers and mistral.rs are measured in it.
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// llama.cpp's `llama-server`.
    #[arg(long)]
    pub(crate) llama_server: Option<PathBuf>,
    /// What to measure, with commas between. Without it, everything that the device has.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) parts: Vec<ComparePart>,
    /// Small sizes, each once: shows that everything works, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for the figures as JSON.
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

/// What `gavel bench compare` computes on.
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
    /// From the start to the first verdict, and the memory at rest.
    Startup,
    /// Features of an image.
    Image,
    /// Reading and writing of the language model alone.
    Language,
    /// All ordered pairs of five responses, with and without reasons.
    Reward,
    /// How the cost grows with context and responses.
    Growth,
}

/// What the benchmarks with a server have in common.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// `mode` of the requests; without it, as the critic was trained.
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// From which requests and times of arrival follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// File for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
