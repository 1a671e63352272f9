//! Receipts of verdicts, their replay, and remembered verdicts, on the built server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;

use gavel_tests::{Server, picture, reference, wait_until};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn body(extra: &Value) -> Value {
    let mut body = json!({
        "question": "What colour is the circle?",
        "images": [picture()],
        "response": "The circle is purple.",
        "max_tokens": 24,
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The receipt of a verdict, and the verdict, once the digest of the weights is known.
fn receipt(server: &Server, extra: &Value) -> (Value, Value) {
    let mut asked = body(extra);
    asked["memo"] = json!(false);
    wait_until("the weights are read", || server.ok("/judge", &asked)["receipt"]["weights"].is_string());
    let verdict = server.ok("/judge", &asked);
    (verdict["receipt"].clone(), verdict)
}

#[test]
fn a_receipt_says_what_a_verdict_depended_on() {
    let server = Server::with_options(&[]);
    let (receipt, verdict) = receipt(&server, &json!({}));
    let weights = fs::read(reference().join("../../crates/embedded/checkpoint/model.safetensors")).unwrap();
    assert_eq!(receipt["weights"], format!("{:x}", Sha256::digest(weights)));
    for (member, value) in [
        ("model", json!("gavel-mini")),
        ("precision", json!("f32")),
        ("weight_form", json!("stored")),
        ("tensor_parallel", json!(1)),
        ("determinism", json!("exact")),
        ("profile", json!("gavel-mini")),
        ("format", json!("plain")),
        ("rubric", json!("helpfulness")),
        ("rubric_version", json!(1)),
        ("mode", json!("trained")),
        ("max_tokens", json!(24)),
        ("temperature", json!(0.0)),
        ("seed", Value::Null),
        ("repetition_penalty", json!(1.0)),
        ("end_token_ids", json!([868])),
        ("memo", json!(false)),
        ("cached_tokens", verdict["usage"]["cached_tokens"].clone()),
    ] {
        assert_eq!(receipt[member], value, "{member} of {receipt}");
    }
    let half = Server::with_options(&["--precision", "bf16"]);
    assert_eq!(half.ok("/judge", &body(&json!({})))["receipt"]["determinism"], "best_effort");
    let quantised = Server::with_options(&["--quantize", "q8"]);
    assert_eq!(quantised.ok("/judge", &body(&json!({})))["receipt"]["weight_form"], "q8");
}

#[test]
fn a_verdict_comes_out_again_from_its_receipt() {
    let server = Server::with_options(&[]);
    let (greedy, _) = receipt(&server, &json!({}));
    let again = server.ok("/judge", &body(&json!({ "expect": greedy })));
    assert_eq!(again["replay"], json!({ "same": true }), "{again}");
    assert_eq!(again["receipt"]["memo"], false, "it was judged again and not remembered");

    // A sampled verdict is sampled again in the same way, though the request had no seed.
    let drawn = server.ok("/judge", &body(&json!({ "temperature": 1.5 })));
    assert!(drawn["receipt"]["seed"].is_u64());
    let again = server.ok("/judge", &body(&json!({ "expect": drawn["receipt"] })));
    assert_eq!((&again["replay"]["same"], &again["score"]), (&json!(true), &drawn["score"]));
    assert_eq!(again["justification"], drawn["justification"]);

    // A receipt whose verdict digest was changed does not match.
    let mut other = greedy;
    other["verdict_digest"] = json!("00");
    assert_eq!(server.ok("/judge", &body(&json!({ "expect": other })))["replay"]["same"], false);

    let fresh = Server::with_options(&[]);
    let elsewhere = fresh.ok("/judge", &body(&json!({ "expect": drawn["receipt"] })));
    assert_eq!(elsewhere["replay"]["same"], true, "another process gives the same");
}

#[test]
fn a_verdict_that_is_part_of_an_answer_comes_out_again_from_its_own_receipt() {
    let server = Server::with_options(&[]);
    let [orange, purple] = ["The circle is orange.", "The circle is purple."];
    let asked = |responses: [&str; 2], extra: Value| {
        let mut asked = body(&extra);
        asked.as_object_mut().unwrap().remove("response");
        asked["responses"] = json!(responses);
        asked
    };
    let pair = |responses, extra| server.ok("/judge", &asked(responses, extra));
    let both = pair([orange, purple], json!({ "order": "both" }));
    for (responses, found) in [([orange, purple], &both["orders"][0]), ([purple, orange], &both["orders"][1])]
    {
        let again = pair(responses, json!({ "expect": found["receipt"] }));
        assert_eq!(again["replay"], json!({ "same": true }), "{again}");
        assert_eq!(again["distribution"], found["distribution"]);
    }
    // Its distribution was read only to be compared with that of the blind verdict.
    let seeing = pair([orange, purple], json!({ "blind": true }));
    let again = pair([orange, purple], json!({ "expect": seeing["receipt"] }));
    assert_eq!(again["replay"], json!({ "same": true }), "{again}");
    // A replay reads it again, but a request for the distribution does not match a receipt without one.
    let plain = pair([orange, purple], json!({}));
    let more = server.post(
        "/judge",
        &asked([orange, purple], json!({ "expect": plain["receipt"], "distribution": true })),
    );
    assert_eq!((more.status, more.json()["error"]["param"].clone()), (409, json!("expect.distribution")));
}

#[test]
fn a_calibrated_verdict_comes_out_again_calibrated() {
    let server = Server::with_options(&[]);
    let pair = |extra: Value| {
        let mut asked = body(&json!({ "mode": "score" }));
        asked.as_object_mut().unwrap().remove("response");
        asked["responses"] = json!(["The circle is orange.", "The circle is purple."]);
        asked.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.post("/judge", &asked)
    };
    let calibrated = pair(json!({ "calibration": "content_free" })).json();
    let (receipt, plain) = (&calibrated["receipt"], pair(json!({})).json());
    assert_eq!(
        (&receipt["calibration"], &plain["receipt"]["calibration"]),
        (&json!("content_free"), &json!("none"))
    );
    let again = pair(json!({ "calibration": "content_free", "expect": receipt })).json();
    assert_eq!((&again["replay"]["same"], &again["prior"]), (&json!(true), &calibrated["prior"]), "{again}");
    let refused = pair(json!({ "expect": receipt }));
    assert_eq!(
        (refused.status, refused.json()["error"]["param"].clone()),
        (409, json!("expect.calibration"))
    );
}

#[test]
fn what_a_receipt_is_not_of_is_told_by_name() {
    let config = tempfile::tempdir().unwrap();
    let rubrics = config.path().join("rubrics");
    fs::create_dir(&rubrics).unwrap();
    let write = |version: u32, criteria: &str| {
        let text = format!(
            "name = \"own\"\nversion = {version}\nkind = \"pointwise\"\nsummary = \"s\"\ncriteria = {criteria:?}\n\
             [scale]\nmin = 1\nmax = 10\n"
        );
        fs::write(rubrics.join("own.toml"), text).unwrap();
    };
    write(1, "Is it right?");
    let server = Server::with_options(&["--config-dir", &config.path().to_string_lossy()]);
    let (kept, _) = receipt(&server, &json!({ "rubric": "own" }));
    let mismatch = |extra: Value, receipt: &Value, param: &str, words: &[&str]| {
        let mut asked = body(&json!({ "rubric": "own", "expect": receipt }));
        asked.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let refused = server.post("/judge", &asked);
        let (status, error) = (refused.status, refused.json());
        let told = (status, &error["code"], &error["error"]["param"]);
        assert_eq!(told, (409, &json!("receipt_mismatch"), &json!(param)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let mut weights = kept.clone();
    weights["weights"] = json!("ab".repeat(32));
    mismatch(json!({}), &weights, "expect.weights", &["weights was abab"]);
    mismatch(json!({ "response": "It is red." }), &kept, "expect.prompt_digest", &["prompt_digest"]);
    mismatch(json!({ "mode": "score" }), &kept, "expect.mode", &["mode was trained and is score"]);
    mismatch(json!({ "temperature": 0.5 }), &kept, "expect.temperature", &["temperature was 0 and is 0.5"]);

    write(2, "Is it right and short?");
    assert_eq!(server.post("/rubrics/reload", &json!({})).status, 200);
    mismatch(json!({}), &kept, "expect.rubric_digest", &["rubric_digest", "rubric_version was 1 and is 2"]);

    let several = server.post("/judge", &body(&json!({ "expect": kept, "samples": 3 })));
    assert_eq!((several.status, several.json()["error"]["param"].clone()), (400, json!("expect")));
}

#[test]
fn an_equal_request_is_answered_from_memory_and_says_so() {
    let server = Server::with_options(&[]);
    let first = server.ok("/judge", &body(&json!({})));
    let before = server.engine("tokens");
    let second = server.ok("/judge", &body(&json!({})));
    assert_eq!(server.engine("tokens"), before, "nothing was computed");
    assert_eq!((&first["receipt"]["memo"], &second["receipt"]["memo"]), (&json!(false), &json!(true)));
    assert_eq!((&second["score"], &second["justification"]), (&first["score"], &first["justification"]));
    assert_eq!(second["usage"]["cached_tokens"], second["usage"]["prompt_tokens"]);

    let remembered = |extra: &Value| server.ok("/judge", &body(extra))["receipt"]["memo"] == true;
    assert!(!remembered(&json!({ "memo": false })));
    assert!(!remembered(&json!({ "response": "The circle is red." })), "another response");
    assert!(!remembered(&json!({ "mode": "score" })), "another mode");
    assert!(!remembered(&json!({ "max_tokens": 23 })), "another bound");
    assert!(!remembered(&json!({ "rubric": "accuracy" })), "another rubric");
    let seeded = json!({ "temperature": 1, "seed": 4 });
    assert!(!remembered(&seeded) && remembered(&seeded), "a seed makes it the same each time");
    let drawn = json!({ "temperature": 1 });
    assert!(!remembered(&drawn) && !remembered(&drawn), "without one it is not");

    let streamed = body(&json!({ "stream": true }));
    let events: Vec<_> = server.post("/judge", &streamed).events().collect();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["decision", "justification", "verdict"]);
    assert_eq!(events[2].json()["receipt"]["memo"], true);

    let other = [("content-type", "application/json"), ("authorization", "Bearer another")];
    let told = server.send("POST", "/judge", &other, body(&json!({})).to_string().as_bytes()).json();
    assert_eq!(told["receipt"]["memo"], false, "one tenant does not learn what another asked");

    let metrics = server.get("/metrics").text();
    let hits =
        metrics.lines().find_map(|line| line.strip_prefix("gavel_memo_lookups_total{result=\"hit\"} "));
    assert_eq!(hits, Some("3"), "{metrics}");
}

#[test]
fn the_memory_is_bounded_and_can_be_switched_off() {
    let remembers = |entries: &str, between: &[&str]| {
        let server = Server::with_options(&["--memo-entries", entries]);
        let ask =
            |response: &str| server.ok("/judge", &body(&json!({ "response": response, "mode": "score" })));
        ask("The circle is orange.");
        between.iter().for_each(|response| drop(ask(response)));
        ask("The circle is orange.")["receipt"]["memo"] == true
    };
    assert!(!remembers("0", &[]));
    assert!(remembers("1", &[]) && !remembers("1", &["It is red."]));
    assert!(remembers("2", &["It is red."]));
}
