//! Shapes of replies that would take too much work: refused in a line, whatever makes them so, and harmless to others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Keys, Response, Server};
use serde_json::{Map, Value, json};

const CHAT: &str = "/v1/chat/completions";

fn chat(extra: &Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Is it red?" }], "max_tokens": 150 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn schema(schema: &Value) -> Value {
    json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": schema } } })
}

/// Checks that a reply is refused for its shape, in one line; returns the message.
fn refused(response: Response, what: &str) -> String {
    let status = response.status;
    let error = response.json()["error"].clone();
    assert_eq!((status, &error["code"]), (400, &json!("invalid_schema")), "{what}: {error}");
    let message = error["message"].as_str().unwrap().to_owned();
    assert!(!message.contains('\n') && !message.contains('<'), "{message}");
    message
}

#[test]
fn shapes_that_would_take_too_much_are_refused_before_they_do() {
    let server = Server::random();
    let together: Vec<Value> = (0..20)
        .map(|rest| json!({ "type": "string", "pattern": format!("[ab]*a[ab]{{{rest}}}c") }))
        .collect();
    let chain: Map<String, Value> = (0..900)
        .map(|part| (part.to_string(), json!({ "items": { "$ref": format!("#/$defs/{}", part + 1) } })))
        .collect();
    for (asked, word) in [
        (json!({ "guided_regex": "(a{1000}){1000}" }), "1000000 bytes"),
        (json!({ "guided_regex": "a".repeat(8193) }), "8193 bytes"),
        (json!({ "guided_regex": r"(a)\1" }), "backreferences"),
        (json!({ "guided_regex": r"[^\s\S]" }), "no text satisfies it"),
        (schema(&json!({ "type": "string", "pattern": "^(a{900}){900}$" })), "810000 bytes"),
        (schema(&json!({ "allOf": together })), "too many or too large"),
        (schema(&json!({ "type": "array", "$ref": "#/$defs/0", "$defs": chain })), "1000 deep"),
        (schema(&json!({ "type": "integer", "multipleOf": 999_983 })), "too many or too large"),
        (schema(&json!({ "oneOf": [{ "type": "string" }, { "const": "a" }] })), "oneOf"),
    ] {
        let what = asked.to_string();
        let message = refused(server.post(CHAT, &chat(&asked)), &what[..what.len().min(80)]);
        assert!(message.contains(word), "{message} lacks {word}");
    }
    server.ok(CHAT, &chat(&json!({ "guided_regex": "a{3}" })));
}

#[test]
fn rules_that_grow_while_a_text_is_written_are_the_client_s_error() {
    let server = Server::random();
    // The state of the pattern is the set of all places of an `a` in the last nine hundred letters.
    let tokens =
        server.ok("/tokenize", &json!({ "prompt": "a", "add_special_tokens": false }))["tokens"].clone();
    let bias: Map<String, Value> = [(tokens[0].to_string(), json!(100))].into_iter().collect();
    let asked = json!({ "guided_regex": "[ab]*a[ab]{900}", "logit_bias": bias, "max_tokens": 3000 });
    // The prompt that it shares with others stays cached, and no step has failed.
    let long = |extra: &Value| {
        let mut body = chat(extra);
        body["messages"][0]["content"] = json!("Is it red? ".repeat(20));
        body
    };
    let cached = || {
        let answer = server.ok(CHAT, &long(&json!({ "max_tokens": 1 })));
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone()
    };
    cached();
    let before = cached();
    assert!(before.as_u64().unwrap() > 0, "{before}");
    let message = refused(server.post(CHAT, &long(&asked)), "growing");
    assert!(message.contains("too complex"), "{message}");
    assert_eq!(cached(), before);
    let figures = server.get("/metrics").text();
    assert!(!figures.contains("gavel_step_failures_total 1"), "{figures}");
    let mut streamed = chat(&asked);
    streamed["stream"] = json!(true);
    let last = server.post(CHAT, &streamed).events().last().unwrap();
    assert_eq!(last.json()["error"]["code"], "invalid_schema");
}

#[test]
fn an_empty_text_is_an_answer_where_the_pattern_allows_it() {
    let server = Server::with_options(&[]);
    for pattern in ["^$", "(?:zzzzq)*"] {
        let asked = json!({ "guided_regex": pattern, "max_tokens": 1 });
        let reply = server.ok(CHAT, &chat(&asked));
        let choice = &reply["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!(""), &json!("stop")),
            "{pattern}"
        );
    }
}

#[test]
fn what_one_key_compiled_is_compiled_again_for_another() {
    let keys = Keys::new(&[("a", ""), ("b", "")]);
    let server = keys.server(&[]);
    // A refusal is kept as rules are, and told to each.
    for name in ["a", "a", "b"] {
        let bearer = format!("Bearer {}", keys.key(name));
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let body = chat(&json!({ "guided_regex": "(" })).to_string();
        let message = refused(server.send("POST", CHAT, &headers, body.as_bytes()), name);
        assert!(message.contains("unclosed group"), "{message}");
    }
}
