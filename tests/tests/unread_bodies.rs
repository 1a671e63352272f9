//! Requests that are refused before their bodies are read: clients that read the answer only when they have sent
//! everything see it, and what is read of such a body is bounded.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use gavel_tests::{Keys, Server, read_from, wait_until};
use serde_json::json;

/// Far more than the buffers of both sockets hold, and less than the largest body.
const LARGE: usize = 24 << 20;

/// The name of a header and its value.
type Header<'a> = (&'a str, &'a str);

/// A method and a path.
type Line<'a> = (&'a str, &'a str);

const JSON: Header<'static> = ("content-type", "application/json");

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// The head of a request to judge, with a body of this length.
fn head(length: usize, more: &str) -> String {
    format!(
        "POST /judge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    )
}

/// All data until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends the data too.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn who_sends_a_large_body_learns_why_it_was_refused() {
    let keys = Keys::new(&[("a", "requests_per_minute = 1"), ("b", "admin = true")]);
    let server = keys.server(&["--metrics-on-main"]);
    let large = vec![b' '; LARGE];
    let few = format!("Bearer {}", keys.key("a"));
    let free = format!("Bearer {}", keys.key("b"));
    let (few, free) = (("authorization", few.as_str()), ("authorization", free.as_str()));
    let form = ("content-type", "multipart/form-data; boundary=x");
    let refused: [(u16, &str, Line<'_>, &[Header<'_>]); 10] = [
        (401, "invalid_api_key", ("POST", "/judge"), &[JSON]),
        (404, "not_found", ("POST", "/nothing"), &[JSON, free]),
        (404, "no_data_dir", ("POST", "/v1/files"), &[form, free]),
        (405, "method_not_allowed", ("PUT", "/judge"), &[JSON, free]),
        (415, "unsupported_media_type", ("POST", "/judge"), &[("content-type", "text/plain"), few]),
        (429, "rate_limit_exceeded", ("POST", "/judge"), &[JSON, few]),
        (415, "unsupported_encoding", ("POST", "/judge"), &[JSON, ("content-encoding", "gzip"), free]),
        (400, "invalid_request", ("POST", "/judge"), &[JSON, ("x-request-timeout-ms", "soon"), free]),
        (400, "invalid_query", ("POST", "/get_reward?ordr=both"), &[JSON, free]),
        (400, "invalid_host", ("POST", "/judge"), &[JSON, ("host", "localhost"), free]),
    ];
    for (status, code, (method, path), headers) in refused {
        // It panics if not all can be sent.
        let answer = server.send(method, path, headers, &large);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{method} {path}");
    }
    let all = (refused.len() * LARGE) as f64;
    let discarded = || keys.get(&server, "b", "/metrics").figure("gavel_discarded_body_bytes_total");
    wait_until("every byte is counted", || discarded() == all);
    // On a server without keys the host is checked.
    let server = Server::with_options(&[]);
    let answer = server.send("POST", "/judge", &[JSON, ("origin", "http://evil.example")], &large);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (421, "host_not_allowed"));
}

#[test]
fn a_server_that_stops_tells_it_to_large_requests_too() {
    let model = gavel_tests::reference().join("models/tiny56").to_string_lossy().into_owned();
    let server =
        Server::with_options(&["--model", &model, "--shutdown-pause-s", "0", "--shutdown-timeout-s", "600"]);
    let endless = json!({
        "messages": [{ "role": "user", "content": "Go on." }],
        "max_tokens": 20_000,
        "ignore_eos": true,
        "stream": true,
    });
    let mut events = server.post("/v1/chat/completions", &endless).events();
    assert!(events.next().is_some());
    server.signal("TERM");
    wait_until("new requests are refused", || server.post("/judge", &json!({})).status == 503);
    let answer = server.send("POST", "/judge", &[JSON], &vec![b' '; LARGE]);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (503, "draining"));
}

#[test]
fn only_so_much_is_read_of_a_refused_body() {
    let keys = Keys::new(&[("a", "")]);
    let server = keys.server(&["--max-body-mib", "1"]);
    let mut endless = connect(&server);
    endless.write_all(head(2_000_000_000, "").as_bytes()).unwrap();
    let piece = vec![b' '; 64 << 10];
    let pieces = (0..30_000).take_while(|_| endless.write_all(&piece).is_ok()).count();
    let sent = pieces * piece.len();
    assert!(sent < 128 << 20, "one mebibyte is read, and the sockets hold some: {sent} bytes");
    // One client that sends no more, and one that sends a letter now and then.
    let start = Instant::now();
    let mut silent = connect(&server);
    silent.write_all((head(1000, "") + "{").as_bytes()).unwrap();
    let mut trickling = connect(&server);
    trickling.write_all((head(100_000, "") + "{").as_bytes()).unwrap();
    let mut writer = trickling.try_clone().unwrap();
    let writing = thread::spawn(move || {
        while writer.write_all(b" ").is_ok() && start.elapsed() < Duration::from_secs(50) {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for stream in [silent, trickling] {
        let answer = rest(stream);
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close\r\n"), "{answer}");
    }
    writing.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn a_body_that_a_client_withholds_is_not_asked_for() {
    let keys = Keys::new(&[("a", "")]);
    let server = keys.server(&[]);
    let mut waiting = connect(&server);
    waiting.write_all(head(LARGE, "expect: 100-continue\r\n").as_bytes()).unwrap();
    let answer = rest(waiting);
    assert!(answer.starts_with("HTTP/1.1 401") && !answer.contains("100 Continue"), "{answer}");
}

#[test]
fn a_small_body_that_nobody_reads_does_not_cost_the_connection() {
    let server = Server::with_options(&[]);
    let mut stream = connect(&server);
    let plain = "host: localhost\r\ncontent-type: text/plain\r\n";
    let asked = format!(
        "POST /judge HTTP/1.1\r\n{plain}content-length: 5\r\n\r\nHello\
         POST /nothing HTTP/1.1\r\n{plain}transfer-encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n\
         GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).unwrap();
    let answers = rest(stream);
    let statuses: Vec<&str> = answers
        .match_indices("HTTP/1.1 ")
        .map(|(place, start)| &answers[place + start.len()..][..3])
        .collect();
    assert_eq!(statuses, ["415", "404", "200"], "{answers}");
}

#[test]
fn a_length_over_the_limit_is_refused_before_anything_arrives() {
    let server = Server::with_options(&["--max-body-mib", "1"]);
    let mut stream = connect(&server);
    stream.write_all((head(2_000_000, "") + "{").as_bytes()).unwrap();
    let answer = read_from(stream);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (413, "request_too_large"));
    // And a client that sends all of it reads the same.
    let answer = server.send("POST", "/judge", &[JSON], &vec![b' '; 3 << 20]);
    assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (413, "request_too_large"));
}

/// Bytes of virtual memory of a server.
fn mapped(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    size.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn a_length_that_is_only_declared_takes_no_memory() {
    const CLIENTS: usize = 40;
    let server = Server::with_options(&[]);
    let bytes = || server.get("/metrics").figure("gavel_body_bytes");
    assert_eq!(bytes(), 0.0);
    let before = mapped(&server);
    let held: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all((head(32 << 20, "") + "{").as_bytes()).unwrap();
            stream
        })
        .collect();
    wait_until("all are being read", || bytes() == CLIENTS as f64);
    let taken = mapped(&server).saturating_sub(before);
    assert!(taken < CLIENTS * (8 << 20), "{taken} bytes for {CLIENTS} bytes of bodies");
    drop(held);
}
