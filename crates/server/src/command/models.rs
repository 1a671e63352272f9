//! By which names the critic goes.

use clap::{Args, ValueEnum};

/// By which names the critic goes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelOptions {
    /// Further names by which clients may call the critic: `GET /v1/models/{name}` knows them, `?aliases=1` lists them.
    #[arg(long, value_delimiter = ',')]
    pub(crate) model_aliases: Vec<String>,
    /// What happens to a request for a model of another name.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) unknown_models: UnknownNames,
    /// Which name the field `model` of a response has. The header `x-gavel-model` always has the true one.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) response_model: ToldName,
}

/// What becomes of a request with an unknown name.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum UnknownNames {
    /// The critic answers to any name.
    #[default]
    Accept,
    /// It is refused.
    Refuse,
}

/// Which name a response has.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ToldName {
    /// The one that the request has: programs look up prices and results by it.
    #[default]
    Requested,
    /// The checkpoint's.
    True,
}
