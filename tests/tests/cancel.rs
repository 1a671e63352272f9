//! The work of a client that leaves is cancelled.

use gavel_tests::{Server, image, wait_until};
use serde_json::{Value, json};

/// More tokens than are written during a test.
const ENDLESS: u64 = 30_000;

fn chat(stream: bool) -> Value {
    json!({
        "messages": [{ "role": "user", "content": "Go on." }],
        "max_tokens": ENDLESS,
        "ignore_eos": true,
        "stream": stream,
    })
}

/// Waits until nothing runs and every cache block is free, and checks that the work was not simply completed.
fn stops(server: &Server) {
    wait_until("nothing runs", || server.engine("running") == 0);
    assert_eq!(server.engine("free_blocks"), server.engine("total_blocks"));
    let tokens = server.engine("tokens");
    assert!(tokens < ENDLESS, "{tokens} tokens were run; nothing was cancelled");
    assert_eq!(server.engine("steps"), server.engine("steps"), "no step is taken when nothing runs");
}

#[test]
fn a_dropped_stream_stops_its_sequence() {
    let server = Server::random();
    let mut events = server.post("/v1/chat/completions", &chat(true)).events();
    assert!(events.nth(3).is_some(), "it is being written");
    assert_eq!(server.engine("running"), 1);
    drop(events);
    stops(&server);
}

#[test]
fn a_dropped_stream_stops_all_its_sequences() {
    let server = Server::random();
    let mut body = chat(true);
    body["n"] = json!(3);
    body["temperature"] = json!(1.5);
    let mut events = server.post("/v1/chat/completions", &body).events();
    assert!(events.nth(8).is_some(), "they are being written");
    assert_eq!(server.engine("running"), 3);
    drop(events);
    stops(&server);
}

#[test]
fn equal_texts_are_written_once_and_stop_when_nobody_listens() {
    let server = Server::random();
    let [mut first, mut second] =
        [(), ()].map(|()| server.post("/v1/chat/completions", &chat(true)).events());
    assert!(first.nth(3).is_some() && second.nth(3).is_some(), "both are being written");
    assert_eq!(server.engine("running"), 1);
    drop(first);
    assert!(second.nth(3).is_some(), "the other client is still served");
    drop(second);
    stops(&server);
}

#[test]
fn a_dropped_verdict_stops_its_sequence() {
    let server = Server::steered_with(&["--max-output-tokens", &ENDLESS.to_string()]);
    let body = json!({
        "question": "What is it?",
        "images": [image("tiny56-square-0.png")],
        "response": "A cat.",
        "max_tokens": ENDLESS,
        "stream": true,
    });
    let mut events = server.post("/judge", &body).events();
    assert!(events.nth(3).is_some_and(|event| event.name == "justification"), "it is being written");
    drop(events);
    stops(&server);
}

#[test]
fn a_client_that_waits_for_the_whole_text_can_leave_too() {
    let server = Server::random();
    let waiting = std::net::TcpStream::connect(server.address()).unwrap();
    let body = chat(false).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut &waiting, (head + &body).as_bytes()).unwrap();
    wait_until("it runs", || server.engine("running") == 1);
    drop(waiting);
    stops(&server);
}

#[test]
fn others_go_on_when_one_leaves() {
    let server = Server::random();
    let mut body = chat(false);
    body["max_tokens"] = json!(60);
    let alone = server.ok("/v1/chat/completions", &body);
    let mut events = server.post("/v1/chat/completions", &chat(true)).events();
    assert!(events.next().is_some());
    let beside = std::thread::scope(|scope| {
        let answer = scope.spawn(|| server.ok("/v1/chat/completions", &body));
        drop(events);
        answer.join().unwrap()
    });
    assert_eq!(alone["choices"], beside["choices"]);
    stops(&server);
}
