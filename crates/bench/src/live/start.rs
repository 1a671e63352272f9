//! The server that is treated badly: one that runs, or one that is started for it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{compare::Running, error::BenchError};

/// A server.
#[derive(Debug, Clone)]
pub enum Target {
    /// One that runs, as `host:port`, and its log if it can be read here. Files that need options of their own are left out.
    Running {
        /// Host and port.
        host: String,
        /// The file that its standard error goes to.
        log: Option<PathBuf>,
    },
    /// One that is started by this program, anew for each set of options that files need.
    Started(PathBuf),
}

/// The server that is treated badly, and what can be seen of it here beside its answers.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// Host and port.
    pub(crate) host: String,
    /// The file that its standard error goes to, where it can be read.
    pub(crate) log: Option<PathBuf>,
    /// Its process, where it was started here.
    process: Option<&'a Running>,
}

impl Subject<'static> {
    /// One that runs already.
    pub(crate) fn running(host: &str, log: Option<&Path>) -> Self {
        Self { host: host.to_owned(), log: log.map(Path::to_owned), process: None }
    }
}

impl Subject<'_> {
    /// The most memory that its process ever held, in bytes.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.process.and_then(Running::peak_bytes)
    }
}

/// A server that was started, until it is dropped.
#[derive(Debug)]
pub(crate) struct Started {
    running: Running,
    /// Host and port.
    host: String,
    /// What it may write into.
    _scratch: TempDir,
}

impl Started {
    /// As who is treated badly.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { host: self.host.clone(), log: Some(self.running.errors()), process: Some(&self.running) }
    }
}

/// A server of this program with these options, in which `{folder}` is that of the cases and `{scratch}` one of its own. Its
/// cache has room for many at a time, as where several keys share a server; what it keeps beside that, whose memory it has from
/// the start, is little, so that what grows is seen.
///
/// # Errors
/// [`BenchError::Program`] when it does not start.
pub(crate) fn started(program: &Path, folder: &Path, serve: &[String]) -> Result<Started, BenchError> {
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--cache-mib",
        "256",
        "--image-cache-mib",
        "4",
    ]);
    let scratch = tempfile::tempdir().map_err(BenchError::File)?;
    let (folder, kept) = (folder.to_string_lossy(), scratch.path().to_string_lossy().into_owned());
    let more = serve.iter().map(|option| option.replace("{folder}", &folder).replace("{scratch}", &kept));
    command.args(["--memo-entries", "0", "--log-format", "json"]).args(more).env("RUST_LOG", "info");
    let mut running = Running::start("Gavel", &mut command)?;
    let line = running.line()?;
    let host = line.trim().strip_prefix("listening on http://").map(str::to_owned);
    let host = host.ok_or_else(|| running.failed())?;
    Ok(Started { running, host, _scratch: scratch })
}
