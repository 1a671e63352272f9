//! From the start to the end of a server: probes, and what happens to requests when it is told to stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use gavel_tests::{Keys, Server, binary, reference, send, signal, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A request for a text that is generated until the server ends it.
fn endless() -> Value {
    json!({
        "messages": [{ "role": "user", "content": "Go on." }],
        "max_tokens": 20_000,
        "ignore_eos": true,
        "stream": true,
    })
}

fn server(options: &[&str]) -> Server {
    let model = reference().join("models/tiny56").to_string_lossy().into_owned();
    Server::with_options(&[&["--model", &model], options].concat())
}

#[test]
fn probes_of_a_server_that_is_ready() {
    let server = server(&[]);
    for (path, status) in
        [("/livez", "ok"), ("/readyz", "ready"), ("/ready", "ready"), ("/startupz", "started")]
    {
        let response = server.get(path);
        assert_eq!((response.status, response.json()), (200, json!({ "status": status })), "{path}");
    }
}

#[test]
fn a_server_has_the_memory_of_its_cache_when_it_is_ready() {
    for precision in ["f32", "bf16"] {
        let bytes = resident(&server(&["--cache-mib", "300", "--precision", precision])).unwrap();
        assert!((300 << 20..500 << 20).contains(&bytes), "{precision}: {bytes} bytes");
    }
}

#[test]
fn the_small_critic_takes_no_more_than_150_megabytes_when_it_is_ready() {
    let bytes = resident(&Server::with_options(&[])).unwrap();
    assert!((64 << 20..150_000_000).contains(&bytes), "{bytes} bytes");
}

/// Bytes of resident memory of a server; `None` where `/proc` does not have them.
fn resident(server: &Server) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    resident.trim().trim_end_matches(" kB").parse().map(|kibibytes: usize| kibibytes << 10).ok()
}

