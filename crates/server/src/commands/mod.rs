//! The commands of `gavel`: each runs with its options to its end.

mod bench;
mod bulk;
pub(crate) mod ending;
mod export;
mod image_folder;
mod input_files;
mod judge;
mod key;
mod probe;
mod replaced_file;
mod report;
mod rubric;
mod verdict_line;

use std::{io::Write, time::Duration};

use tokio::runtime::Runtime;

use crate::{
    boot,
    options::{Command, ConfigCommand},
    process::stdout::stdout,
    serve, settings,
    telemetry::Telemetry,
};

/// Time limit for blocking work when everything else has ended.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a command to its end, on `runtime`.
///
/// # Errors
/// Those of the command.
pub(crate) fn run(command: Command, runtime: Runtime, telemetry: Telemetry) -> anyhow::Result<()> {
    match command {
        Command::Serve(options) => {
            for warning in settings::unknown_variables() {
                tracing::warn!("{warning}");
            }
            let served = runtime.block_on(serve::serve(*options, telemetry));
            // Work that hangs on a disk, or decodes an image whose client has left, is not waited for.
            runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
            Ok(served?)
        }
        Command::Judge(options) => runtime.block_on(judge::judge(*options)),
        Command::Prefer(options) => runtime.block_on(bulk::prefer(*options)),
        Command::Evaluate(options) => runtime.block_on(bulk::evaluate(*options)),
        Command::Attack(options) => runtime.block_on(bulk::attack(*options)),
        Command::Export(options) => export::export(&options),
        Command::Inspect(options) => {
            writeln!(stdout(), "{}", boot::inspect(&options)?)?;
            Ok(())
        }
        Command::Convert(options) => {
            let weights = boot::convert(&options)? as f64 / 1e6;
            writeln!(stdout(), "{} has {weights:.2} million weights", options.file.display())?;
            Ok(())
        }
        Command::Config(ConfigCommand::Check { file }) => {
            let (settings, keys) = settings::check_configuration(&file)?;
            writeln!(stdout(), "{} has no errors ({settings} settings, {keys} keys)", file.display())?;
            Ok(())
        }
        Command::Key(command) => key::run(&command),
        Command::Probe(options) => probe::probe(&options),
        Command::Rubric(command) => rubric::run(&command),
        Command::Bench(command) => bench::bench(&runtime, command),
    }
}
