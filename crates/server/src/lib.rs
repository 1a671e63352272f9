//! The command line of `gavel`: serve a critic, judge one case, tell what a checkpoint is, convert it, or measure.
//!
//! It is a library, and `main.rs` the program, because the fuzzer links it: a program cannot be linked with another. Nothing
//! else uses it, and it promises nothing to anybody.

mod access;
mod admin;
mod affinity;
mod batches;
mod bench_command;
mod body_memory;
mod boot;
pub mod border;
mod bulk;
mod caller;
mod command;
mod configuration;
mod connections;
mod content_limits;
mod deaths;
mod dialects;
mod doors;
mod edge;
mod error;
mod exit;
mod export_command;
mod health;
mod hexadecimal;
mod images;
mod json_body;
mod json_line;
mod json_shape;
mod json_words;
mod judge_command;
mod judging_log;
mod key_command;
mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
mod metrics;
mod model_names;
mod openapi;
mod output;
mod page;
mod paths;
mod probe_command;
mod reload;
mod remote_images;
mod request_id;
mod router;
mod rubric_command;
mod serve;
mod signals;
mod spelling;
mod state;
mod storage;
mod sync;
mod systemd;
mod telemetry;
mod url_query;
mod verdict_line;

use std::{
    io::{self, Write},
    panic,
    process::ExitCode,
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::anyhow;
use command::{Command, ConfigCommand, Given, LogFormat};
use exit::{Fatal, Status};
use output::output;
use telemetry::Telemetry;
use tokio::runtime::Runtime;

/// Threads beside one for each core: those of the engine, of the log, of the weights, and for what waits for the disk.
const OTHER_THREADS: usize = 8;

/// How long work that waits for the disk may go on when all else has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// Does what the command line says; how the process is to end.
pub fn main() -> ExitCode {
    // What panics here has said so, and is a fault of the program's, which whoever watches it is told as such.
    panic::catch_unwind(begin).unwrap_or_else(|_| Status::Failed.into())
}

fn begin() -> ExitCode {
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
        Ok(Given::Print(text)) => {
            for warning in command::unknown_variables() {
                // Nobody may be reading it, and the configuration is told all the same.
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            writeln!(output(), "{text}").map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::ending(&error),
    }
}

/// The threads on which everything but the model runs.
///
/// # Errors
/// When the system gives none.
fn threads() -> Result<Runtime, Fatal> {
    let none = |error: io::Error| {
        Fatal::new(
            Status::NoResources,
            &anyhow!(error).context("the system gives the program too few threads"),
        )
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // The runtime neither starts nor fails when it gets a few of its threads only, but waits for them without end.
    can_start(cores + OTHER_THREADS).map_err(none)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(none)
}

/// Whether so many threads can be there at once.
fn can_start(count: usize) -> io::Result<()> {
    // Held until all are there, which is what they wait for.
    let end = Mutex::new(());
    thread::scope(|scope| {
        let held = end.lock();
        let wait = || drop(end.lock());
        let started = (0..count).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop));
        drop(held);
        started
    })
}

fn run(command: Command, telemetry: Telemetry) -> anyhow::Result<()> {
    let runtime = threads()?;
    match command {
        Command::Serve(options) => {
            for warning in command::unknown_variables() {
                tracing::warn!("{warning}");
            }
            let served = runtime.block_on(serve::serve(*options, telemetry));
            // What hangs on a disk, or decodes an image for nobody, is not waited for.
            runtime.shutdown_timeout(LEFT_BEHIND);
            served
        }
        Command::Judge(options) => runtime.block_on(judge_command::judge(*options)),
        Command::Prefer(options) => runtime.block_on(bulk::prefer(*options)),
        Command::Evaluate(options) => runtime.block_on(bulk::evaluate(*options)),
        Command::Attack(options) => runtime.block_on(bulk::attack(*options)),
        Command::Export(options) => export_command::export(&options),
        Command::Inspect(options) => {
            writeln!(output(), "{}", boot::inspect(&options)?)?;
            Ok(())
        }
        Command::Convert(options) => {
            let weights = boot::convert(&options)? as f64 / 1e6;
            writeln!(output(), "{} has {weights:.2} million weights", options.file.display())?;
            Ok(())
        }
        Command::Config(ConfigCommand::Check { file }) => {
            let (settings, keys) = command::check_configuration(&file)?;
            writeln!(output(), "{} is right; settings: {settings}, keys: {keys}", file.display())?;
            Ok(())
        }
        Command::Key(command) => key_command::run(&command),
        Command::Probe(options) => probe_command::probe(&options),
        Command::Rubric(command) => rubric_command::run(&command),
        Command::Bench(command) => bench_command::bench(&runtime, command),
    }
}
