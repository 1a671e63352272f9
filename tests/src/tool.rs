//! Programs beside the server that some tests need: those of other projects Debian has, and `.ci/run` installs them.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A program that is installed. When it is not, a test that needs it says so and ends; where everything is tested
/// (`CI=true`), it fails.
///
/// # Panics
/// When the program is missing and nothing may be skipped.
pub fn tool(name: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where users do not look.
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Some(found) = folders.map(|folder| folder.join(name)).find(|file| file.is_file()) {
        return Some(Command::new(found));
    }
    assert!(env::var_os("CI").is_none(), "{name} is missing, and with CI set nothing is skipped");
    eprintln!("skipped: {name} is not installed; Debian has it in a package");
    None
}

/// Runs a command to its end with `input`, and returns everything that it wrote.
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

/// A port on which nobody listened a moment ago, for programs that cannot choose one themselves: below those that the system gives to
/// clients, any of which may be somebody's a moment later.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
    // Each process begins elsewhere.
    let any = RandomState::new().hash_one(0);
    (0..10_000).map(|next| 20_000 + ((any + next) % 10_000) as u16).find(free).expect("there is a free port")
}

/// A program in the background. Dropping it kills it.
pub struct Background(Child);

impl Background {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal, such as `TERM`, to a process.
///
/// # Panics
/// When there is none of this number.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(sent.expect("there is such a program").success(), "process {process} has ended");
}
