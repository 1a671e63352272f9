//! Reads the settings: the command line overrides the environment, which overrides the configuration file.

mod command_line;
mod configuration;
mod environment;
mod relations;

pub(crate) use command_line::{ParsedCommandLine, check_configuration, unknown_variables};
pub(crate) use configuration::ConfigurationError;
pub(crate) use environment::log_filter;
