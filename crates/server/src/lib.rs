//! The command line of `gavel`: serve a critic, judge one case, tell what a checkpoint is, convert it, or measure.
//!
//! It is a library, and `main.rs` the program, because the fuzzer links it: a program cannot be linked with another. Nothing
//! else uses it, and it promises nothing to anybody.

mod access;
mod admin;
mod affinity;
mod batches;
mod bench_command;
mod boot;
pub mod border;
mod bulk;
mod caller;
mod command;
mod configuration;
mod connections;
mod content_limits;
mod dialects;
mod doors;
mod edge;
mod error;
mod export_command;
mod health;
mod hexadecimal;
mod images;
mod json_body;
mod json_shape;
mod judge_command;
mod judging_log;
mod key_command;
mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
mod metrics;
mod model_names;
mod openapi;
mod page;
mod probe_command;
mod reload;
mod remote_images;
mod request_id;
mod router;
mod rubric_command;
mod serve;
mod signals;
mod state;
mod storage;
mod sync;
mod systemd;
mod telemetry;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use command::{Command, ConfigCommand, Given, LogFormat};
use configuration::ConfigurationError;
use serve::{EngineGone, Misconfigured};
use telemetry::Telemetry;

/// The program itself has failed (`EX_SOFTWARE` of sysexits.h): whoever watches it should start it again.
const FAILED: u8 = 70;
/// The configuration is wrong (`EX_CONFIG`): starting it again does not help.
const MISCONFIGURED: u8 = 78;

/// Does what the command line says; how the process is to end.
pub fn main() -> ExitCode {
    let result = match Given::read() {
        Ok(Given::Run(command)) => {
            let serve = if let Command::Serve(options) = &*command { Some(options) } else { None };
            let format = serve.map_or_else(LogFormat::default, |options| options.http.log_format);
            Telemetry::start(format, serve.map(|options| &options.traces)).and_then(|telemetry| {
                let result = run(*command, telemetry.clone());
                telemetry.finish();
                result
            })
        }
        Ok(Given::Print(text)) => writeln!(io::stdout(), "{text}").map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to when standard error is gone too.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigurationError>() || error.is::<Misconfigured>() {
        MISCONFIGURED.into()
    } else if error.is::<EngineGone>() {
        FAILED.into()
    } else {
        ExitCode::FAILURE
    }
}

fn run(command: Command, telemetry: Telemetry) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Serve(options) => runtime.block_on(serve::serve(*options, telemetry)),
        Command::Judge(options) => runtime.block_on(judge_command::judge(*options)),
        Command::Prefer(options) => runtime.block_on(bulk::prefer(*options)),
        Command::Evaluate(options) => runtime.block_on(bulk::evaluate(*options)),
        Command::Attack(options) => runtime.block_on(bulk::attack(*options)),
        Command::Export(options) => export_command::export(&options),
        Command::Inspect(options) => {
            writeln!(io::stdout(), "{}", boot::inspect(&options)?)?;
            Ok(())
        }
        Command::Convert(options) => {
            let weights = boot::convert(&options)? as f64 / 1e6;
            writeln!(io::stdout(), "{} has {weights:.2} million weights", options.file.display())?;
            Ok(())
        }
        Command::Config(ConfigCommand::Check { file }) => {
            let (settings, keys) = command::check_configuration(&file)?;
            writeln!(io::stdout(), "{} is right; settings: {settings}, keys: {keys}", file.display())?;
            Ok(())
        }
        Command::Key(command) => key_command::run(&command),
        Command::Probe(options) => probe_command::probe(&options),
        Command::Rubric(command) => rubric_command::run(&command),
        Command::Bench(command) => bench_command::bench(&runtime, command),
    }
}
