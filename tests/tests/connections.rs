//! The limits of connections, and the headers of responses for caches and browsers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use gavel_tests::{Server, read_from, send_raw, wait_until};
use serde_json::{Value, json};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// All data until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends the data too.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn heads_that_are_too_large_or_make_no_sense_are_refused() {
    let server = Server::with_options(&[]);
    let status =
        |request: &str| send_raw(server.address(), request.as_bytes()).map(|response| response.status);
    let get = |path: &str, headers: &str| {
        status(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"))
    };
    let fields = |count: usize| (0..count).map(|index| format!("x-{index}: y\r\n")).collect::<String>();
    assert_eq!(get("/livez", &fields(62)), Some(200));
    assert_eq!(get("/livez", &fields(63)), Some(431));
    assert_eq!(get("/livez", &format!("x: {}\r\n", "y".repeat(60 << 10))), Some(200));
    // Whether the HTTP library reads all of the head or gives up before.
    assert_eq!(get("/livez", &format!("x: {}\r\n", "y".repeat(70 << 10))), Some(431));
    assert_eq!(get("/livez", &format!("x: {}\r\n", "y".repeat(1 << 20))), Some(431));
    assert_eq!(get(&format!("/livez?{}", "y".repeat(8000)), ""), Some(200));
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "y".repeat(9000));
    let long = send_raw(server.address(), long.as_bytes()).unwrap();
    assert_eq!(long.status, 414);
    let body = long.json();
    assert!(body["error"]["message"].as_str().unwrap().contains("8192 (max_uri_kib)"), "{body}");
    assert_eq!(status("GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n"), Some(400), "no host");
    assert_eq!(get("/livez", "host: localhost\r\n"), Some(400), "two hosts");
    assert_eq!(status("GET /livez HTTP/1.0\r\n\r\n"), Some(200), "HTTP/1.0 needs none");
    assert_eq!(status("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Some(400));
    wait_until("they are counted", || {
        server.get("/metrics").figure("gavel_connections_lost_total{reason=\"malformed\"}") >= 2.0
    });
    assert!(server.get("/metrics").figure("gavel_refusals_total{reason=\"head\",key=\"none\"}") >= 3.0);
}

#[test]
fn packed_bodies_are_refused_unread() {
    let server = Server::with_options(&[]);
    for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip"] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let answer = server.send("POST", "/judge", &headers, b"{}");
        assert_eq!((answer.status, &answer.json()["code"]), (415, &json!("unsupported_encoding")));
    }
    let headers = [("content-type", "application/json"), ("content-encoding", "identity")];
    assert_eq!(server.send("POST", "/judge", &headers, b"{}").status, 400);
}

#[test]
fn answers_are_neither_guessed_at_nor_kept_and_tell_no_version() {
    let server = Server::with_options(&[]);
    let case = json!({ "question": "?", "response": "a" });
    let mut streamed = case.clone();
    streamed["stream"] = json!(true);
    for answer in [
        server.get("/livez"),
        server.get("/nothing"),
        server.get("/openapi.json"),
        server.post("/judge", &case),
        server.post("/judge", &streamed),
        server.post("/judge", &json!({})),
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("server"), None);
    }
}

