//! Reads the settings: the command line overrides the environment, which overrides the configuration file.

mod configuration;
mod environment;
mod given;

pub(crate) use configuration::ConfigurationError;
pub(crate) use environment::log_filter;
pub(crate) use given::{Given, check_configuration, unknown_variables};
