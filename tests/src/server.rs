//! A server for one test.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http::{self, Response},
    tool::signal,
};

/// A critic profile for the random reference checkpoint whose replies start with the verdict, so that only the
/// justification is written by the critic and every request gets a verdict.
const STEERED: &str = r#"
name = "tiny56"
default_pointwise = "helpfulness"
default_pairwise = "better"

[[formats]]
name = "steered-pointwise"
kind = "pointwise"
parts = ["{question} {criteria} {min} {max} {response}"]
reply = "Score: 7\n"
answer = "score_line"

[[formats]]
name = "steered-pairwise"
kind = "pairwise"
parts = ["{question} {criteria} {response_1} {response_2}"]
reply = "Better: 2\n"
answer = "better_line"
"#;

/// A running `gavel serve` on a port of its own. Dropping it kills the process.
pub struct Server {
    process: Child,
    address: String,
    /// Keeps the folder as long as the server may read it.
    config: Option<TempDir>,
}

impl Server {
    /// A server of the random reference checkpoint, whose text is never a verdict.
    pub fn random() -> Self {
        Self::with_options(&["--model", &random_model()])
    }

    /// A server of the random reference checkpoint that always gives the same verdict: 7, or the second
    /// response.
    pub fn steered() -> Self {
        Self::with_profile(steering(STEERED))
    }

    /// A server of the random reference checkpoint that is asked for the verdict in its first line, as a
    /// trained critic is; its verdicts are random.
    pub fn deciding() -> Self {
        let asked = STEERED.replace("Score: 7\\n", "Score: ").replace("Better: 2\\n", "Better: ");
        Self::with_profile(steering(&asked))
    }

    /// A server like [`Server::steered`] with further options.
    pub fn steered_with(options: &[&str]) -> Self {
        Self::with_profile_and(steering(STEERED), options)
    }

    fn with_profile(config: TempDir) -> Self {
        Self::with_profile_and(config, &[])
    }

    fn with_profile_and(config: TempDir, options: &[&str]) -> Self {
        let folder = config.path().to_string_lossy().into_owned();
        let (model, own) = (random_model(), ["--model", "--config-dir"]);
        let own = [own[0], &model, own[1], &folder];
        let mut server = Self::with_options(&[&own, options].concat());
        server.config = Some(config);
        server
    }

    /// A server with these options of `gavel serve`.
    ///
    /// # Panics
    /// When it does not start, or its first line is not the address that it listens on.
    pub fn with_options(options: &[&str]) -> Self {
        Self::started_by(Command::new(binary()), options)
    }

    /// A server with these options, and these variables in its environment.
    ///
    /// # Panics
    /// When it does not start, or its first line is not the address that it listens on.
    pub fn in_environment(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.envs(variables.iter().copied());
        Self::started_by(command, options)
    }

    /// A server with these options, started after the shell commands `limits`, such as `ulimit`.
    ///
    /// # Panics
    /// When it does not start, or its first line is not the address that it listens on.
    pub fn limited(limits: &str, options: &[&str]) -> Self {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(binary());
        Self::started_by(shell, options)
    }

    /// A server that is started by another command, which must pass its arguments on.
    ///
    /// # Panics
    /// When it does not start, or its first line is not the address that it listens on.
    pub fn started_by(mut command: Command, options: &[&str]) -> Self {
        let command = command.args(["serve", "--host", "127.0.0.1", "--port", "0"]).args(options);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut line).expect("the first line can be read");
        let address =
            line.trim().strip_prefix("listening on ").and_then(|url| Some(url.split_once("://")?.1));
        let address =
            address.unwrap_or_else(|| panic!("the first line should tell the address: {line:?}")).to_owned();
        Self { process, address, config: None }
    }

    /// The address that it listens on, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal, such as `TERM`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        signal(self.process_id(), name);
    }

    /// Waits until it exits by itself, and returns whether it exited with status 0.
    pub fn wait(self) -> bool {
        self.exit_code() == Some(0)
    }

    /// Waits until it exits by itself, and returns its status; `None` if a signal ended it.
    ///
    /// # Panics
    /// When the system does not report the status.
    pub fn exit_code(mut self) -> Option<i32> {
        self.process.wait().expect("the process can be waited for").code()
    }

    /// Its standard error, if the command that started it has piped it.
    ///
    /// # Panics
    /// When standard error is not piped, or was taken before.
    pub fn take_errors(&mut self) -> ChildStderr {
        self.process.stderr.take().expect("standard error is piped")
    }

    /// Sends a GET request.
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Sends a POST request with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends a POST request, which must succeed, and returns its JSON.
    ///
    /// # Panics
    /// When the status is not 200.
    pub fn ok(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body);
        let (status, text) = (response.status, response.text());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).expect("the body is JSON")
    }

    /// Sends any request.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::send(&self.address, (method, path), headers, body)
    }

    /// A figure of the engine from `/health`.
    ///
    /// # Panics
    /// When there is no such figure.
    pub fn engine(&self, figure: &str) -> u64 {
        let health = self.get("/health").json();
        health["engine"][figure].as_u64().unwrap_or_else(|| panic!("no {figure} in {health}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The built binary.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows where it is");
    let folder = tests.parent().and_then(Path::parent).expect("tests lie in target/release/deps");
    let binary = folder.join("gavel");
    assert!(binary.is_file(), "{} is missing: run `cargo build --release` first", binary.display());
    binary
}

/// The folder of the reference data.
pub fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference")
}

/// The interpreter of the tests' own virtual environment.
///
/// # Panics
/// When the environment does not exist.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.is_file(), "{} is missing: `tests/run` makes it", python.display());
    python
}

/// The smallest random reference checkpoint.
fn random_model() -> String {
    reference().join("models/tiny56").to_string_lossy().into_owned()
}

/// A folder for `--config-dir` with this critic profile for the random checkpoint.
fn steering(profile: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let critics = folder.path().join("critics");
    fs::create_dir(&critics).expect("a folder can be made");
    fs::write(critics.join("tiny56.toml"), profile).expect("a file can be written");
    folder
}

/// The options with which a command of the binary uses the steered random checkpoint, and the folder that they
/// need.
fn steered_options() -> (TempDir, Vec<String>) {
    let folder = steering(STEERED);
    let options = ["--model", &random_model(), "--config-dir", &folder.path().to_string_lossy()]
        .map(str::to_owned)
        .to_vec();
    (folder, options)
}

/// Runs a command of the binary on the steered random checkpoint until it exits.
///
/// # Panics
/// When it does not start.
pub fn run_steered(command: &str, arguments: &[&str]) -> std::process::Output {
    let (_folder, options) = steered_options();
    Command::new(binary()).arg(command).args(options).args(arguments).output().expect("the binary starts")
}
