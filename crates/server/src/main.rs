//! The command line of `gavel`: serve a critic, judge one case, tell what a checkpoint is, or measure.

mod bench_command;
mod boot;
mod bulk;
mod caller;
mod command;
mod dialects;
mod error;
mod health;
mod images;
mod json_body;
mod judge_command;
mod metrics;
mod openapi;
mod request_id;
mod router;
mod rubric_command;
mod serve;
mod state;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use command::{Command, CommandLine};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
    match run(command_line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to when standard error is gone too.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Serve(options) => runtime.block_on(serve::serve(options)),
        Command::Judge(options) => runtime.block_on(judge_command::judge(*options)),
        Command::Prefer(options) => runtime.block_on(bulk::prefer(*options)),
        Command::Inspect(options) => {
            writeln!(io::stdout(), "{}", boot::inspect(&options)?)?;
            Ok(())
        }
        Command::Rubric(command) => rubric_command::run(&command),
        Command::Bench(command) => bench_command::bench(&runtime, command),
    }
}
