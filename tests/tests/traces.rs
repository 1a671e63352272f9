//! The data for a trace collector: spans of each request, events of each verdict, and nothing of the judged texts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::Read,
    process::{Command, Stdio},
};

use gavel_tests::{Collector, Server, Told, attribute, binary};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a server that exports to a collector; returns what the collector received when the server has ended.
fn told(options: &[&str], ask: impl FnOnce(&Server)) -> Told {
    let collector = Collector::start();
    let url = collector.url();
    let server = Server::with_options(&[&["--otlp-endpoint", &url], options].concat());
    ask(&server);
    // The server sends everything that is still queued when it ends.
    server.signal("TERM");
    assert!(server.wait());
    collector.take()
}

fn ask_traced(server: &Server, path: &str, body: &serde_json::Value) -> u16 {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("content-type", "application/json"), ("traceparent", &traceparent)];
    server.send("POST", path, &headers, body.to_string().as_bytes()).status
}

fn find<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

fn case() -> serde_json::Value {
    json!({
        "question": "Which colour is the circle?",
        "images": [gavel_tests::picture()],
        "response": "The circle is blue.",
        "response_id": "chatcmpl-17",
        "rubric": "helpfulness",
    })
}

#[test]
fn a_request_is_one_span_of_its_clients_trace_from_the_line_to_the_verdict() {
    let told = told(&["--memo-entries", "0"], |server| {
        assert_eq!(ask_traced(server, "/judge", &case()), 200);
    });
    let request = find(&told.spans, "POST /judge");
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(attribute(&request.attributes, "status").unwrap(), "200");
    for child in ["encode", "sequence"] {
        assert_eq!(find(&told.spans, child).parent_span_id, request.span_id, "{child}");
    }
    let sequence = find(&told.spans, "sequence");
    let stages = ["queue", "prefill", "decode"].map(|name| find(&told.spans, name));
    for stage in stages {
        assert_eq!(stage.parent_span_id, sequence.span_id);
        assert!(stage.start_time_unix_nano >= sequence.start_time_unix_nano);
        assert!(stage.end_time_unix_nano <= sequence.end_time_unix_nano);
    }
    assert!(stages.windows(2).all(|pair| pair[0].end_time_unix_nano <= pair[1].start_time_unix_nano));
    assert!(request.end_time_unix_nano >= sequence.end_time_unix_nano);
    let number = |key| attribute(&sequence.attributes, key).unwrap().parse::<f64>().unwrap();
    assert!(number("gen_ai.usage.input_tokens") > 30.0);
    // One step for the prompt, and one for each token but the last.
    assert!(number("steps") >= 2.0 && number("steps") <= number("gen_ai.usage.output_tokens") + 1.0);
    assert!(number("queued_s") >= 0.0 && number("computed_s") > 0.0);
}

#[test]
fn a_stream_is_part_of_its_requests_span_to_the_end() {
    let told = told(&[], |server| {
        let mut body = case();
        body["stream"] = json!(true);
        let events = server.post("/judge", &body).events();
        assert_eq!(events.last().unwrap().name, "verdict");
    });
    let (request, sequence) = (find(&told.spans, "POST /judge"), find(&told.spans, "sequence"));
    assert_eq!(sequence.parent_span_id, request.span_id);
    assert!(request.end_time_unix_nano >= sequence.end_time_unix_nano);
    assert_eq!(told.events.len(), 1);
    assert_eq!(told.events[0].trace_id, request.trace_id);
}

#[test]
fn a_verdict_is_an_evaluation_of_the_response_that_the_client_named() {
    let mut verdict = json!(null);
    let told = told(&[], |server| {
        assert_eq!(ask_traced(server, "/judge", &case()), 200);
        verdict = server.ok("/judge", &case());
    });
    let event = told.events.iter().find(|event| hex(&event.trace_id) == TRACE).unwrap();
    assert_eq!(event.event_name, "gen_ai.evaluation.result");
    assert_eq!(event.span_id, find_of_trace(&told.spans).span_id);
    let said = |key| attribute(&event.attributes, key);
    assert_eq!(said("gen_ai.evaluation.name").unwrap(), "helpfulness");
    assert_eq!(said("gen_ai.response.id").unwrap(), "chatcmpl-17");
    let score: f64 = said("gen_ai.evaluation.score.value").unwrap().parse().unwrap();
    assert_eq!(json!(score), verdict["score"]);
    assert_eq!(said("gen_ai.evaluation.explanation").unwrap(), verdict["justification"].as_str().unwrap());
}

