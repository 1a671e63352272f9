//! `GET /metrics` on the built server: the metrics, and that nothing from clients becomes a label.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::BTreeMap, fs, io::Write, net::TcpStream};

use gavel_tests::{Server, image, send_raw, wait_until};
use serde_json::json;

/// The value of every sample, by its name with labels.
fn samples(server: &Server) -> BTreeMap<String, f64> {
    let response = server.get("/metrics");
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").unwrap().starts_with("text/plain"));
    let text = response.text();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn requests_the_engine_and_verdicts_are_counted() {
    let server = Server::with_options(&[]);
    let case = json!({ "question": "What is it?", "responses": ["A star.", "A cross."], "order": "both" });
    server.ok("/judge", &case);
    server.ok("/judge", &json!({ "question": "What is it?", "response": "A star.", "mode": "score" }));
    wait_until("the last sequence is counted", || {
        samples(&server)
            .iter()
            .filter(|(name, _)| name.starts_with("gavel_sequences_total"))
            .map(|(_, count)| count)
            .sum::<f64>()
            == 3.0
    });
    let found = samples(&server);
    let value = |name: &str| *found.get(name).unwrap_or_else(|| panic!("{name} in {found:#?}"));
    for kind in ["pairwise", "pointwise"] {
        let judged = format!(r#"gavel_requests_total{{endpoint="/judge",kind="{kind}",outcome="ok"}}"#);
        assert_eq!(value(&judged), 1.0);
        let timed = format!(r#"gavel_request_duration_seconds_count{{endpoint="/judge",kind="{kind}"}}"#);
        assert_eq!(value(&timed), 1.0);
    }
    assert_eq!(value(r#"gavel_sequences_total{lane="score",ending="finished"}"#), 1.0);
    assert_eq!(value(r#"gavel_sequences_total{lane="explain",ending="finished"}"#), 2.0);
    assert_eq!(value(r#"gavel_time_to_score_seconds_count{lane="explain"}"#), 2.0);
    assert_eq!(value(r#"gavel_score_count{task="judge"}"#), 1.0);
    assert_eq!(value("gavel_label_mass_count"), 3.0);
    assert_eq!(value("gavel_position_checked_total"), 1.0);
    assert!(value("gavel_position_flips_total") <= 1.0);
    assert_eq!(value("gavel_steps_total"), server.engine("steps") as f64);
    let tokens = |source: &str| value(&format!(r#"gavel_prompt_tokens_total{{source="{source}"}}"#));
    // The first token of a text has no gap before it, and the tokens of a verdict are chosen together.
    let (gaps, written) = (
        value("gavel_inter_token_latency_seconds_count"),
        value(r#"gavel_reply_tokens_total{lane="explain"}"#),
    );
    assert!(gaps > 0.9 * written && gaps <= written - 2.0 * 2.0, "{gaps} of {written}");
    assert!(tokens("computed") > 0.0 && tokens("prefix_cache") >= 0.0);
    assert_eq!(value("gavel_engine_alive"), 1.0);
    assert_eq!(value("gavel_requests_running"), 0.0);
    let blocks = |state: &str| value(&format!(r#"gavel_kv_blocks{{state="{state}"}}"#));
    assert_eq!(blocks("free") + blocks("kept") + blocks("in_use"), server.engine("total_blocks") as f64);
    let info = found.keys().find(|name| name.starts_with("gavel_build_info")).unwrap();
    assert!(info.contains(r#"model="gavel-mini""#), "{info}");
}

#[test]
fn a_request_for_a_head_alone_counts_as_its_answer_does() {
    let server = Server::with_options(&[]);
    for (path, status, outcome) in [("/readyz", 200, "ok"), ("/judge", 405, "invalid")] {
        let request = format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        assert_eq!(send_raw(server.address(), request.as_bytes()).unwrap().status, status, "{path}");
        let name = format!(r#"gavel_requests_total{{endpoint="{path}",kind="none",outcome="{outcome}"}}"#);
        wait_until("the request is counted", || samples(&server).contains_key(&name));
    }
    let found = samples(&server);
    assert!(!found.keys().any(|name| name.contains(r#"outcome="cancelled""#)), "{found:#?}");
}

#[test]
fn failures_are_counted_and_nothing_that_a_client_sends_is_a_label() {
    let server = Server::with_options(&[]);
    let secret = "name-of-a-client";
    for path in [format!("/{secret}"), format!("/judge/{secret}")] {
        assert_eq!(server.get(&path).status, 404);
    }
    server.get(&format!("/v1/models/{secret}"));
    server.post("/judge", &json!({ "question": secret, "response": "a", "rubric": secret }));
    server.post("/judge", &json!({ "question": "x ".repeat(9000), "response": "a" }));
    let found = samples(&server);
    assert!(found.keys().all(|name| !name.contains(secret)), "{found:#?}");
    assert_eq!(found[r#"gavel_requests_total{endpoint="none",kind="none",outcome="invalid"}"#], 2.0);
    assert_eq!(found[r#"gavel_requests_total{endpoint="/judge",kind="pointwise",outcome="invalid"}"#], 2.0);
    assert_eq!(found[r#"gavel_admission_rejections_total{reason="too_large"}"#], 1.0);
    assert_eq!(found[r#"gavel_verdict_failures_total{code="context_length_exceeded"}"#], 1.0);
    assert_eq!(found[r#"gavel_verdict_failures_total{code="unknown_rubric"}"#], 1.0);
}

/// The value of a sample; 0 before it is first counted.
fn counted(server: &Server, name: &str) -> f64 {
    samples(server).get(name).copied().unwrap_or(0.0)
}

#[test]
fn streams_are_counted_by_how_they_end() {
    let server = Server::with_options(&["--request-timeout-s", "600"]);
    let pointwise = |outcome: &str| {
        let name =
            format!(r#"gavel_requests_total{{endpoint="/judge",kind="pointwise",outcome="{outcome}"}}"#);
        counted(&server, &name)
    };
    let case = json!({ "question": "What is it?", "response": "A star.", "stream": true });
    let events = server.post("/judge", &case).events();
    assert_eq!(events.last().unwrap().name, "verdict");
    wait_until("the stream is counted", || pointwise("ok") == 1.0);
    // A stream does not end with its head: the client leaves before the text, which has no end of its own, is complete.
    let chat = json!({
        "messages": [{ "role": "user", "content": "What is it?" }],
        "max_tokens": 1500, "ignore_eos": true, "stream": true,
    });
    let mut events = server.post("/v1/chat/completions", &chat).events();
    events.next().unwrap();
    drop(events);
    let left = r#"gavel_requests_total{endpoint="/v1/chat/completions",kind="chat",outcome="cancelled"}"#;
    wait_until("the client's leaving is counted", || counted(&server, left) == 1.0);
    wait_until("what it asked for is counted", || {
        ["queued", "prefill", "decode"]
            .iter()
            .map(|stage| counted(&server, &format!(r#"gavel_cancelled_total{{stage="{stage}"}}"#)))
            .sum::<f64>()
            == 1.0
    });
}

#[test]
fn every_cache_tells_what_it_holds_and_how_often_it_helps() {
    let server = Server::with_options(&[]);
    let picture = gavel_tests::image("geo384-square_336-0.png");
    let ask = |question: &str| json!({ "question": question, "images": [picture], "response": "A star.", "mode": "score" });
    server.ok("/judge", &ask("What is it?"));
    server.ok("/judge", &ask("Which colour has it?"));
    for tier in ["prefix", "tiles"] {
        let hits = counted(&server, &format!(r#"gavel_cache_requests_total{{tier="{tier}",result="hit"}}"#));
        let misses =
            counted(&server, &format!(r#"gavel_cache_requests_total{{tier="{tier}",result="miss"}}"#));
        assert!(hits > 0.0 && misses > 0.0, "{tier}: {hits} of {misses}");
        assert!(counted(&server, &format!(r#"gavel_cache_bytes{{tier="{tier}"}}"#)) > 0.0, "{tier}");
    }
    assert_eq!(counted(&server, r#"gavel_cache_requests_total{tier="features",result="miss"}"#), 1.0);
    assert_eq!(counted(&server, r#"gavel_cache_requests_total{tier="tiles",result="hit"}"#), 1.0);
    assert!(counted(&server, "gavel_image_decode_seconds_total") > 0.0);
    wait_until("both are counted", || counted(&server, "gavel_image_tokens_count") == 2.0);
    assert!(counted(&server, "process_resident_memory_bytes") > 1e6);
}

#[test]
fn verdicts_that_fail_inside_an_answer_are_counted_too() {
    // The critic's turn begins with a digit: what it writes after it is a score in some samples and not in others.
    let config = tempfile::tempdir().unwrap();
    let profile = gavel_tests::reference().join("../../config/critics/gavel-mini.toml");
    let profile = fs::read_to_string(profile).unwrap().replace("\"Score: \"", "\"Score: 1\"");
    fs::create_dir(config.path().join("critics")).unwrap();
    fs::write(config.path().join("critics/gavel-mini.toml"), profile).unwrap();
    let server = Server::with_options(&["--config-dir", &config.path().to_string_lossy()]);
    let failures =
        |code: &str| counted(&server, &format!(r#"gavel_verdict_failures_total{{code="{code}"}}"#));

    let drawn = json!({
        "question": "What is it?", "response": "A star.", "samples": 30, "temperature": 2, "seed": 1, "max_tokens": 8,
    });
    let told = server.ok("/judge", &drawn);
    let failed = told["spread"]["failures"].as_f64().unwrap();
    assert!(failed > 0.0 && told["spread"]["verdicts"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!(failures("unparsable_verdict"), failed);

    let responses = ["x ".repeat(9000), "A star.".to_owned(), "A cross.".to_owned()];
    let told = server.ok("/reward", &json!({ "question": "What is it?", "responses": responses }));
    assert_eq!(told["failures"].as_array().unwrap().len(), 4);
    assert_eq!(failures("context_length_exceeded"), 4.0);
    // The only response cannot be judged, which is one more failure.
    let long = json!({ "question": "x ".repeat(9000), "responses": ["A star."], "method": "pointwise" });
    assert_eq!(server.post("/reward", &long).status, 400);
    assert_eq!(failures("context_length_exceeded"), 5.0);
}

#[test]
fn a_request_whose_client_leaves_before_the_answer_has_its_kind() {
    let endless = 30_000;
    let server = Server::steered_with(&["--max-output-tokens", &endless.to_string()]);
    let images = [image("tiny56-square-0.png")];
    let case =
        json!({ "question": "What is it?", "images": images, "response": "A cat.", "max_tokens": endless });
    let chat = json!({
        "messages": [{ "role": "user", "content": "Go on." }], "max_tokens": endless, "ignore_eos": true,
    });
    for (path, kind, body) in [("/judge", "pointwise", case), ("/v1/chat/completions", "chat", chat)] {
        let waiting = TcpStream::connect(server.address()).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (&waiting).write_all((head + &body).as_bytes()).unwrap();
        wait_until("it runs", || server.engine("running") == 1);
        drop(waiting);
        let left = format!(r#"gavel_requests_total{{endpoint="{path}",kind="{kind}",outcome="cancelled"}}"#);
        wait_until("its client's leaving is counted", || counted(&server, &left) == 1.0);
        wait_until("nothing runs", || server.engine("running") == 0);
    }
}
