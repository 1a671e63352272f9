//! Every failure has the common error body, a request id, and the right status.

use gavel_tests::{Response, Server, scene, wait_until};
use serde_json::{Value, json};

/// Checks the common error body of a response and returns it.
fn body(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status, status);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let body = response.json();
    assert_eq!(body["object"], "error");
    assert_eq!(body["code"], code, "{body}");
    for member in ["message", "type", "code"] {
        assert!(body[member].is_string(), "{member} in {body}");
        assert_eq!(body[member], body["error"][member]);
    }
    assert!(body["error"]["param"].is_string() || body["error"]["param"].is_null());
    body
}

#[test]
fn what_does_not_fit_any_route_is_told_in_json() {
    let server = Server::random();
    let json_type = [("content-type", "application/json")];
    for path in
        ["/judge", "/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize", "/classify"]
    {
        body(server.get(path), 405, "method_not_allowed");
        body(server.send("POST", path, &[], b"{}"), 415, "unsupported_media_type");
        body(
            server.send("POST", path, &[("content-type", "text/plain")], b"{}"),
            415,
            "unsupported_media_type",
        );
        for charset in ["utf-16", "latin1", "iso-8859-1"] {
            let kind = format!("application/json; charset={charset}");
            let told = server.send("POST", path, &[("content-type", &kind)], b"{}");
            body(told, 415, "unsupported_media_type");
        }
        for charset in ["utf-8", "\"UTF-8\"", "us-ascii"] {
            let kind = format!("application/json; charset={charset}");
            let told = server.send("POST", path, &[("content-type", &kind)], b"{\"a\":");
            body(told, 400, "invalid_json");
        }
        body(server.send("POST", path, &json_type, b"{\"a\":"), 400, "invalid_json");
        body(server.send("POST", path, &json_type, b""), 400, "invalid_json");
        body(server.send("POST", path, &json_type, b"{} {}"), 400, "invalid_json");
        let list = body(server.send("POST", path, &json_type, b" [1]"), 400, "invalid_request");
        assert_eq!(list["message"], "The body must be a JSON object.");
        body(server.send("POST", path, &json_type, b"\xff"), 400, "invalid_json");
    }
    for path in [
        "/no/such/path",
        "/v1/nothing",
        "/v1/responses/resp_1",
        "/openai/deployments/a",
        // What is for operators has one spelling, and a full URL leads only to routes that its clients use.
        "/metrics/",
        "//rubrics/reload",
        "/v1/chat/completions/metrics",
        "/v1/chat/completions/judge",
    ] {
        body(server.get(path), 404, "not_found");
        body(server.post(path, &json!({})), 404, "not_found");
    }
    for (path, meant) in [
        ("/v1/judge", "POST /judge"),
        ("/judges", "POST /judge"),
        ("/api/v1/reward", "POST /reward"),
        ("/api/chat/completion", "POST /v1/chat/completions"),
    ] {
        let message = body(server.post(path, &json!({})), 404, "not_found")["message"].take();
        let message = message.as_str().unwrap();
        assert!(
            message.contains(&format!("did you mean {meant}?")) && message.contains("/docs"),
            "{message}"
        );
    }
    let wrong = server.get("/judge");
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_eq!(body(wrong, 405, "method_not_allowed")["message"], "This path takes POST, not GET.");
    body(server.post("/v1/models", &json!({})), 405, "method_not_allowed");
    let empty = body(server.post("/tokenize", &json!({})), 400, "invalid_request");
    assert_eq!(empty["error"]["param"], "prompt");
    body(server.post("/judge", &json!({ "question": 1 })), 400, "invalid_request");
    body(server.post("/health", &json!({})), 405, "method_not_allowed");
    body(server.send("PATCH", "/", &[], b""), 405, "method_not_allowed");
}

