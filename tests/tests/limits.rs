//! Quotas of keys, and the headers and errors about them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Keys, Response, Server, picture, wait_until};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

fn chat(text: &str, max_tokens: u64) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": max_tokens })
}

/// A request for a text that is generated until its client leaves.
fn endless() -> Value {
    json!({
        "messages": [{ "role": "user", "content": "Go on." }],
        "max_tokens": 20_000,
        "ignore_eos": true,
        "stream": true,
    })
}

/// The number in a header about quotas.
fn told(response: &Response, name: &str) -> u64 {
    let value = response.header(&format!("x-ratelimit-{name}"));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Checks that a response is a refusal because of a quota; returns the seconds to wait, if it has them.
fn refused(response: Response, words: &str) -> Option<u64> {
    let retry = response.header("retry-after").map(|seconds| seconds.parse().unwrap());
    assert_eq!(response.status, 429);
    let body = response.json();
    assert_eq!(
        (&body["error"]["code"], &body["error"]["type"]),
        (&json!("rate_limit_exceeded"), &json!("rate_limit_error"))
    );
    assert!(body["error"]["message"].as_str().unwrap().contains(words), "{words} in {body}");
    retry
}

/// A server with the random checkpoint, whose context is long.
fn random(keys: &Keys, options: &[&str]) -> Server {
    let model = gavel_tests::reference().join("models/tiny56").to_string_lossy().into_owned();
    keys.server(&[&["--model", &model], options].concat())
}

#[test]
fn what_makes_the_critic_write_counts_whatever_its_method() {
    let keys = Keys::new(&[("poor", "requests_per_minute = 2")]);
    let server = keys.server(&[]);
    let health = || keys.get(&server, "poor", "/health_generate");
    assert_eq!([health().status, health().status], [200, 200]);
    refused(health(), "requests per min");
    assert_eq!(keys.get(&server, "poor", "/v1/models").status, 200);
}

#[test]
fn exactly_as_many_requests_are_let_in_as_the_key_has() {
    let keys = Keys::new(&[("few", "requests_per_minute = 5"), ("free", "")]);
    let server = keys.server(&[]);
    // Invalid requests count too, and cost no computation.
    let ask = || keys.post(&server, "few", (CHAT, &json!({})));
    let first = ask();
    assert_eq!(
        (first.status, told(&first, "limit-requests"), told(&first, "remaining-requests")),
        (400, 5, 4)
    );
    assert_eq!(first.header("x-ratelimit-limit-tokens"), None, "there is no such limit");
    let reset = first.header("x-ratelimit-reset-requests").unwrap();
    assert!(reset == "12s" || reset.starts_with("11."), "{reset}");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| ask().status)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let let_in = statuses.iter().filter(|status| **status == 400).count();
    assert!((4..=5).contains(&let_in), "one comes back every twelve seconds: {statuses:?}");
    let last = ask();
    assert_eq!(told(&last, "remaining-requests"), 0);
    let seconds = refused(last, "Limit 5, Requested 1").unwrap();
    assert!((1..=12).contains(&seconds), "{seconds}");
    // Look-ups are not counted, and another key is not affected.
    assert_eq!(keys.get(&server, "few", "/v1/models").status, 200);
    let free = keys.post(&server, "free", (CHAT, &chat("Hm?", 1)));
    assert_eq!((free.status, free.header("x-ratelimit-limit-requests")), (200, None));
}

#[test]
fn tokens_are_taken_at_admission_and_what_was_not_used_comes_back() {
    let keys = Keys::new(&[("a", "tokens_per_minute = 25000")]);
    let server = random(&keys, &[]);
    let answer = keys.post(&server, "a", (CHAT, &chat("Hm?", 1000)));
    assert_eq!(told(&answer, "limit-tokens"), 25_000);
    let left = told(&answer, "remaining-tokens");
    let used = answer.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert!(left >= 25_000 - used, "{used} were used of 25000, and {left} are left");
    let mut events = keys.post(&server, "a", (CHAT, &endless())).events();
    assert!(events.next().is_some());
    // While a reply is generated, it counts with its maximum number of tokens.
    let later = keys.post(&server, "a", (CHAT, &endless()));
    assert_eq!(later.header("x-should-retry"), None);
    let seconds = refused(later, "tokens per min: Limit 25000").unwrap();
    assert!((1..=20).contains(&seconds));
    assert_eq!(keys.post(&server, "a", (CHAT, &chat("Hm?", 100))).status, 200, "what fits is let in");
    drop(events);
    let mut again = None;
    wait_until("what was not written has come back", || {
        let answer = keys.post(&server, "a", (CHAT, &endless()));
        let let_in = answer.status == 200;
        again = Some(answer);
        let_in
    });
    drop(again);
    let never = keys.post(
        &server,
        "a",
        (CHAT, &json!({ "messages": [{ "role": "user", "content": "x" }], "max_tokens": 30_000 })),
    );
    assert_eq!(never.header("x-should-retry"), Some("false"));
    assert_eq!(refused(never, "Request too large"), None, "waiting does not help");
}

