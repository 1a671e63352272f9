//! Options of `gavel serve` for the name of the critic.

use clap::{Args, ValueEnum};

/// The names that the critic is known by.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelOptions {
    /// Further names by which clients may call the critic: `GET /v1/models/{name}` knows them, `?aliases=1` lists them.
    #[arg(long, value_delimiter = ',')]
    pub(crate) model_aliases: Vec<String>,
    /// What happens to a request for a model of another name.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) unknown_models: UnknownNames,
    /// Which name the field `model` of a response contains. The header `x-gavel-model` always contains the true
    /// one.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) response_model: ResponseName,
}

/// How to treat a request for a model of an unknown name.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum UnknownNames {
    /// The critic answers to any name.
    #[default]
    Accept,
    /// It is refused.
    Refuse,
}

/// Which name a response contains.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ResponseName {
    /// The name in the request: programs look up prices and results by it.
    #[default]
    Requested,
    /// The name of the checkpoint.
    #[value(name = "true")]
    Checkpoint,
}
