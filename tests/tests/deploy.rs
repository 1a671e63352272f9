//! Checks the files of `deploy` and the Dockerfile with schemas and linters, and runs the program as a container does.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

use gavel_tests::{Background, binary, python, run_well, tool};

fn script(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(path)
}

#[test]
fn the_compose_file_and_the_dockerfile_pass_their_own_checks() {
    run_well(Command::new(python()).arg(script("deploy.py")), b"");
}

#[test]
fn the_chart_says_what_it_should_for_any_values() {
    run_well(Command::new(python()).arg(script("chart")).arg(binary()), b"");
}

/// Runs in a network namespace of its own, where the script answers DNS queries.
#[test]
fn the_proxy_of_the_chart_finds_replicas_by_their_name() {
    let (Some(mut sandbox), Some(_)) = (tool("bwrap"), tool("haproxy")) else { return };
    let mut resolver = tempfile::NamedTempFile::new().unwrap();
    writeln!(resolver, "nameserver 127.0.0.1").unwrap();
    sandbox
        .args(["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--die-with-parent"])
        .args(["--unshare-user", "--unshare-net", "--unshare-pid", "--uid", "0"])
        .args(["--cap-add", "CAP_NET_BIND_SERVICE", "--ro-bind"])
        .args([resolver.path(), Path::new("/etc/resolv.conf")])
        .args([python(), script("chart/names.py"), binary()]);
    run_well(&mut sandbox, b"");
}

#[test]
fn the_steps_of_the_dockerfile_lead_to_a_program_that_serves() {
    take_the_steps_of("Dockerfile", &[]);
}

#[test]
fn the_steps_of_the_dockerfile_for_gpus_do_so_too() {
    // An empty file is enough: the library is opened only to compute on a GPU, and there is none.
    let library = tempfile::NamedTempFile::new().expect("a file can be made");
    let library = format!("cuda:/libcublasLt.so.13={}", library.path().display());
    take_the_steps_of("deploy/docker/Dockerfile.cuda", &[library]);
}

/// Takes the steps of a Dockerfile in a root file system, which only root can make: others skip it, and in CI use sudo.
fn take_the_steps_of(dockerfile: &str, made: &[String]) {
    let (Some(_), Some(_)) = (tool("mmdebstrap"), tool("bwrap")) else { return };
    let mut steps = match fs::metadata("/proc/self").expect("this is Linux").uid() {
        0 => Command::new(python()),
        _ if std::env::var_os("CI").is_none() => return,
        _ => {
            let mut elevated = Command::new("sudo");
            elevated.arg("--preserve-env=PATH,HOME").arg(python());
            elevated
        }
    };
    steps.arg(script("image.py")).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dockerfile));
    steps.arg(format!("build:/src/target/release/gavel={}", binary().display())).args(made);
    run_well(&mut steps, b"");
}

/// As the image runs it: another user, without any capabilities, on a read-only file system.
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
    drop(server); // it holds the writing end of the pipe
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
