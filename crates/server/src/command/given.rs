//! Reads what was given: the command line, over the environment, over a configuration file.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches};

use super::{Command, CommandLine, ServeOptions};
use crate::configuration::{self, Configuration, ConfigurationError, SERVE};

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
    /// When the configuration file cannot be taken.
    pub(crate) fn read() -> Result<Self, ConfigurationError> {
        let command = CommandLine::command().mut_subcommand(SERVE, configuration::with_environment);
        let matches = command.clone().get_matches();
        let Some(serve) = matches.subcommand_matches(SERVE) else {
            return Ok(Self::Run(Box::new(command_of(&matches))));
        };
        let file = serve.get_one::<PathBuf>("config");
        let file = file.map(|path| Configuration::read(path, &serve_command())).transpose()?;
        let matches = command
            .mut_subcommand(SERVE, |serve| match &file {
                Some(file) => file.apply(serve),
                None => serve,
            })
            .get_matches();
        match matches.subcommand_matches(SERVE) {
            Some(serve) if serve.get_flag("print_config") => {
                Ok(Self::Print(configuration::in_force(&serve_command(), (serve, file.as_ref()))))
            }
            _ => Ok(Self::Run(Box::new(command_of(&matches)))),
        }
    }
}

fn command_of(matches: &clap::ArgMatches) -> Command {
    CommandLine::from_arg_matches(matches).unwrap_or_else(|error| error.exit()).command
}

/// `gavel serve`, whose options are what a configuration file can set.
fn serve_command() -> clap::Command {
    ServeOptions::augment_args(clap::Command::new(SERVE))
}

/// Reads a configuration file and tells how many settings and how many keys it has.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn check_configuration(path: &Path) -> Result<(usize, usize), ConfigurationError> {
    Configuration::read(path, &serve_command()).map(|file| file.counts())
}
