//! By which names the critic goes.

use clap::{Args, ValueEnum};

/// By which names the critic goes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelOptions {
    /// Names by which clients may call the critic, beside its own: they can be asked for one by one.
    #[arg(long, value_delimiter = ',')]
    pub(crate) model_aliases: Vec<String>,
    /// What becomes of a request that calls the critic by a name that it does not have.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) unknown_models: UnknownNames,
    /// Which name `model` of a response has; the header `x-gavel-model` always has the true one.
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
