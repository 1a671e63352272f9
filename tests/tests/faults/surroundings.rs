//! What the server stands on and is read by: ports, threads, pipes, GPUs, configuration, collectors.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gavel_tests::{Background, Keys, Server, binary, free_port, get, post, reference, wait_until};
use serde_json::json;

use crate::{
    case, descriptors,
    interposed::{Fault, Faults},
    model, random, rests, row, short,
};

fn threads(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/task", server.process_id())).unwrap().count()
}

fn figure(server: &Server, name: &str) -> u64 {
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn the_rubrics_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let rubrics = folder.path().join("rubrics");
    fs::create_dir(&rubrics).unwrap();
    let text = fs::read_to_string(reference().join("../../config/rubrics/helpfulness.toml")).unwrap();
    fs::write(rubrics.join("mine.toml"), text.replace("\"helpfulness\"", "\"mine\"")).unwrap();
    let server = Server::with_options(&["--config-dir", folder.path().to_str().unwrap()]);
    let mut body = case();
    body["rubric"] = "mine".into();
    let before = server.ok("/judge", &body);
    fs::remove_dir_all(&rubrics).unwrap();
    let told = server.post("/rubrics/reload", &json!({}));
    assert!((400..600).contains(&told.status), "{}", told.status);
    assert_eq!(server.ok("/judge", &body)["score"], before["score"]);
    row(
        "F-18",
        "the folder of rubrics is removed, and they are read again",
        "an error; those that were read stay in use",
    );
}

#[test]
fn collectors_of_traces_are_down_or_deaf() {
    let gone = format!("http://127.0.0.1:{}", free_port());
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", deaf.local_addr().unwrap());
    for (what, address) in [("is down", gone), ("never answers", deaf)] {
        let server = random(&["--otlp-endpoint", &address]);
        for _ in 0..3 {
            assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
        }
        rests(&server);
        server.signal("TERM");
        let start = Instant::now();
        assert!(server.wait());
        assert!(start.elapsed() < Duration::from_secs(30), "it waits for the collector");
        row(
            "F-20",
            &format!("the collector of traces {what}"),
            "requests are answered, and the server ends when it is told to",
        );
    }
}

#[test]
fn another_server_has_the_port() {
    let server = random(&[]);
    let port = server.address().rsplit(':').next().unwrap();
    let second =
        Command::new(binary()).args(["serve", "--port", port, "--model", &model()]).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(75) && told.contains("cannot listen"), "{:?} {told}", second.status);
    rests(&server);
    row("F-22", "a second server on the same port", "exit 75 and why; the first goes on");
}

#[test]
fn there_is_no_gpu() {
    let output = Command::new(binary()).args(["serve", "--port", "0", "--device", "cuda"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(69) && told.contains("GPU"), "{:?} {told}", output.status);
    row("F-17", "a GPU is asked for and there is none", "exit 69 and why; never the processor in its place");
}

#[test]
fn hangups_come_in_a_flood_with_a_file_that_is_wrong() {
    let keys = Keys::new(&[("a", ""), ("admin", "admin = true")]);
    let server = keys.server(&["--metrics-on-main"]);
    keys.get(&server, "a", "/v1/models").text();
    let (files, running) = (descriptors(&server), threads(&server));
    let right = fs::read_to_string(keys.path()).unwrap();
    keys.put("[[keys]]\nid = 7\n");
    let mut sent = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        server.signal("HUP");
        sent += 1;
        assert_eq!(keys.get(&server, "a", "/v1/models").status, 200);
    }
    let wrong = || {
        let text = keys.get(&server, "admin", "/metrics").text();
        let name = "gavel_reloads_total{outcome=\"wrong\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    wait_until("it was read and found wrong", || wrong() > 0);
    keys.put(&right);
    server.signal("HUP");
    assert_eq!(keys.get(&server, "a", "/v1/models").status, 200);
    wait_until("nothing is left of them", || {
        descriptors(&server) <= files + 1 && threads(&server) <= running + 16
    });
    row(
        "F-18",
        &format!("{sent} SIGHUPs in 3 s, with a file of keys that is wrong"),
        &format!("the old keys hold; it was read {} times and found wrong, nothing is left open", wrong()),
    );
}

#[test]
fn nobody_reads_the_log() {
    let mut command = Command::new(binary());
    command.env("RUST_LOG", "debug").stderr(Stdio::piped());
    let mut server = Server::started_by(command, &["--model", &model()]);
    let deadline = Instant::now() + Duration::from_secs(50);
    while figure(&server, "gavel_log_lines_dropped_total") == 0 {
        assert!(Instant::now() < deadline, "no line is dropped, and none is stuck");
        assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
    }
    rests(&server);
    // And then its reader is gone.
    drop(server.take_errors());
    for _ in 0..20 {
        rests(&server);
    }
    server.signal("TERM");
    assert!(server.wait());
    row(
        "F-19",
        "nobody reads standard error; then it is closed",
        "lines are dropped and counted, requests are answered, exit 0",
    );
}

#[test]
fn nobody_hears_where_it_listens() {
    let port = free_port();
    let mut command = Command::new(binary());
    command.args(["serve", "--port", &port.to_string(), "--model", &model()]);
    // A pipe whose other end is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let _server = Background::start(command.stdout(writer));
    let address = format!("127.0.0.1:{port}");
    wait_until("it is ready", || {
        std::net::TcpStream::connect(&address).is_ok() && get(&address, "/readyz").status == 200
    });
    assert_eq!(post(&address, "/v1/chat/completions", &short()).status, 200);
    row("F-19", "standard output is closed", "requests are answered");
}

#[test]
fn threads_cannot_be_started() {
    let faults = Faults::new();
    let mut codes = Vec::new();
    // None at all, one, two and so on, until there are enough.
    for count in 0..40 {
        faults.set(Fault::Threads, count + 1);
        let port = free_port();
        let mut command = Command::new(binary());
        command.args(["serve", "--port", &port.to_string(), "--model", &model()]);
        faults.under(&mut command);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut first = [0];
        // It says where it listens, or ends.
        if process.stdout.take().unwrap().read(&mut first).unwrap() == 1 {
            process.kill().unwrap();
            process.wait().unwrap();
            break;
        }
        let ended = process.wait().unwrap();
        let code = ended.code().unwrap_or_else(|| panic!("{count} threads: {ended}"));
        assert!([70, 71].contains(&code), "{count} threads: {code}");
        codes.push(code);
    }
    assert!(!codes.is_empty() && codes.len() < 40, "{codes:?}");
    row(
        "F-23",
        "the system starts no thread, one, two and so on",
        &format!("exit {codes:?}, then it starts"),
    );
    // Later, with those that there are.
    faults.set(Fault::Threads, 0);
    let server = faults.server(&["--model", &model(), "--request-timeout-s", "5"]);
    rests(&server);
    thread::sleep(Duration::from_secs(11)); // those for blocking work end after ten seconds without any
    faults.set(Fault::Threads, 1);
    let answer = server.post("/v1/chat/completions", &short());
    let told = (answer.status, answer.json()["code"].clone());
    assert_eq!(server.get("/livez").status, 200);
    faults.set(Fault::Threads, 0);
    wait_until("it works again", || server.post("/v1/chat/completions", &short()).status == 200);
    rests(&server);
    row(
        "F-23",
        "no thread can be started while it serves",
        &format!("{told:?} to a request; then it works again"),
    );
}
