//! Clients of other projects, as `tests/clients/install` installs them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Server, binary, tool::tool};

/// The folder of the clients.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Whether `tests/clients/install` has made `path`. If not, it prints that the test is skipped; with `CI` set,
/// where nothing may be skipped, it panics.
fn installed(path: &Path) -> bool {
    let there = path.exists();
    let missing = format!("{} is missing: `tests/clients/install` makes it", path.display());
    assert!(there || env::var_os("CI").is_none(), "{missing}, and with CI set nothing is skipped");
    if !there {
        eprintln!("skipped: {missing}");
    }
    there
}

/// Sets the server's address for a command, and keeps it from all other servers, proxies and telemetry.
fn alone(mut command: Command, server: &Server) -> Command {
    let foreign = env::vars().map(|(name, _)| name).filter(|name| {
        let name = name.to_uppercase();
        name.ends_with("_PROXY") || ["OPENAI", "AZURE"].iter().any(|start| name.starts_with(start))
    });
    foreign.for_each(|name| {
        command.env_remove(name);
    });
    command.env("GAVEL_ADDRESS", format!("http://{}", server.address())).env("GAVEL_BINARY", binary()).envs(
        [
            ("NO_PROXY", "*"),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
            ("HF_HUB_OFFLINE", "1"),
            ("PYTHONWARNINGS", "ignore"),
        ],
    );
    command
}

/// How a client is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// By Python, with its packages.
    Python,
    /// By Python, with the packages that conflict with the others first in its path.
    PythonApart,
    /// By Node, with its package.
    Node,
    /// As the compiled Rust program.
    Rust,
}

/// A command that runs clients of this kind against a server; `None` if they are not installed.
pub fn client(kind: Client, server: &Server) -> Option<Command> {
    let environment = folder().join(".venv");
    let (program, mark) = match kind {
        Client::Python | Client::PythonApart => {
            (Command::new(environment.join("bin/python")), environment.join("installed.txt"))
        }
        Client::Node => (tool("node")?, folder().join("node/node_modules/installed.json")),
        Client::Rust => {
            let program = folder().join("../../target/clients/debug/async-openai-client");
            (Command::new(&program), program)
        }
    };
    installed(&mark).then(|| {
        let mut command = alone(program, server);
        if kind == Client::PythonApart {
            command.env("PYTHONPATH", environment.join("apart"));
        }
        command
    })
}
