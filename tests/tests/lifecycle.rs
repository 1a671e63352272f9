//! From the start to the end of a server: probes, and what happens to requests when it is told to stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Instant,
};

use gavel_tests::{Server, binary, reference, signal, wait_until};
use serde_json::{Value, json};

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

#[test]
fn a_server_that_loads_answers_probes_alone() {
    // A pipe in the place of a file of the checkpoint: loading blocks on it.
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = reference().join("models/tiny56");
    for entry in std::fs::read_dir(checkpoint).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let pipe = folder.path().join("config.json");
    std::fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut process = Starting(
        Command::new(binary())
            .args(["serve", "--port", &port.to_string(), "--model", &folder.path().to_string_lossy()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let address = format!("127.0.0.1:{port}");
    wait_until("it listens", || std::net::TcpStream::connect(&address).is_ok());
    let status = |path: &str| gavel_tests::get(&address, path).status;
    assert_eq!(status("/livez"), 200);
    for path in ["/readyz", "/startupz", "/health", "/judge", "/metrics"] {
        assert_eq!(status(path), 503, "{path}");
    }
    let refused = gavel_tests::get(&address, "/v1/models");
    assert!(refused.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(refused.json()["code"], "starting");
    // It stops even while it loads.
    signal(process.0.id(), "TERM");
    assert!(process.0.wait().unwrap().success());
}