#[test]
fn an_image_counts_once_for_its_request() {
    let keys = Keys::new(&[("a", "images_per_minute = 2")]);
    // Without a memo, since remembered verdicts use no quota.
    let server = keys.server(&["--memo-entries", "0"]);
    let reward = json!({
        "question": "What colour is the circle?",
        "images": [picture()],
        "responses": ["Orange.", "Purple.", "Red."],
    });
    for _ in 0..2 {
        let answer = keys.post(&server, "a", ("/reward", &reward));
        let (status, text) = (answer.status, answer.text());
        assert_eq!(status, 200, "six comparisons show one image: {text}");
    }
    let seconds = refused(keys.post(&server, "a", ("/reward", &reward)), "images per min: Limit 2").unwrap();
    assert!((1..=20).contains(&seconds));
    let without = json!({ "question": "What?", "responses": ["Orange.", "Purple."] });
    assert_eq!(keys.post(&server, "a", ("/reward", &without)).status, 200);
}

#[test]
fn as_many_requests_run_as_may_and_one_that_ends_makes_room() {
    let keys = Keys::new(&[("a", "concurrent_requests = 2"), ("b", "")]);
    let server = random(&keys, &[]);
    let stream = |name: &str| keys.post(&server, name, (CHAT, &endless()));
    let (first, _second) = (stream("a"), stream("a"));
    assert_eq!((first.status, refused(stream("a"), "concurrent requests: Limit 2")), (200, Some(1)));
    assert_eq!(stream("b").status, 200);
    drop(first);
    wait_until("there is room again", || stream("a").status == 200);
}

#[test]
fn one_key_has_a_share_of_the_waiting_line_and_another_finds_room() {
    let keys = Keys::new(&[("many", ""), ("other", "queue_share = 0.5"), ("admin", "admin = true")]);
    let server = random(&keys, &["--max-sequences", "1", "--max-waiting", "8"]);
    let waiting = || {
        let health = keys.get(&server, "admin", "/health").json();
        (health["engine"]["running"].as_u64().unwrap(), health["engine"]["waiting"].as_u64().unwrap())
    };
    // Each has another length, so that no two requests are equal.
    let ask = |name: &str, more: u64| {
        let mut body = endless();
        body["max_tokens"] = json!(20_000 + more);
        keys.post(&server, name, (CHAT, &body))
    };
    let _running = ask("many", 0);
    wait_until("one runs", || waiting() == (1, 0));
    let mut held: Vec<Response> = (1..=2).map(|more| ask("many", more)).collect();
    assert!(held.iter().all(|response| response.status == 200));
    let seconds = refused(ask("many", 3), "queue_share").unwrap();
    assert!((1..=20).contains(&seconds), "a quarter of eight is two");
    for more in 4..8 {
        let response = ask("other", more);
        assert_eq!(response.status, 200, "a half of eight is four");
        held.push(response);
    }
    assert_eq!(refused(ask("other", 9), "queue_share").map(|seconds| seconds <= 20), Some(true));
    assert_eq!(waiting(), (1, 6));
}

#[test]
fn refusals_are_counted_by_reason_and_key() {
    let keys = Keys::new(&[("a", "requests_per_minute = 1"), ("admin", "admin = true")]);
    let server = keys.server(&["--metrics-on-main"]);
    assert_eq!(keys.post(&server, "a", (CHAT, &json!({}))).status, 400);
    refused(keys.post(&server, "a", (CHAT, &json!({}))), "requests per min");
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(keys.get(&server, "a", "/metrics").status, 403);
    let figures = keys.get(&server, "admin", "/metrics").text();
    for (reason, key) in [("requests", "a"), ("forbidden", "a"), ("unauthenticated", "none")] {
        let line = format!("gavel_refusals_total{{reason=\"{reason}\",key=\"{key}\"}} 1");
        assert!(figures.lines().any(|found| found == line), "{line} in {figures}");
    }
    assert!(!figures.contains(keys.key("a")));
}