#[test]
fn a_slow_head_is_given_up_and_a_patient_client_is_not() {
    let server = Server::with_options(&["--head-timeout-s", "0.5", "--keep-alive-s", "3"]);
    let start = Instant::now();
    // One client that sends nothing, and one that sends a letter now and then.
    let silent = connect(&server);
    let mut trickling = connect(&server);
    trickling.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: ").unwrap();
    let mut writer = trickling.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        while writer.write_all(b"y").is_ok() && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!((rest(silent), rest(trickling)), (String::new(), String::new()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    writing.join().unwrap();
    // The limit between two requests is longer than that of a head.
    let mut patient = connect(&server);
    let ask = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for _ in 0..2 {
        patient.write_all(ask).unwrap();
        let mut answer = [0; 4096];
        let count = patient.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        std::thread::sleep(Duration::from_millis(1200));
    }
    let idle = Instant::now();
    assert_eq!(rest(patient), "", "but not without end");
    assert!(idle.elapsed() < Duration::from_secs(20), "{:?}", idle.elapsed());
    wait_until("they are counted", || {
        server.get("/metrics").figure("gavel_connections_lost_total{reason=\"slow\"}") >= 2.0
    });
}

#[test]
fn an_answer_that_is_read_slowly_is_not_cut_off_as_idle() {
    let server = Server::with_options(&["--keep-alive-s", "0.5"]);
    // Each text comes back, and equal ones are judged once.
    let documents = vec!["word ".repeat(1600); 900];
    let body =
        json!({ "query": "What is it?", "documents": documents, "return_documents": true }).to_string();
    let mut stream = connect(&server);
    let head = format!(
        "POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    // More than fits into the buffers of both systems, so that the server is still sending when it has waited for the
    // time between two requests.
    let (mut answer, mut piece) = (String::new(), vec![0; 64 << 10]);
    let told: Value = loop {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "cut off after {} bytes", answer.len());
        answer += std::str::from_utf8(&piece[..count]).unwrap();
        let body = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        if let Some(whole) = body.filter(|_| answer.ends_with('}')) {
            break whole;
        }
        if answer.len() < 2 << 20 {
            std::thread::sleep(Duration::from_millis(30));
        }
    };
    assert_eq!(told["results"].as_array().unwrap().len(), 900);
    // Then the time between two requests counts.
    assert_eq!(rest(stream), "");
}

#[test]
fn bodies_share_their_memory_and_one_that_finds_no_room_is_refused() {
    let server = Server::with_options(&["--max-bodies-mib", "1"]);
    let kind = [("content-type", "application/json")];
    let padded = |body: Value, size: usize| {
        let text = body.to_string();
        " ".repeat(size - text.len()) + &text
    };
    let case =
        |size: usize| padded(json!({ "question": "What?", "response": "A cat.", "mode": "score" }), size);
    let chat =
        padded(json!({ "messages": [{ "role": "user", "content": "Hm?" }], "max_tokens": 1 }), 600_000);
    let text = case(700_000);
    let mut first = connect(&server);
    let head = format!(
        "POST /judge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    first.write_all(head.as_bytes()).unwrap();
    first.write_all(&text.as_bytes()[..600_000]).unwrap();
    wait_until("most of it is there", || server.get("/metrics").figure("gavel_body_bytes") >= 600_000.0);
    let refused = server.send("POST", "/judge", &kind, case(600_000).as_bytes());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let error = refused.json();
    assert_eq!(error["code"], "overloaded");
    assert!(error["message"].as_str().unwrap().contains("max_bodies_mib"), "{error}");
    let refused = server.send("POST", "/v1/chat/completions", &kind, chat.as_bytes());
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    // These report a full queue as OpenAI's interface does, and so a lack of memory.
    let text_alone = |name: &str| padded(json!({ name: "Hm?" }), 600_000);
    for (path, body) in [("/generate", text_alone("text")), ("/v1/tokenize", text_alone("prompt"))] {
        let refused = server.send("POST", path, &kind, body.as_bytes());
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{path}");
    }
    assert_eq!(server.get("/metrics").figure("gavel_refusals_total{reason=\"bodies\",key=\"none\"}"), 4.0);
    // A body that has its memory is not affected, and gives the memory back.
    first.write_all(&text.as_bytes()[600_000..]).unwrap();
    assert_eq!(read_from(first).status, 200);
    wait_until("it is given back", || server.get("/metrics").figure("gavel_body_bytes") == 0.0);
    assert_eq!(server.send("POST", "/v1/chat/completions", &kind, chat.as_bytes()).status, 200);
    assert_eq!(server.send("POST", "/judge", &kind, case(3 << 20).as_bytes()).status, 200, "it is alone");
}

#[test]
fn a_body_that_comes_too_slowly_is_answered_408() {
    let server = Server::with_options(&["--body-pause-s", "0.4", "--body-timeout-s", "2"]);
    let head = "POST /judge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    let mut pausing = connect(&server);
    pausing.write_all(head.as_bytes()).unwrap();
    let answer = read_from(pausing);
    assert_eq!(answer.status, 408);
    assert!(answer.text().contains("400ms (body_pause_s)"));
    let mut trickling = connect(&server);
    trickling.write_all(head.as_bytes()).unwrap();
    let mut writer = trickling.try_clone().unwrap();
    let start = Instant::now();
    let writing = std::thread::spawn(move || {
        while writer.write_all(b" ").is_ok() && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let answer = read_from(trickling);
    assert_eq!(answer.status, 408);
    assert!(answer.header("x-request-id").is_some());
    drop(answer);
    writing.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(server.get("/metrics").figure("gavel_refusals_total{reason=\"slow_body\",key=\"none\"}"), 2.0);
}

#[test]
fn an_address_has_so_many_connections_and_all_have_so_many() {
    let server = Server::with_options(&["--max-connections-per-ip", "3"]);
    let held: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    wait_until("one more is closed", || rest(connect(&server)).is_empty());
    drop(held);
    wait_until("there is room again", || {
        send_raw(server.address(), b"GET /livez HTTP/1.0\r\n\r\n").is_some()
    });
    wait_until("it is counted", || {
        let figures =
            send_raw(server.address(), b"GET /metrics HTTP/1.0\r\n\r\n").map(|response| response.text());
        figures.is_some_and(|text| !text.contains("gavel_connections_lost_total{reason=\"address\"} 0"))
    });
    // If the maximum number of connections is open, the next one waits until one closes.
    let server = Server::with_options(&["--max-connections", "2"]);
    let (first, _second) = (connect(&server), connect(&server));
    let mut third = connect(&server);
    third.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waiting = third.read(&mut [0]).unwrap_err();
    assert!(matches!(waiting.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert!(rest(third).starts_with("HTTP/1.1 200"));
}

#[test]
fn many_requests_on_one_connection_are_answered_in_order() {
    let server = Server::with_options(&[]);
    let mut stream = connect(&server);
    let asked: String = (0..500)
        .map(|index| {
            let close = if index == 499 { "connection: close\r\n" } else { "" };
            format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx-request-id: r{index}\r\n{close}\r\n")
        })
        .collect();
    stream.write_all(asked.as_bytes()).unwrap();
    let answers = rest(stream);
    let ids: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(ids, (0..500).map(|index| format!("r{index}")).collect::<Vec<_>>());
}
