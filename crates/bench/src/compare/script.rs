//! Peers that are Python libraries: a script that answers one JSON object per line.

use std::{io::Write, path::Path, process::Command};

use serde_json::Value;

use crate::{error::BenchError, live::process::Running};

/// A running script that waits for its next request.
#[derive(Debug)]
pub(crate) struct Script {
    name: &'static str,
    running: Running,
    /// Its first output: the versions of its libraries.
    pub(crate) hello: Value,
}

impl Script {
    /// Starts the script `text` and waits until it is ready.
    ///
    /// # Errors
    /// [`BenchError::Program`] when the interpreter or a library is missing, or the script fails.
    pub(crate) fn start(
        name: &'static str,
        python: &Path,
        text: &str,
        arguments: &[&str],
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(python);
        command.args(["-c", text]).args(arguments).env("HF_HUB_OFFLINE", "1");
        let mut script = Self { name, running: Running::start(name, &mut command)?, hello: Value::Null };
        script.hello = script.answer()?;
        Ok(script)
    }

    /// Sends a request, and waits for the answer.
    ///
    /// # Errors
    /// [`BenchError::Program`] when the script reports an error or has ended; unless it has ended, it accepts
    /// further requests.
    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, BenchError> {
        let input = self.running.input();
        let written = writeln!(input, "{request}").and_then(|()| input.flush());
        written.map_err(|_| self.running.failed())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value, BenchError> {
        let line = self.running.line()?;
        let wrong = || BenchError::program(self.name, format!("it wrote {line:?}"));
        let answer: Value = serde_json::from_str(&line).map_err(|_| wrong())?;
        match answer["error"].as_str() {
            Some(error) => Err(BenchError::program(self.name, error)),
            None => Ok(answer),
        }
    }
}

/// A number in an answer.
pub(crate) fn number(answer: &Value, name: &str) -> Result<f64, BenchError> {
    let missing = || BenchError::program("script", format!("it told no {name}"));
    answer[name].as_f64().ok_or_else(missing)
}
