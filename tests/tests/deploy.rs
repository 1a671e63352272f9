//! What `deploy` and the Dockerfile say, checked by schemas and linters, and the program as a container runs it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use gavel_tests::{Background, binary, python, run_well, tool};

#[test]
fn manifests_the_compose_file_and_the_dockerfile_pass_their_own_checks() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/deploy.py");
    run_well(Command::new(python()).arg(script), b"");
}

/// As the image runs it: another user, without any rights, and a file system that cannot be written.
#[test]
fn the_program_runs_without_rights_and_without_a_place_to_write() {
    let Some(mut sandbox) = tool("bwrap") else { return };
    let closed =
        ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-user", "--unshare-pid"];
    let nobody = ["--uid", "10001", "--gid", "10001", "--cap-drop", "ALL", "--die-with-parent"];
    sandbox.args(closed).args(nobody);
    let in_sandbox = |sandbox: &Command, command: &str, arguments: &[&str]| {
        let mut closed = Command::new(sandbox.get_program());
        closed.args(sandbox.get_args()).arg(command).args(arguments);
        closed
    };
    let touched = in_sandbox(&sandbox, "touch", &["/tmp/written"]).output().unwrap();
    assert!(!touched.status.success(), "nothing can be written here");
    let program = binary();
    let mut server = in_sandbox(&sandbox, program.to_str().unwrap(), &["serve", "--port", "0"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let _server = Background::start(server.stdout(Stdio::from(writer)));
    drop(server); // it holds an end of the pipe
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let port = line.trim().rsplit_once(':').unwrap_or_else(|| panic!("{line:?} tells no port")).1.to_owned();
    let probe = |arguments: &[&str]| {
        in_sandbox(&sandbox, program.to_str().unwrap(), &["probe", "--port", &port])
            .args(arguments)
            .output()
            .unwrap()
    };
    for path in ["/readyz", "/livez"] {
        assert!(probe(&["--path", path]).status.success(), "{path}");
    }
    assert!(probe(&["--host", "0.0.0.0"]).status.success(), "the address on which a container listens");
    let absent = probe(&["--path", "/nothing"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("/nothing says HTTP/1.1 404"));
}