#[test]
fn a_body_over_the_limit_is_refused_and_one_under_it_is_read() {
    let model = gavel_tests::reference().join("models/tiny56");
    let server = Server::with_options(&["--model", &model.to_string_lossy(), "--max-body-mib", "1"]);
    let filled = |bytes: usize| json!({ "question": "x".repeat(bytes), "response": "a" });
    for size in [1 << 20, 3 << 20] {
        let error = body(server.post("/judge", &filled(size)), 413, "request_too_large");
        assert_eq!(error["message"], "The body has more than 1 MiB, which is the limit (max_body_mib).");
    }
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/get_reward"] {
        body(server.post(path, &filled(3 << 20)), 413, "request_too_large");
    }
    body(server.post("/judge", &filled((1 << 20) - 100)), 400, "context_length_exceeded");
}

#[test]
fn a_prompt_that_can_never_fit_is_refused_in_the_words_that_clients_look_for() {
    let server = Server::random();
    let text = "one two three ".repeat(20_000);
    let messages = json!([{ "role": "user", "content": text }]);
    let texts = json!(["one", text]);
    for (path, request, param) in [
        ("/v1/chat/completions", json!({ "messages": messages }), "messages"),
        ("/v1/responses", json!({ "input": text }), "input"),
        ("/v1/responses", json!({ "input": messages }), "input"),
        ("/v1/completions", json!({ "prompt": text }), "prompt"),
        ("/v1/completions", json!({ "prompt": texts }), "prompt[1]"),
        ("/generate", json!({ "text": texts }), "text[1]"),
        ("/generate", json!({ "text": text, "image_data": scene() }), "text"),
    ] {
        let error = body(server.post(path, &request), 400, "context_length_exceeded");
        assert_eq!(error["error"]["param"], param, "{path}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("This model's maximum context length is 32768 tokens."), "{message}");
        assert!(message.ends_with("Please reduce the length of the messages."), "{message}");
    }
}

#[test]
fn a_full_waiting_line_is_told_in_each_dialects_way() {
    let model = gavel_tests::reference().join("models/tiny56");
    let options = ["--model", &model.to_string_lossy(), "--max-sequences", "1", "--max-waiting", "1"];
    let server = Server::with_options(&options);
    // The texts differ, since equal requests would share one sequence.
    let endless = |text: &str| {
        let body = json!({
            "messages": [{ "role": "user", "content": text }],
            "max_tokens": 30_000,
            "ignore_eos": true,
            "stream": true,
        });
        server.post("/v1/chat/completions", &body)
    };
    let running = endless("Go on.");
    wait_until("one runs", || server.engine("running") == 1);
    let waiting = endless("Then you.");
    assert_eq!((running.status, waiting.status), (200, 200));
    assert_eq!(server.engine("waiting"), 1);
    let refused = endless("And you.");
    let retry = |response: &Response| response.header("retry-after").unwrap().parse::<u32>().unwrap();
    assert!((1..=20).contains(&retry(&refused)));
    let error = body(refused, 429, "rate_limit_exceeded");
    assert!(error["message"].as_str().unwrap().starts_with("Rate limit"), "{error}");
    assert_eq!(error["type"], "rate_limit_error");
    for (path, asked) in [
        ("/v1/completions", json!({ "prompt": "And you." })),
        ("/v1/responses", json!({ "input": "And you." })),
    ] {
        let refused = server.post(path, &asked);
        assert!((1..=20).contains(&retry(&refused)), "{path}");
        body(refused, 429, "rate_limit_exceeded");
    }

    let native = server.post("/judge", &json!({ "question": "What?", "response": "A cat." }));
    assert!((1..=20).contains(&retry(&native)));
    let error = body(native, 503, "overloaded");
    assert!(error["message"].as_str().unwrap().starts_with("The queue is full"), "{error}");
}

#[test]
fn who_waits_in_line_for_too_long_is_refused_before_anything_is_done() {
    let model = gavel_tests::reference().join("models/tiny56");
    let options = ["--model", &model.to_string_lossy(), "--max-sequences", "1", "--queue-timeout-s", "1"];
    let server = Server::with_options(&options);
    let chat = |text: &str, tokens: u64, stream: bool| {
        let body = json!({
            "messages": [{ "role": "user", "content": text }],
            "max_tokens": tokens,
            "ignore_eos": true,
            "stream": stream,
        });
        server.post("/v1/chat/completions", &body)
    };
    let running = chat("Go on.", 30_000, true);
    wait_until("one runs", || server.engine("running") == 1);
    let retry = |response: &Response| response.header("retry-after").unwrap().parse::<u32>().unwrap();
    let refused = chat("And I?", 4, false);
    assert!((1..=60).contains(&retry(&refused)));
    let error = body(refused, 429, "queue_timeout");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("Rate limit") && message.contains("1 s") && message.contains("queue_timeout_s")
    );
    for (path, asked) in [
        ("/judge", json!({ "question": "What?", "response": "A cat." })),
        ("/reward", json!({ "question": "What?", "responses": ["A cat.", "A dog.", "A cow."] })),
    ] {
        let refused = server.post(path, &asked);
        assert!((1..=60).contains(&retry(&refused)), "{path}");
        body(refused, 503, "queue_timeout");
    }
    let last = chat("And I?", 4, true).events().last().unwrap();
    assert_eq!(last.json()["error"]["code"], "queue_timeout");
    wait_until("three, and six comparisons, are counted", || {
        let figures = server.get("/metrics").text();
        let mut counted = figures.lines().filter(|line| line.starts_with("gavel_admission_rejections_total"));
        counted.any(|line| line.contains("\"queue_timeout\"") && line.ends_with(" 9"))
    });
    let figures = server.get("/metrics").text();
    assert!(figures.contains("outcome=\"refused\"") && !figures.contains("outcome=\"failed\""), "{figures}");
    // A request that has begun may take longer than the limit of the queue.
    drop(running);
    assert_eq!(chat("And I?", 4, false).status, 200);
}

