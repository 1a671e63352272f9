//! Reads the options: the command line overrides the environment, which overrides the configuration file.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, error::ErrorKind};

use super::{
    configuration::{self, Configuration, ConfigurationError, SERVE},
    environment::{self, blamed},
    relations::{self, Broken, Origin},
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
    /// If the configuration file or an environment variable is invalid, or options do not fit together of which not all
    /// are on the command line.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let command = command_line();
        let matches = matches_of(&command)?;
        let Some(serve) = matches.subcommand_matches(SERVE) else {
            check_relations(&command, &matches, None)?;
            return Ok(Self::Run(Box::new(command_of(&matches))));
        };
        let path = serve.get_one::<PathBuf>("config");
        let file = path.map(|path| Configuration::read(path, &serve_command())).transpose()?;
        let with_file = command.clone().mut_subcommand(SERVE, |serve| match &file {
            Some(file) => file.apply(serve),
            None => serve,
        });
        let matches = matches_of(&with_file)?;
        check_relations(&command, &matches, path.map(PathBuf::as_path).zip(file.as_ref()))?;
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
    environment::without_empty(CommandLine::command().mut_subcommand(SERVE, configuration::with_environment))
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

/// Checks that the options of the command in `matches` fit together. `command` has no values of the configuration file
/// as defaults; `file` is its path and content. Ends the process, as for any wrong argument, if one that does not fit is
/// on the command line.
///
/// # Errors
/// [`ServeError::Relations`] with all problems.
fn check_relations(
    command: &clap::Command,
    matches: &ArgMatches,
    file: Option<(&Path, &Configuration)>,
) -> Result<(), ServeError> {
    let (mut asked, mut matches) = (command, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(command) = asked.find_subcommand(name) else { break };
        (asked, matches) = (command, below);
    }
    let broken = relations::broken(asked, matches, file.map(|(_, file)| file));
    if broken.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = broken
        .iter()
        .map(|Broken { origin, text }| match (origin, file) {
            (Origin::File(line), Some((path, _))) => format!("{}:{line}: {text}", path.display()),
            _ => text.clone(),
        })
        .collect();
    let told = told.join("\n");
    if broken.iter().any(|broken| broken.origin == Origin::CommandLine) {
        command.clone().error(ErrorKind::ArgumentConflict, told).exit()
    }
    Err(ServeError::Relations(told))
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
    Configuration::check(path, &serve_command()).map(|file| file.counts())
}