#[test]
fn a_server_that_stops_says_so_first_then_refuses_and_finishes_what_runs() {
    let admin = format!("127.0.0.1:{}", gavel_tests::free_port());
    let server =
        server(&["--shutdown-pause-s", "2", "--shutdown-timeout-s", "600", "--admin-address", &admin]);
    let mut events = server.post("/v1/chat/completions", &endless()).events();
    assert!(events.next().is_some());
    server.signal("TERM");
    wait_until("it is no longer ready", || server.get("/readyz").status == 503);
    // Clients that have not noticed yet are still answered.
    let short = json!({ "messages": [{ "role": "user", "content": "Hm?" }], "max_tokens": 1 });
    assert_eq!(server.post("/v1/chat/completions", &short).status, 200);
    wait_until("new requests are refused", || server.post("/v1/chat/completions", &short).status == 503);
    let refused = server.post("/judge", &json!({ "question": "?", "response": "a" }));
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.json()["code"], "draining");
    // This interface has 429 for refusals, but not for one that no waiting ends.
    assert_eq!(server.post("/predict", &json!({ "inputs": "a" })).status, 503);
    assert_eq!(server.get("/livez").status, 200);
    // A server that is replaced has refused requests and failed none.
    let figures = || gavel_tests::get(&admin, "/metrics").text();
    for (endpoint, kind, outcome) in [
        ("/readyz", "none", "refused"),
        ("/judge", "none", "refused"),
        ("/predict", "score", "refused"),
        ("/livez", "none", "ok"),
    ] {
        let name =
            format!(r#"gavel_requests_total{{endpoint="{endpoint}",kind="{kind}",outcome="{outcome}"}}"#);
        wait_until("the request is counted", || figures().contains(&name));
    }
    let figures = figures();
    assert!(!figures.contains(r#"outcome="failed""#), "{figures}");
    assert!(events.next().is_some(), "what ran before goes on");
    drop(events);
    assert!(server.wait(), "the server ended well when nothing ran any more");
}

#[test]
fn what_does_not_end_in_time_is_given_up() {
    let server = server(&["--shutdown-timeout-s", "0.2"]);
    let mut events = server.post("/v1/chat/completions", &endless()).events();
    assert!(events.next().is_some());
    server.signal("TERM");
    assert!(server.wait(), "the server ended well");
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = server(&["--shutdown-timeout-s", "600"]);
    let mut events = server.post("/v1/chat/completions", &endless()).events();
    assert!(events.next().is_some());
    server.signal("TERM");
    wait_until("new requests are refused", || {
        server.post("/judge", &json!({ "question": "?", "response": "a" })).status == 503
    });
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait(), "the server ended");
    assert!(start.elapsed().as_secs() < 60, "far sooner than what was allowed to run");
}

#[test]
fn the_log_can_be_objects_in_lines_and_has_nothing_that_clients_send() {
    // Libraries write what they work on at the most detailed level, some of them character by character.
    for filter in ["debug", "trace", "info,gavel=debug,tokenizers=trace"] {
        let log =
            log_of_a_judgement(filter, &json!({ "question": "Which secret?", "response": "A secret Ω." }));
        let objects: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ready = objects.iter().find(|object| object["message"] == "the critic is ready");
        assert!(ready.is_some_and(|object| object["profile"].is_string()), "{log}");
        let answered = objects.iter().find(|object| object["message"] == "answered").unwrap();
        assert_eq!((&answered["status"], &answered["span"]["path"]), (&json!(200), &json!("/judge")));
        for text in ["secret", "Ω", "Replacing char"] {
            assert!(!log.contains(text), "{text} at {filter}");
        }
    }
}

/// A server with these options that logs in JSON, and the lines of its log.
fn logging(options: &[&str]) -> (Server, impl Iterator<Item = Value> + use<>) {
    let mut command = Command::new(binary());
    command.stderr(Stdio::piped());
    let mut server = Server::started_by(command, &[&["--log-format", "json"], options].concat());
    let lines = BufReader::new(server.take_errors()).lines();
    (server, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

#[test]
fn the_log_in_objects_has_the_causes_of_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut log) = logging(&["--data-dir", folder.path().to_str().unwrap()]);
    // A file where new contents would be written: writing fails, whoever the server runs as.
    let incoming = folder.path().join("incoming");
    std::fs::remove_dir(&incoming).unwrap();
    std::fs::write(&incoming, "").unwrap();
    let refused = server.send_form("one", &[("purpose", b"user_data"), ("file", b"x")]);
    assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("storage_unavailable")));
    let line = log.find(|line| line["code"] == "storage_unavailable").unwrap();
    assert_eq!((&line["level"], &line["span"]["path"]), (&json!("ERROR"), &json!("/v1/files")));
    let cause = line["error.sources"][0].as_str().unwrap_or_default();
    assert!(cause.contains("Not a directory"), "{line}");
}

#[test]
fn the_log_in_objects_has_what_happened_beside_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let rubrics = folder.path().join("rubrics");
    std::fs::create_dir(&rubrics).unwrap();
    let (server, mut log) = logging(&["--config-dir", folder.path().to_str().unwrap()]);
    std::fs::write(rubrics.join("wrong.toml"), "wrong = [").unwrap();
    server.signal("HUP");
    // Of two members of one name, a reader keeps the last.
    let line = log.find(|line| line["message"] == "not everything could be read again").unwrap();
    assert!(line["problem"].as_str().unwrap().contains("wrong.toml"), "{line}");
}

/// The log of a server with this filter, in JSON, that judges this case.
fn log_of_a_judgement(filter: &str, case: &Value) -> String {
    let mut process = Starting(
        Command::new(binary())
            .args(["serve", "--host", "127.0.0.1", "--port", "0", "--log-format", "json"])
            .env("RUST_LOG", filter)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // Read all the time, so that no line is dropped.
    let mut stderr = process.0.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    });
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap();
    assert_eq!(gavel_tests::post(address, "/judge", case).status, 200);
    signal(process.0.id(), "TERM");
    log.join().unwrap()
}

