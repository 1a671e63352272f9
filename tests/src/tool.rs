//! Programs that some tests need in addition to the server: Debian packages, which `.ci/run` installs.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// An installed program. If it is missing, this prints that the test is skipped and returns `None`; with `CI`
/// set, where nothing may be skipped, it panics.
///
/// # Panics
/// When the program is missing and `CI` is set.
pub fn tool(name: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian puts servers into folders outside of a user's PATH.
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Some(found) = folders.map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Some(Command::new(found));
    }
    assert!(env::var_os("CI").is_none(), "{name} is missing, and with CI set nothing is skipped");
    eprintln!("skipped: {name} is not installed; Debian has it in a package");
    None
}

/// Runs a command with `input` until it exits, and returns its standard output and standard error.
///
/// # Panics
/// When it does not start or fails.
pub fn run_well(command: &mut Command, input: &[u8]) -> String {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("the input is piped");
    stdin.write_all(input).expect("the command reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the command can be waited for");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?} failed:\n{text}");
    text
}

/// A port that was free a moment ago, for programs that cannot choose one themselves. It is below the range
/// that the system assigns to client sockets, any of which may be taken a moment later.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
    // Each process begins at another port.
    let any = RandomState::new().hash_one(0);
    (0..10_000).map(|next| 20_000 + ((any + next) % 10_000) as u16).find(free).expect("there is a free port")
}

/// A program in the background. Dropping it kills the process.
pub struct Background(Child);

impl Background {
    /// Starts the program.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal, such as `TERM`, to a process.
///
/// # Panics
/// When there is no such process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("there is such a program").success(), "process {process} has ended");
}
