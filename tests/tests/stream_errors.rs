//! Streams that fail after they have begun: their clients get an error, and no sign of success.

use std::time::{Duration, Instant};

use gavel_tests::{SentEvent, Server, wait_until};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
/// A time limit that is long enough for a stream to begin, and much shorter than the answers.
const LIMIT: (&str, &str) = ("x-request-timeout-ms", "400");

fn endless() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Go on." }], "max_tokens": 30_000, "ignore_eos": true, "stream": true })
}

/// All events of a stream with this time limit.
fn told(server: &Server, path: &str, body: &Value) -> Vec<SentEvent> {
    let headers = [("content-type", "application/json"), LIMIT];
    let response = server.send("POST", path, &headers, body.to_string().as_bytes());
    assert_eq!(response.status, 200, "{path}");
    response.events().collect()
}

/// Checks that a stream began and ended with an error, and had no other end before.
fn assert_failed(events: &[SentEvent], code: &str) {
    let (last, before) = events.split_last().expect("a stream says something");
    assert!(before.len() > 1, "it began");
    assert_eq!(last.json()["error"]["code"], code, "{last:?}");
    for event in before {
        assert_ne!(event.data, "[DONE]");
        let reason = &event.json()["choices"][0]["finish_reason"];
        assert!(reason.is_null(), "{event:?}");
        assert_ne!(event.name, "verdict");
    }
}

#[test]
fn a_stream_whose_time_is_over_ends_with_an_error_and_nothing_else() {
    let server = Server::random();
    let start = Instant::now();
    assert_failed(&told(&server, CHAT, &endless()), "deadline_exceeded");
    let text = json!({ "prompt": "Go on.", "max_tokens": 30_000, "ignore_eos": true, "stream": true });
    assert_failed(&told(&server, "/v1/completions", &text), "deadline_exceeded");
    let mut several = endless();
    several["n"] = json!(3);
    several["temperature"] = json!(1);
    assert_failed(&told(&server, CHAT, &several), "deadline_exceeded");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    wait_until("nothing runs", || server.engine("running") == 0);
    assert_eq!(server.engine("free_blocks"), server.engine("total_blocks"));
}

#[test]
fn a_stream_that_is_given_up_at_the_end_of_the_server_says_so() {
    let model = gavel_tests::reference().join("models/tiny56").to_string_lossy().into_owned();
    let server = Server::with_options(&["--model", &model, "--shutdown-timeout-s", "0.3"]);
    let mut events = server.post(CHAT, &endless()).events();
    let mut all: Vec<SentEvent> = events.by_ref().take(3).collect();
    server.signal("TERM");
    all.extend(events);
    assert_failed(&all, "draining");
    assert!(server.wait(), "the server ended well");
}
