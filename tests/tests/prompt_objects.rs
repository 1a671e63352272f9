//! Requests for any JSON object whose prompt says which: a schema or a list of keys in the system message.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::Server;
use serde_json::{Value, json};

/// The answer to a conversation with this system message, for a request that accepts any object.
fn answered(server: &Server, (role, text): (&str, &str), form: &str) -> Value {
    let body = json!({
        "messages": [{ "role": role, "content": text }, { "role": "user", "content": "What colour is it?" }],
        "max_tokens": 200,
        "response_format": { "type": "json_object" },
    });
    let headers = [("content-type", "application/json"), ("x-gavel-form", form)];
    let answer = server.send("POST", "/v1/chat/completions", &headers, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{text}");
    serde_json::from_str(answer.json()["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
}

/// The names of an object's members, in order.
fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_object_has_what_the_system_message_lists() {
    let server = Server::random();
    let schema = r#"{"properties": {"verdict": {"const": "given"}}, "required": ["verdict"]}"#;
    for text in [
        format!("Conform to the JSON schema below.\n\nHere is the output schema:\n```\n{schema}\n```"),
        format!("Judge.\nHere's a JSON schema to follow:\n{schema}\n\nDo not repeat the schema.\n"),
    ] {
        assert_eq!(answered(&server, ("system", &text), "auto"), json!({ "verdict": "given" }), "{text}");
        assert_ne!(answered(&server, ("system", &text), "off"), json!({ "verdict": "given" }));
        // The judged text does not determine the form of its verdict.
        assert_ne!(answered(&server, ("user", &text), "auto"), json!({ "verdict": "given" }));
    }
    let structure =
        "Grade it. You respond with a JSON object with this structure: {reason: string, pass: boolean}";
    let grade = answered(&server, ("system", structure), "auto");
    assert_eq!(keys(&grade), ["reason", "pass"]);
    assert!(grade["reason"].is_string() && grade["pass"].is_boolean(), "{grade}");
    let listed = "Return a JSON object with the keys `score` and `verdict`.";
    assert_eq!(keys(&answered(&server, ("system", listed), "auto")), ["score", "verdict"]);
    assert_ne!(keys(&answered(&server, ("user", listed), "auto")), ["score", "verdict"]);
}
