//! `gavel rubric`: checks the files of rubrics, critic profiles and forms, or lists the rubrics.

use std::{io::Write, path::Path};

use anyhow::bail;
use judge::{Problems, RubricError, RubricLibrary};

use crate::{
    boot,
    options::RubricCommand,
    process::stdout::{stdout, unless_gone},
};

/// Runs `gavel rubric`.
pub(crate) fn run(command: &RubricCommand) -> anyhow::Result<()> {
    match command {
        RubricCommand::Check { folder } => check(folder.as_deref()),
        RubricCommand::List { config_dir } => list(&boot::library(config_dir.as_deref())?),
    }
}

fn check(folder: Option<&Path>) -> anyhow::Result<()> {
    let mut output = stdout();
    match boot::library(folder) {
        Ok(library) => {
            let (rubrics, profiles) = (library.rubrics().count(), library.profiles().count());
            let forms = library.forms().count();
            writeln!(output, "{rubrics} rubrics, {profiles} critic profiles and {forms} forms are valid")?;
            for profile in library.profiles_of_folder() {
                // Its own name is looked for as well.
                let names = [&profile.name].into_iter().chain(&profile.matches).map(String::as_str);
                let names = names.collect::<Vec<_>>().join(", ");
                writeln!(
                    output,
                    "profile {}: for checkpoints with one of these in the name: {names}",
                    profile.name
                )?;
            }
            Ok(())
        }
        Err(RubricError::Library(problems)) => {
            unless_gone(writeln!(output, "{problems}").map_err(anyhow::Error::from))?;
            let Problems(problems) = problems;
            bail!(
                "{} found",
                if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) }
            )
        }
        Err(error) => Err(error.into()),
    }
}

fn list(library: &RubricLibrary) -> anyhow::Result<()> {
    let mut output = stdout();
    let width = library.rubrics().map(|rubric| rubric.name.len()).max().unwrap_or(0);
    for rubric in library.rubrics() {
        writeln!(output, "{:width$}  {:9}  {}", rubric.name, rubric.kind.to_string(), rubric.summary)?;
    }
    Ok(())
}