fn find_of_trace(spans: &[Span]) -> &Span {
    let ours = |span: &&Span| span.name == "POST /judge" && hex(&span.trace_id) == TRACE;
    spans.iter().find(ours).unwrap()
}

#[test]
fn comparisons_and_rewards_are_evaluations_of_each_response() {
    let pair = json!({
        "question": "Which colour is the circle?",
        "responses": ["The circle is blue.", "It has corners."],
        "response_ids": ["one", "two"],
        "max_tokens": 1,
    });
    let several = json!({
        "question": "Which colour is the circle?",
        "responses": ["Blue.", "Red.", "Green."],
        "response_ids": ["a", "b", "c"],
    });
    let (mut verdict, mut rewards) = (json!(null), json!(null));
    let told = told(&["--otlp-without-explanations"], |server| {
        verdict = server.ok("/judge", &pair);
        rewards = server.ok("/reward", &several);
    });
    let of = |id: &str| {
        let said = |event: &&_| attribute(attributes(event), "gen_ai.response.id").as_deref() == Some(id);
        told.events.iter().find(said).unwrap_or_else(|| panic!("no event of {id}"))
    };
    let label = |id: &str| attribute(&of(id).attributes, "gen_ai.evaluation.score.label");
    let value = |id: &str| {
        attribute(&of(id).attributes, "gen_ai.evaluation.score.value").unwrap().parse::<f64>().unwrap()
    };
    let (labels, values) = match verdict["preference"].as_str().unwrap() {
        "first" => (["better", "worse"], [1.0, 0.0]),
        "second" => (["worse", "better"], [0.0, 1.0]),
        _ => (["tie", "tie"], [0.5, 0.5]),
    };
    assert_eq!(["one", "two"].map(|id| label(id).unwrap()), labels);
    assert_eq!(["one", "two"].map(value), values);
    for (index, id) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(json!(value(id)), rewards["rewards"][index]);
        let chosen = rewards["chosen"] == index;
        assert_eq!(label(id).as_deref() == Some("chosen"), chosen);
    }
    let explains = |event: &&_| attribute(attributes(event), "gen_ai.evaluation.explanation").is_some();
    assert_eq!(told.events.iter().find(explains), None);
}

fn attributes(
    event: &opentelemetry_proto::tonic::logs::v1::LogRecord,
) -> &[opentelemetry_proto::tonic::common::v1::KeyValue] {
    &event.attributes
}

#[test]
fn a_failure_is_an_evaluation_with_its_code_and_nothing_of_what_was_judged_is_told() {
    let body = json!({
        "question": "SECRET-QUESTION",
        "response": "SECRET-RESPONSE",
        "response_id": "x",
        "rubric": "no such rubric",
    });
    let told = told(&[], |server| assert_eq!(server.post("/judge", &body).status, 404));
    let event = &told.events[0];
    assert_eq!(attribute(&event.attributes, "error.type").unwrap(), "unknown_rubric");
    assert!(!format!("{told:?}").contains("SECRET"));
}

#[test]
fn a_trace_that_its_client_does_not_keep_is_not_sent_and_ids_must_fit() {
    let told = told(&["--otlp-sample", "0"], |server| {
        let body = case();
        assert_eq!(server.post("/judge", &body).status, 200);
        let mut wrong = case();
        wrong["response_ids"] = json!(["a", "b"]);
        let refused = server.post("/judge", &wrong);
        assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("response_id")));
        wrong.as_object_mut().unwrap().remove("response_id");
        let refused = server.post("/judge", &wrong);
        assert_eq!((refused.status, refused.json()["error"]["param"].clone()), (400, json!("response_ids")));
    });
    assert_eq!(told.spans, []);
}

#[test]
fn a_collector_that_is_not_there_hurts_nothing_and_is_missed() {
    let mut command = Command::new(binary());
    command.stderr(Stdio::piped());
    let mut server = Server::started_by(command, &["--otlp-endpoint", "http://127.0.0.1:9"]);
    for _ in 0..3 {
        assert_eq!(server.post("/judge", &case()).status, 200);
    }
    let mut errors = server.take_errors();
    server.signal("TERM");
    assert!(server.wait());
    // The operator learns why nothing arrives.
    let mut log = String::new();
    errors.read_to_string(&mut log).unwrap();
    for processor in ["BatchSpanProcessor", "BatchLogProcessor"] {
        assert!(log.contains(&format!("{processor}.ExportError")), "{log}");
    }
}