#[test]
fn what_would_fail_again_is_not_to_be_tried_again() {
    let server = Server::random();
    let failed =
        server.post("/judge", &json!({ "question": "What?", "response": "A cat.", "max_tokens": 4 }));
    assert_eq!(failed.header("x-should-retry"), Some("false"));
    body(failed, 502, "unparsable_verdict");
    let refused = server.post("/judge", &json!({ "question": "", "response": "A cat." }));
    assert_eq!(refused.header("x-should-retry"), None, "a client's own mistake is never tried again anyway");
}

#[test]
fn a_request_keeps_the_name_that_its_client_gave_it() {
    let server = Server::random();
    let named = server.send("GET", "/health", &[("x-request-id", "my-request.7")], b"");
    assert_eq!(named.header("x-request-id"), Some("my-request.7"));
    let (first, second) = (server.get("/health"), server.get("/health"));
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let long = "x".repeat(200);
    let unfit = server.send("GET", "/nothing", &[("x-request-id", &long)], b"");
    assert!(unfit.header("x-request-id").is_some_and(|id| id != long));
}

#[test]
fn a_healthy_server_says_so() {
    let server = Server::random();
    let health = server.get("/health");
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!((&health["status"], &health["model"]), (&json!("ok"), &json!("tiny56")));
    assert_eq!(health["engine"]["running"], 0);
    let ready = server.get("/ready");
    assert_eq!((ready.status, ready.json()), (200, json!({ "status": "ready" })));
}

#[test]
fn two_requests_of_one_name_are_two_requests() {
    let server = Server::with_options(&[]);
    let ask = || {
        let case = json!({ "question": "What?", "response": "A star.", "memo": false }).to_string();
        let headers = [("content-type", "application/json"), ("x-request-id", "the-same")];
        let answer = server.send("POST", "/judge", &headers, case.as_bytes());
        assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("the-same")));
        answer.json()["score"].as_f64().expect("there is a score")
    };
    let scores = std::thread::scope(|scope| {
        let asked = [(); 2].map(|()| scope.spawn(ask));
        asked.map(|asked| asked.join().expect("nobody panicked"))
    });
    assert_eq!(scores[0], scores[1]);
}
