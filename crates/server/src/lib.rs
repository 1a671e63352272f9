//! The HTTP server and the command line of `gavel`.
//!
//! It is a library, and `main.rs` the program, because the fuzzer links it: a program cannot be linked into another.
//! Nothing else uses it, and its API has no stability guarantee.

mod access;
mod batches;
mod boot;
mod commands;
mod connections;
mod dialects;
mod error;
mod extract;
pub mod fuzz_api;
#[cfg(test)]
mod generated_document;
mod hexadecimal;
mod images;
mod json;
mod judging_log;
mod metrics;
mod options;
mod process;
mod remote_images;
mod request;
mod routes;
mod serve;
mod service;
mod settings;
mod storage;
mod sync;
mod telemetry;

use std::{
    io::{self, Write},
    panic,
    sync::Mutex,
    thread,
};

use commands::ending;
use options::{Command, LogFormat};
use process::{
    clock,
    exit::{self, Status},
    stdout::stdout,
};
use serve::ServeError;
use settings::ParsedCommandLine;
use telemetry::Telemetry;
use tokio::runtime::Runtime;

/// Threads beside one for each core: for the engine, the log, loading weights, and work that blocks on the disk.
const OTHER_THREADS: usize = 8;

/// Runs the command line and ends the process with its exit status.
pub fn main() -> ! {
    clock::started();
    // A panic was printed by the panic hook already. It is a fault of the program, which the exit status reports.
    exit::end(panic::catch_unwind(begin).unwrap_or_else(|_| Status::Failed.code()))
}

/// Runs the command line; returns the exit status.
fn begin() -> i32 {
    let mut format = LogFormat::default();
    let result = match ParsedCommandLine::read() {
        Ok(ParsedCommandLine::Run(command)) => {
            let serve = if let Command::Serve(options) = &*command { Some(options) } else { None };
            format = serve.map_or(format, |options| options.http.log_format);
            let filter = match serve {
                Some(options) => options.http.log_filter.clone(),
                None => settings::log_filter().unwrap_or_else(|| options::DEFAULT_FILTER.to_owned()),
            };
            let telemetry = Telemetry::start((format, &filter), serve.map(|options| &options.traces));
            telemetry.map_err(|error| anyhow::Error::from(ServeError::from(error))).and_then(|telemetry| {
                let result = commands::run(*command, threads()?, telemetry.clone());
                telemetry.finish();
                result
            })
        }
        Ok(ParsedCommandLine::Print(text)) => {
            for warning in settings::unknown_variables() {
                // A failure to write the warning does not keep the configuration from being printed.
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            writeln!(stdout(), "{text}").map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => exit::SUCCESS,
        Err(error) => ending::ending(&error, format),
    }
}

/// The runtime, on whose threads everything but the model runs.
///
/// # Errors
/// [`ServeError::Runtime`] when the system cannot start enough threads.
fn threads() -> Result<Runtime, ServeError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // If the system gives the runtime only some of its threads, it neither starts nor fails, but waits forever.
    can_start(cores + OTHER_THREADS).map_err(ServeError::Runtime)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Runtime)
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
