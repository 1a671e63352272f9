//! Reads what was given: the command line, over the environment, over a configuration file.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches};

use super::{
    Command, CommandLine, ServeOptions,
    environment::{self, blamed},
};
use crate::{
    configuration::{self, Configuration, ConfigurationError, SERVE},
    exit::{Fatal, Status},
};

/// What the program was asked.
pub(crate) enum Given {
    /// To do something.
    Run(Box<Command>),
    /// To print this.
    Print(String),
}

impl Given {
    /// Reads it. Ends the process where clap does: when help was asked for, or when the arguments make no sense.
    ///
    /// # Errors
    /// When the configuration file or a variable of the environment cannot be taken.
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

/// The whole command line, with the environment.
fn command_line() -> clap::Command {
    CommandLine::command().mut_subcommand(SERVE, configuration::with_environment)
}

/// What was given to `command`.
fn matches_of(command: &clap::Command) -> Result<ArgMatches, Fatal> {
    command.clone().try_get_matches().map_err(|error| match blamed(command, &error) {
        Some(problem) => Fatal::new(Status::Misconfigured, &anyhow!(problem)),
        None => error.exit(),
    })
}

fn command_of(matches: &ArgMatches) -> Command {
    CommandLine::from_arg_matches(matches).unwrap_or_else(|error| error.exit()).command
}

/// `gavel serve`, whose options are what a configuration file can set.
fn serve_command() -> clap::Command {
    ServeOptions::augment_args(clap::Command::new(SERVE))
}

/// What is to be said of variables that are called like options of this program, and are none.
pub(crate) fn unknown_variables() -> Vec<String> {
    environment::unknown_variables(&command_line())
}

/// Reads a configuration file and tells how many settings and how many keys it has.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn check_configuration(path: &Path) -> Result<(usize, usize), ConfigurationError> {
    Configuration::read(path, &serve_command()).map(|file| file.counts())
}
