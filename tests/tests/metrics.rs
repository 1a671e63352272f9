//! `GET /metrics` on the built server: what Prometheus is told, and what clients cannot put into it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use gavel_tests::{Server, wait_until};
use serde_json::json;

/// Every sample by its name with labels.
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
    assert_eq!(value(r#"gavel_requests_total{endpoint="/judge",status="200"}"#), 2.0);
    assert_eq!(value(r#"gavel_request_duration_seconds_count{endpoint="/judge"}"#), 2.0);
    assert_eq!(value(r#"gavel_sequences_total{lane="score",ending="finished",stage="decode"}"#), 1.0);
    assert_eq!(value(r#"gavel_sequences_total{lane="explain",ending="finished",stage="decode"}"#), 2.0);
    assert_eq!(value(r#"gavel_time_to_score_seconds_count{lane="explain"}"#), 2.0);
    assert_eq!(value("gavel_score_count"), 1.0);
    assert_eq!(value("gavel_label_mass_count"), 3.0);
    assert_eq!(value("gavel_position_checked_total"), 1.0);
    assert!(value("gavel_position_flips_total") <= 1.0);
    assert_eq!(value("gavel_steps_total"), server.engine("steps") as f64);
    let tokens = |source: &str| value(&format!(r#"gavel_prompt_tokens_total{{source="{source}"}}"#));
    assert!(tokens("computed") > 0.0 && tokens("prefix_cache") >= 0.0);
    assert_eq!(value("gavel_engine_alive"), 1.0);
    assert_eq!(value("gavel_requests_running"), 0.0);
    let blocks = |state: &str| value(&format!(r#"gavel_kv_blocks{{state="{state}"}}"#));
    assert_eq!(blocks("available") + blocks("in_use"), server.engine("total_blocks") as f64);
    let info = found.keys().find(|name| name.starts_with("gavel_build_info")).unwrap();
    assert!(info.contains(r#"model="gavel-mini""#), "{info}");
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
    assert_eq!(found[r#"gavel_requests_total{endpoint="none",status="404"}"#], 2.0);
    assert_eq!(found[r#"gavel_requests_total{endpoint="/judge",status="400"}"#], 2.0);
    assert_eq!(found[r#"gavel_verdict_failures_total{code="context_length_exceeded"}"#], 1.0);
    assert_eq!(found[r#"gavel_verdict_failures_total{code="unknown_rubric"}"#], 1.0);
}