/// A process that is killed when the test ends.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A checkpoint whose loading waits, and the pipe in the place of one of its files on which it does.
fn checkpoint_that_waits() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(reference().join("models/tiny56")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let pipe = folder.path().join("config.json");
    std::fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    (folder, pipe)
}

/// A server that loads this checkpoint and has begun to answer, and its address.
fn loading(checkpoint: &TempDir, options: &[&str]) -> (Starting, String) {
    let port = gavel_tests::free_port();
    let process = Command::new(binary())
        .args(["serve", "--port", &port.to_string(), "--model", &checkpoint.path().to_string_lossy()])
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    wait_until("it listens", || std::net::TcpStream::connect(&address).is_ok());
    assert_eq!(gavel_tests::get(&address, "/livez").status, 200);
    (Starting(process), address)
}

#[test]
fn a_server_that_loads_answers_probes_alone() {
    let (checkpoint, _) = checkpoint_that_waits();
    let (mut process, address) = loading(&checkpoint, &[]);
    let status = |path: &str| gavel_tests::get(&address, path).status;
    assert_eq!(status("/healthz"), 200);
    for path in ["/readyz", "/startupz", "/ping", "/health", "/judge"] {
        assert_eq!(status(path), 503, "{path}");
    }
    // It is not down, though it has nothing to tell yet.
    let figures = gavel_tests::get(&address, "/metrics");
    assert_eq!((figures.status, figures.text().lines().all(|line| line.starts_with('#'))), (200, true));
    let refused = gavel_tests::get(&address, "/v1/models");
    assert!(refused.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.json()["code"], "starting");
    // It stops even while it loads.
    signal(process.0.id(), "TERM");
    assert!(process.0.wait().unwrap().success());
}

#[test]
fn keys_that_change_while_the_critic_is_loaded_are_read_again() {
    let (checkpoint, pipe) = checkpoint_that_waits();
    let mut keys = Keys::new(&[("a", "")]);
    let path = keys.path().to_string_lossy().into_owned();
    let (mut process, address) = loading(&checkpoint, &["--keys-file", &path, "--metrics-on-main"]);
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    keys.write(&[("b", "admin = true")]);
    // Whoever opens the file from now on finds the real one.
    let mut writing = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let real = reference().join("models/tiny56/config.json");
    std::fs::remove_file(&pipe).unwrap();
    std::fs::copy(&real, &pipe).unwrap();
    writing.write_all(&std::fs::read(&real).unwrap()).unwrap();
    drop(writing);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    let bearer = format!("Bearer {}", keys.key("b"));
    let ask = |path: &str| send(&address, ("GET", path), &[("authorization", &bearer)], b"");
    wait_until("the new key is known", || ask("/v1/models").status == 200);
    let started = ask("/metrics").figure("process_start_time_seconds");
    assert!(started < begun, "{started} is when the process started, and not when the critic was loaded");
}

#[test]
fn a_signal_after_a_request_to_drain_gives_nothing_up() {
    let admin = format!("127.0.0.1:{}", gavel_tests::free_port());
    let server = server(&["--shutdown-timeout-s", "600", "--admin-address", &admin]);
    let mut body = endless();
    body["max_tokens"] = json!(1000);
    let mut events = server.post("/v1/chat/completions", &body).events();
    assert!(events.next().is_some());
    assert_eq!(send(&admin, ("POST", "/drain"), &[], b"").status, 202);
    wait_until("it is no longer ready", || server.get("/readyz").status == 503);
    server.signal("TERM");
    let rest: Vec<String> = events.map(|event| event.data).collect();
    assert!(rest.iter().all(|data| !data.contains("draining")), "{:?}", rest.last());
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"));
    assert!(server.wait(), "the server ended well");
}
