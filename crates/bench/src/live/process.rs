//! Programs that are started to be measured, and stopped afterwards.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::NamedTempFile;

use crate::error::BenchError;

/// A running program. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    output: BufReader<ChildStdout>,
    /// The file of its standard error: with a file it never blocks on a full pipe.
    errors: NamedTempFile,
}

impl Running {
    /// Starts `command`; `name` is for error messages.
    ///
    /// # Errors
    /// [`BenchError::Program`] when it does not start, [`BenchError::File`] when there is no file for its
    /// errors.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, BenchError> {
        let failed = |error: std::io::Error| BenchError::program(name, error.to_string());
        let errors = NamedTempFile::new().map_err(BenchError::File)?;
        let log: File = errors.reopen().map_err(BenchError::File)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(failed)?;
        let output = BufReader::new(child.stdout.take().expect("the output is piped"));
        Ok(Self { name: name.to_owned(), child, output, errors })
    }

    /// The next line of its standard output.
    ///
    /// # Errors
    /// [`BenchError::Program`] with the last line of its standard error when the output has ended, or cannot be
    /// read.
    pub(crate) fn line(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err(self.failed()),
            Ok(_) => Ok(line),
            Err(error) => Err(BenchError::program(&self.name, error.to_string())),
        }
    }

    /// Its standard input.
    pub(crate) fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("the input is piped")
    }

    /// The file of its standard error.
    pub(crate) fn errors(&self) -> PathBuf {
        self.errors.path().to_owned()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Closes its standard input and waits until it exits, which must be with success.
    ///
    /// # Errors
    /// [`BenchError::Program`] with the last line of its standard error when it fails.
    pub(crate) fn finish(mut self) -> Result<(), BenchError> {
        drop(self.child.stdin.take());
        while self.output.read_line(&mut String::new()).is_ok_and(|read| read > 0) {}
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) | Err(_) => Err(self.failed()),
        }
    }

    /// The error that it failed, with the last line of its standard error.
    pub(crate) fn failed(&self) -> BenchError {
        let words = fs::read(self.errors.path()).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        BenchError::program(&self.name, last.unwrap_or("it ended without a word").trim())
    }

    /// Its resident memory in bytes; `None` if the system does not report it.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// Its peak resident memory in bytes; `None` if the system does not report it.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address with a port that was free a moment ago, for programs that cannot report which port they chose.
///
/// # Errors
/// [`BenchError::Port`] when no port is available.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(BenchError::Port)?;
    listener.local_addr().map_err(BenchError::Port)
}

/// The first line with a digit in a program's output for `--version`.
pub(crate) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    // Some programs write it to standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit())).map(str::to_owned)
}
