//! Reads the options: the command line overrides the environment, which overrides the configuration file.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches};

use super::{
    configuration::{self, Configuration, ConfigurationError, SERVE},
    environment::{self, blamed},
};
use crate::{
    options::{Command, CommandLine, ServeOptions},
    serve::ServeError,
};

/// The result of reading the command line.
pub(crate) enum ParsedCommandLine {
    /// Run this command.
    Run(Box<Command>),
    /// Print this text and exit.
    Print(String),
}

impl ParsedCommandLine {
    /// Reads the command line, the environment and the configuration file. Ends the process as clap does, after
    /// printing help or an error about the arguments.
    ///
    /// # Errors
    /// If the configuration file or an environment variable is invalid.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let command = command_line();
        let matches = matches_of(&command)?;
        let Some(serve) = matches.subcommand_matches(SERVE) else {
            return Ok(Self::Run(Box::new(command_of(&matches))));
        };
        let file = serve.get_one::<PathBuf>("config");
        let file = file.map(|path| Configuration::read(path, &serve_command())).transpose()?;
        let command = command.mut_subcommand(SERVE, |serve| match &file {
            Some(file) => file.apply(serve),
            None => serve,
        });
        let matches = matches_of(&command)?;
        match matches.subcommand_matches(SERVE) {
            Some(serve) if serve.get_flag("print_config") => {
                Ok(Self::Print(configuration::in_force(&serve_command(), (serve, file.as_ref()))))
            }
            _ => Ok(Self::Run(Box::new(command_of(&matches)))),
        }
    }
}

/// The definition of the whole command line, with environment variables.
fn command_line() -> clap::Command {
    CommandLine::command().mut_subcommand(SERVE, configuration::with_environment)
}

/// Parses the arguments of the process.
///
/// # Errors
/// If an environment variable has an invalid value. Ends the process on any other error, and for help.
fn matches_of(command: &clap::Command) -> Result<ArgMatches, ServeError> {
    command.clone().try_get_matches().map_err(|error| match blamed(command, &error) {
        Some(problem) => ServeError::Variable(problem),
        None => error.exit(),
    })
}

fn command_of(matches: &ArgMatches) -> Command {
    CommandLine::from_arg_matches(matches).unwrap_or_else(|error| error.exit()).command
}

/// A command with the options of `gavel serve`, which are the settings of a configuration file.
fn serve_command() -> clap::Command {
    ServeOptions::augment_args(clap::Command::new(SERVE))
}

/// Warnings about environment variables that are named like options of this program but are none.
pub(crate) fn unknown_variables() -> Vec<String> {
    environment::unknown_variables(&command_line())
}

/// Validates a configuration file; returns its numbers of settings and of keys.
///
/// # Errors
/// All problems of the file.
pub(crate) fn check_configuration(path: &Path) -> Result<(usize, usize), ConfigurationError> {
    Configuration::read(path, &serve_command()).map(|file| file.counts())
}
