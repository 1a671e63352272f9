//! Clients of other projects, as `tests/clients/install` puts them in place.

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

/// Whether what `tests/clients/install` makes is there. When it is not, a test that needs it says so and ends; where
/// everything is tested (`CI=true`), it fails.
fn installed(path: &Path) -> bool {
    let there = path.exists();
    let missing = format!("{} is missing: `tests/clients/install` makes it", path.display());
    assert!(there || env::var_os("CI").is_none(), "{missing}, and with CI set nothing is skipped");
    if !there {
        eprintln!("skipped: {missing}");
    }
    there
}

/// A command that knows where the server is and finds nothing else: no other server, no proxy and no telemetry.
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
    /// By Python, with the packages that cannot stand beside the others before them.
    PythonApart,
    /// By Node, with its package.
    Node,
    /// As the program in Rust.
    Rust,
}

/// What runs clients of this kind against a server, when they are installed.
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
