//! The server under test: one that is running, or one that is started for the test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::process::Running;
use crate::{error::BenchError, extent::Extent};

/// The server under test.
#[derive(Debug, Clone)]
pub enum Target {
    /// A running server, with its log if that can be read here. Files that need options of their own are
    /// skipped.
    Running {
        /// `host:port`.
        host: String,
        /// The file that its standard error is written to.
        log: Option<PathBuf>,
    },
    /// The program of a server that is started anew for each set of options that files need.
    Started(PathBuf),
}

/// The server under test, and what can be observed here besides its answers.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// `host:port`.
    pub(crate) host: String,
    /// The file that its standard error is written to, where it can be read.
    pub(crate) log: Option<PathBuf>,
    /// Its process, if it was started here.
    process: Option<&'a Running>,
}

impl Subject<'static> {
    /// A server that was running before.
    pub(crate) fn running(host: &str, log: Option<&Path>) -> Self {
        Self { host: host.to_owned(), log: log.map(Path::to_owned), process: None }
    }
}

impl Subject<'_> {
    /// The peak resident memory of its process in bytes; `None` if it was not started here or the system does
    /// not report it.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.process.and_then(Running::peak_bytes)
    }
}

/// A server that was started, and is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Started {
    running: Running,
    /// `host:port`.
    host: String,
    /// A folder that it may write to.
    _scratch: TempDir,
}

impl Started {
    /// The server as a test subject.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { host: self.host.clone(), log: Some(self.running.errors()), process: Some(&self.running) }
    }
}

/// Starts a server of this program with these options, in which `{folder}` is the folder of the cases and
/// `{scratch}` a new folder. Its KV cache has room for many requests at a time, as on a server that several keys
/// share; for a quick run it is smaller, since the cache is filled first. All other caches are small or off, so
/// that growth shows.
///
/// # Errors
/// [`BenchError::Program`] when it does not start, [`BenchError::File`] when there is no scratch folder.
pub(crate) fn started(
    program: &Path,
    folder: &Path,
    extent: Extent,
    serve: &[String],
) -> Result<Started, BenchError> {
    let cache_mib = extent.choose("256", "64");
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--cache-mib",
        cache_mib,
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
