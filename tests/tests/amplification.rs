//! Small requests whose parts together would be far larger: texts that are shared by many questions, samples or
//! rubrics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use gavel_tests::{Server, picture, wait_until};
use serde_json::{Map, Value, json};

/// The most resident memory of a server so far, in MiB.
fn peak_mib(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

#[test]
fn a_long_text_is_not_copied_for_each_part_of_a_request() {
    let server = Server::with_options(&[]);
    server.ok("/judge", &json!({ "question": "What is it?", "response": "A cat." }));
    let before = peak_mib(&server);
    let text = |mib: usize| "a b ".repeat(mib << 18);
    let list = |count: usize, name: &str| (0..count).map(|index| json!(format!("{name} {index}"))).collect();
    let questions: Vec<Value> = (0..1500)
        .map(|index| json!({ "id": index.to_string(), "question": "Is it?", "type": "yes_no" }))
        .collect();
    let predicates: Map<String, Value> = (0..2500)
        .map(|index| (format!("q{index}"), json!({ "type": "predicate", "instructions": "Is it?" })))
        .collect();
    let (queries, documents): (Value, Value) = (list(3500, "q"), list(3500, "d"));
    let responses: Value = list(64, "It is");
    let rubrics = vec!["better"; 64];
    // Each would have taken from one to four gigabytes.
    for (path, status, body) in [
        ("/v1/decisions", 400, json!({ "input": text(1), "questions": questions })),
        ("/v1/systemone", 400, json!({ "state": text(1), "questions": predicates })),
        ("/score", 400, json!({ "queries": queries, "documents": documents, "instruction": text(1) })),
        ("/rerank", 400, json!({ "query": text(7), "documents": documents })),
        ("/reward", 400, json!({ "question": text(7), "responses": responses })),
        ("/reward", 400, json!({ "question": text(7), "responses": responses, "method": "pointwise" })),
        (
            "/judge",
            200,
            json!({ "question": text(7), "responses": ["a", "b"], "rubrics": rubrics, "order": "both" }),
        ),
    ] {
        let response = server.post(path, &body);
        let (got, told) = (response.status, response.text());
        assert!(got == status && told.contains("context_length_exceeded"), "{path}: {got} {:.300}", told);
        let taken = peak_mib(&server) - before;
        assert!(taken < 600, "{path} took {taken} MiB");
    }
}

#[test]
fn the_values_of_a_body_have_a_limit_together() {
    let server = Server::with_options(&[]);
    let chat = |rows: usize| {
        let unknown = vec![vec![0; 30_000]; rows];
        json!({ "messages": [{ "role": "user", "content": "Hello." }], "max_tokens": 1, "x": unknown })
    };
    assert_eq!(server.post("/v1/chat/completions", &chat(30)).status, 200);
    let refused = server.post("/v1/chat/completions", &chat(40));
    let (status, body) = (refused.status, refused.json());
    assert!(status == 400 && body["message"].as_str().unwrap().contains("max_json_values"), "{body}");
}

#[test]
fn a_stream_counts_the_memory_of_what_it_has_not_judged_yet() {
    let server = Server::with_options(&[]);
    let held = || server.get("/metrics").figure("gavel_body_bytes");
    let prompt = |index: usize| {
        json!({
            "question": format!("What is in image {index}?"),
            "images": [picture()],
            "responses": ["A cat.", "A dog.", "A circle.", "A star."],
        })
    };
    let body = json!({ "prompts": (0..60).map(prompt).collect::<Vec<_>>(), "stream": true }).to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /reward HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.any(|line| line.unwrap() == "event: result"), "a first result");
    assert!(held() >= body.len() as f64, "{} for {}", held(), body.len());
    drop(lines);
    wait_until("nothing is held", || held() == 0.0);
}
