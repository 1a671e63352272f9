//! The HTTP server and the command line of `gavel`.
//!
//! It is a library, and `main.rs` the program, because the fuzzer links it: a program cannot be linked into another.
//! Nothing else uses it, and its API has no stability guarantee.

mod access;
mod admin;
mod affinity;
mod batches;
mod bench_command;
mod body_memory;
mod boot;
mod bulk;
mod caller;
mod causes;
mod client_network;
mod clock;
mod command;
mod configuration;
mod connections;
mod content_limits;
mod crash_record;
mod dialects;
mod error;
mod exit;
mod export_command;
pub mod fuzz_api;
mod health;
mod held_body;
mod hexadecimal;
mod images;
mod json_body;
mod json_errors;
mod json_limits;
mod json_line;
mod json_object;
mod judge_command;
mod judging_log;
mod key_command;
mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
mod listeners;
mod lone_surrogates;
mod metrics;
mod model_names;
mod not_found;
mod openapi;
mod page;
mod probe_command;
mod reload;
mod remote_images;
mod replaced_file;
mod report;
mod request_head;
mod request_id;
mod request_path;
mod retry_after;
mod router;
mod rubric_command;
mod serve;
mod service;
mod signals;
mod spelling;
mod state;
mod stdout;
mod storage;
mod sync;
mod systemd;
mod telemetry;
mod url_query;
mod verdict_line;

use std::{
    io::{self, Write},
    panic,
    sync::Mutex,
    thread,
    time::Duration,
};

use command::{Command, ConfigCommand, Given, LogFormat};
use exit::{Fatal, Status};
use stdout::stdout;
use telemetry::Telemetry;
use tokio::runtime::Runtime;

/// Threads beside one for each core: for the engine, the log, loading weights, and work that blocks on the disk.
const OTHER_THREADS: usize = 8;

/// Time limit for blocking work when everything else has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// Runs the command line and ends the process with its exit status.
pub fn main() -> ! {
    // A panic was printed by the panic hook already. It is a fault of the program, which the exit status reports.
    exit::end(panic::catch_unwind(begin).unwrap_or_else(|_| Status::Failed.code()))
}

/// Runs the command line; returns the exit status.
fn begin() -> i32 {
    let result = match Given::read() {
        Ok(Given::Run(command)) => {
            let serve = if let Command::Serve(options) = &*command { Some(options) } else { None };
            let format = serve.map_or_else(LogFormat::default, |options| options.http.log_format);
            let filter = match serve {
                Some(options) => options.http.log_filter.clone(),
                None => command::log_filter().unwrap_or_else(|| command::DEFAULT_FILTER.to_owned()),
            };
            let telemetry = Telemetry::start((format, &filter), serve.map(|options| &options.traces));
            telemetry.map_err(|error| anyhow::Error::from(Fatal::from(error))).and_then(|telemetry| {
                let result = run(*command, telemetry.clone());
                telemetry.finish();
                result
            })
        }
        Ok(Given::Print(text)) => {
            for warning in command::unknown_variables() {
                // A failure to write the warning does not keep the configuration from being printed.
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            writeln!(stdout(), "{text}").map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => exit::SUCCESS,
        Err(error) => exit::ending(&error),
    }
}

/// The runtime, on whose threads everything but the model runs.
///
/// # Errors
/// [`Fatal::Runtime`] when the system cannot start enough threads.
fn threads() -> Result<Runtime, Fatal> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // If the system gives the runtime only some of its threads, it neither starts nor fails, but waits forever.
    can_start(cores + OTHER_THREADS).map_err(Fatal::Runtime)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Fatal::Runtime)
}

/// Checks that `count` threads can exist at once.
fn can_start(count: usize) -> io::Result<()> {
    // Every thread waits for this lock, which is held until all of them have started.
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
            // Work that hangs on a disk, or decodes an image whose client has left, is not waited for.
            runtime.shutdown_timeout(LEFT_BEHIND);
            Ok(served?)
        }
        Command::Judge(options) => runtime.block_on(judge_command::judge(*options)),
        Command::Prefer(options) => runtime.block_on(bulk::prefer(*options)),
        Command::Evaluate(options) => runtime.block_on(bulk::evaluate(*options)),
        Command::Attack(options) => runtime.block_on(bulk::attack(*options)),
        Command::Export(options) => export_command::export(&options),
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
            let (settings, keys) = command::check_configuration(&file)?;
            writeln!(stdout(), "{} has no errors ({settings} settings, {keys} keys)", file.display())?;
            Ok(())
        }
        Command::Key(command) => key_command::run(&command),
        Command::Probe(options) => probe_command::probe(&options),
        Command::Rubric(command) => rubric_command::run(&command),
        Command::Bench(command) => bench_command::bench(&runtime, command),
    }
}
