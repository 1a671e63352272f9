//! What no body may be, on any route: a list for an object, too long, a number just out of its range, or a request for
//! what is not there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Response, Server, chatml, reference};
use serde_json::{Map, Value, json};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";

/// A chat request with further members.
fn chat(extra: Value) -> Value {
    let turn = json!({ "role": "user", "content": "What is it?" });
    with(json!({ "messages": [turn], "max_tokens": 4, "ignore_eos": true }), extra)
}

/// A body with further members.
#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn with(mut body: Value, extra: Value) -> Value {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// Checks that a response refuses its request because of `param`, with this code; returns the message.
fn refused(response: Response, (code, param): (&str, &str), what: &str) -> String {
    let status = response.status;
    let error = response.json()["error"].clone();
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!(code), &json!(param)),
        "{what}: {error}"
    );
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_is_no_object_on_any_route() {
    let server = Server::random();
    let turns = json!([["user", "What is it?"], ["assistant", "A cat."]]);
    for (path, body, param) in [
        (CHAT, json!({ "messages": [["user", null, null, "What is it?", null, null]] }), "messages[0]"),
        (
            CHAT,
            json!({ "messages": [{ "role": "user", "content": [["text", "What is it?", null, null, null, null, null]] }] }),
            "messages[0].content",
        ),
        (CHAT, chat(json!({ "stream": true, "stream_options": [true] })), "stream_options"),
        (
            CHAT,
            chat(json!({ "structured_outputs": [null, ["a", "b"], null, null, null, null] })),
            "structured_outputs",
        ),
        (COMPLETIONS, json!({ "prompt": "a", "stream": true, "stream_options": [true] }), "stream_options"),
        (
            COMPLETIONS,
            json!({ "prompt": "a", "structured_outputs": [null, ["a", "b"], null, null, null, null] }),
            "structured_outputs",
        ),
        (RESPONSES, json!({ "input": "a", "text": [{ "type": "json_object" }] }), "text"),
        (RESPONSES, json!({ "input": [["message", "user", "What is it?"]] }), "input"),
        ("/generate", json!({ "text": "a", "sampling_params": [1] }), "sampling_params"),
        ("/v1/chat/reward", json!({ "messages": turns }), "messages[0]"),
        ("/classify", json!({ "messages": turns }), "messages[0]"),
        ("/rm", json!({ "prompt": [["user", "What is it?"]], "response": "A cat." }), "prompt"),
        (
            "/v1/decisions",
            json!({ "input": "a", "questions": [[null, "yes_no", "Is it?", null, [], [], null, null]] }),
            "questions[0]",
        ),
        (
            "/v1/systemone",
            json!({ "state": "a", "questions": { "x": ["predicate", "Is it?"] } }),
            "questions.x",
        ),
        ("/reward", json!({ "prompts": [["What is it?", [], [], ["A cat.", "A dog."]]] }), "prompts[0]"),
        (
            "/judge",
            json!({ "question": "What is it?", "response": "A cat.", "criteria": "Be right.", "scale": [1, 5] }),
            "scale",
        ),
    ] {
        let message = refused(server.post(path, &body), ("invalid_request", param), path);
        assert!(!message.contains("struct ") && !message.contains("element"), "{message}");
    }
}

#[test]
fn every_message_counts_whatever_it_is_and_wherever_it_stands() {
    let model = reference().join("models/tiny56").to_string_lossy().into_owned();
    let server = Server::with_options(&["--model", &model, "--max-messages", "2"]);
    let turn = json!({ "role": "user", "content": "What is it?" });
    for (path, body, param) in [
        (CHAT, json!({ "messages": [turn, turn, turn] }), "messages"),
        (CHAT, json!({ "messages": [[], [], []] }), "messages"),
        (RESPONSES, json!({ "input": [turn, turn, turn] }), "input"),
        ("/rm", json!({ "prompt": [turn, turn, turn], "response": "A cat." }), "prompt"),
    ] {
        let message = refused(server.post(path, &body), ("array_too_long", param), path);
        assert!(message.contains("max_messages"), "{message}");
    }
    server.ok(CHAT, &json!({ "messages": [turn, turn], "max_tokens": 4, "ignore_eos": true }));
    server.ok(RESPONSES, &json!({ "input": [turn, turn], "max_output_tokens": 5 }));
    // Transcripts are no messages, although they have that name.
    let transcripts = server.post("/v1/score/evaluation", &json!({ "messages": ["a", "b", "c"] }));
    refused(transcripts, ("unknown_transcript", "messages[0]"), "transcripts");
}

#[test]
fn a_name_of_a_model_has_256_bytes_at_most() {
    let server = Server::with_options(&[]);
    let (fits, long) = ("m".repeat(256), "m".repeat(257));
    let transcript = chatml("What is it?", "A cat.");
    let turns =
        json!([{ "role": "user", "content": "What is it?" }, { "role": "assistant", "content": "A cat." }]);
    for (path, body) in [
        (CHAT, chat(json!({}))),
        (CHAT, chat(json!({ "stream": true }))),
        (COMPLETIONS, json!({ "prompt": "a" })),
        (RESPONSES, json!({ "input": "a" })),
        ("/tokenize", json!({ "prompt": "a" })),
        ("/detokenize", json!({ "tokens": [32] })),
        ("/classify", json!({ "input": [transcript] })),
        ("/pooling", json!({ "input": [transcript] })),
        ("/v1/embeddings", json!({ "input": [transcript] })),
        ("/v1/chat/reward", json!({ "messages": turns })),
        ("/v1/score/evaluation", json!({ "messages": [transcript] })),
        ("/score", json!({ "queries": "What is it?", "documents": ["A cat."] })),
        ("/rerank", json!({ "query": "What is it?", "documents": ["A cat."] })),
        ("/generative_scoring", json!({ "query": "a", "items": ["b"], "label_token_ids": [32, 33] })),
        ("/v1/decisions", json!({ "input": "a", "questions": [{ "type": "yes_no", "question": "Is it?" }] })),
        (
            "/v1/systemone",
            json!({ "state": "a", "questions": { "x": { "type": "predicate", "instructions": "Is it?" } } }),
        ),
    ] {
        let named = with(body, json!({ "model": long }));
        refused(server.post(path, &named), ("string_too_long", "model"), path);
    }
    let deployment = format!("/openai/deployments/{long}/chat/completions");
    refused(server.post(&deployment, &chat(json!({}))), ("string_too_long", "model"), "a deployment");
    refused(server.get(&format!("/v1/models/{long}")), ("string_too_long", "model"), "the list");
    assert_eq!(server.ok(CHAT, &chat(json!({ "model": fits })))["model"], fits.as_str());
}

#[test]
fn what_a_response_repeats_and_a_salt_are_short() {
    let server = Server::random();
    let respond =
        |extra: Value| server.post(RESPONSES, &with(json!({ "input": "a", "max_output_tokens": 5 }), extra));
    // So many pairs, with keys and values of so many characters.
    let pairs = |count: usize, key: usize, value: usize| {
        let pair = |index: usize| (format!("{index:0key$}"), json!("é".repeat(value)));
        let metadata: Map<String, Value> = (0..count).map(pair).collect();
        json!({ "metadata": metadata })
    };
    for wrong in [pairs(17, 2, 1), pairs(1, 65, 1), pairs(1, 2, 513)] {
        refused(respond(wrong), ("invalid_request", "metadata"), "metadata");
    }
    assert_eq!(respond(pairs(16, 64, 512)).status, 200);
    refused(respond(json!({ "user": "u".repeat(1025) })), ("string_too_long", "user"), "user");
    assert_eq!(respond(json!({ "user": "u".repeat(1024) })).status, 200);
    for (path, body) in [
        (CHAT, chat(json!({}))),
        (COMPLETIONS, json!({ "prompt": "a", "max_tokens": 4, "ignore_eos": true })),
        (RESPONSES, json!({ "input": "a", "max_output_tokens": 5 })),
    ] {
        let salted = |bytes: usize| with(body.clone(), json!({ "cache_salt": "s".repeat(bytes) }));
        refused(server.post(path, &salted(257)), ("string_too_long", "cache_salt"), path);
        server.ok(path, &salted(256));
    }
}

#[test]
fn what_would_change_the_meaning_is_refused_by_its_name() {
    let server = Server::random();
    for (name, value) in [
        ("typical_p", json!(0.9)),
        ("suffix", json!("}")),
        ("custom_logit_processor", json!("{\"callable\": \"00\"}")),
        ("lora_path", json!("adapters/strict")),
        ("adapter_id", json!("strict")),
        ("documents", json!([{ "text": "It is a dog." }])),
        ("session_params", json!({ "id": "a" })),
        ("kv_transfer_params", json!({ "do_remote_prefill": true })),
    ] {
        let response = server.post(CHAT, &chat(json!({ name: value })));
        refused(response, ("unsupported_parameter", name), name);
    }
    server.ok(CHAT, &chat(json!({ "typical_p": 1, "suffix": null, "documents": [], "lora_path": null })));
}

#[test]
fn what_a_message_has_beside_its_content_is_shown_or_refused() {
    let server = Server::random();
    let ask = |members: Value| {
        let turn = with(json!({ "role": "user", "content": "What is it?" }), members);
        server.post(CHAT, &chat(json!({ "messages": [turn] })))
    };
    for (name, value) in [
        ("images", json!(["QUJD"])),
        ("image", json!("QUJD")),
        ("videos", json!(["QUJD"])),
        ("prefix", json!(true)),
        ("partial", json!(true)),
    ] {
        let param = format!("messages[0].{name}");
        refused(ask(json!({ name: value })), ("unsupported_parameter", &param), name);
    }
    let nothing =
        json!({ "images": [], "image": null, "prefix": false, "annotations": [], "name": "someone" });
    assert_eq!(ask(nothing).status, 200);
    let item = json!({ "role": "user", "content": "What is it?", "images": ["QUJD"] });
    let response = server.post(RESPONSES, &json!({ "input": [item], "max_output_tokens": 5 }));
    refused(response, ("unsupported_parameter", "input[0].images"), RESPONSES);
}

#[test]
fn additions_to_the_prompt_in_members_of_another_interface_are_refused_by_their_names() {
    let server = Server::random();
    let respond = json!({ "input": "a", "max_output_tokens": 5 });
    let complete = json!({ "prompt": "a", "max_tokens": 4, "ignore_eos": true });
    let bodies = [(CHAT, chat(json!({}))), (RESPONSES, respond), (COMPLETIONS, complete)];
    for (name, value, paths) in [
        ("image_data", json!("QUJD"), &[CHAT, RESPONSES, COMPLETIONS][..]),
        ("system", json!("Be strict."), &[CHAT, RESPONSES, COMPLETIONS]),
        ("images", json!(["QUJD"]), &[RESPONSES, COMPLETIONS]),
        ("instructions", json!("Be strict."), &[CHAT, COMPLETIONS]),
        ("echo", json!(true), &[CHAT, RESPONSES]),
    ] {
        for (path, body) in bodies.iter().filter(|(path, _)| paths.contains(path)) {
            let response = server.post(path, &with(body.clone(), json!({ name: value })));
            refused(response, ("unsupported_parameter", name), name);
        }
    }
    // What is unknown is ignored, as harnesses send much of it, and so is a prompt beside that of the interface.
    let nothing = json!({ "image_data": null, "system": "", "extra_body": { "a": 1 }, "anything": [1] });
    for (path, body) in bodies {
        server.ok(path, &with(body, nothing.clone()));
    }
}

#[test]
fn a_number_is_not_rounded_into_its_range() {
    let server = Server::random();
    for (name, value) in [
        ("temperature", json!(2.000_000_000_1)),
        ("top_p", json!(1.000_000_01)),
        ("min_p", json!(1.000_000_01)),
        ("presence_penalty", json!(2.000_000_000_1)),
        ("frequency_penalty", json!(-2.000_000_000_1)),
        ("repetition_penalty", json!(1e-60)),
        ("logit_bias", json!({ "5": 100.000_000_001 })),
    ] {
        let extra = json!({ name: value });
        refused(server.post(CHAT, &chat(extra.clone())), ("invalid_request", name), name);
        let completion = with(json!({ "prompt": "a" }), extra.clone());
        refused(server.post(COMPLETIONS, &completion), ("invalid_request", name), name);
        let generate = json!({ "text": "a", "sampling_params": extra });
        let param = format!("sampling_params.{name}");
        refused(server.post("/generate", &generate), ("invalid_request", &param), name);
    }
    for (name, value) in [("temperature", json!(2.000_000_000_1)), ("top_p", json!(1.000_000_01))] {
        let extra = json!({ name: value });
        let input = with(json!({ "input": "a" }), extra.clone());
        refused(server.post(RESPONSES, &input), ("invalid_request", name), name);
        let case = with(json!({ "question": "What is it?", "response": "A cat." }), extra);
        refused(server.post("/judge", &case), ("invalid_request", name), name);
    }
    server.ok(CHAT, &chat(json!({ "temperature": 2, "top_p": 1.0, "logit_bias": { "5": 100, "6": -100 } })));
}

#[test]
fn nothing_is_named_twice() {
    let server = Server::random();
    for biases in [json!({ "5": 1, "05": 2 }), json!({ "+5": 1 }), json!({ "05": 1 }), json!({ "-0": 1 })] {
        let response = server.post(CHAT, &chat(json!({ "logit_bias": biases })));
        refused(response, ("invalid_request", "logit_bias"), "logit_bias");
    }
    for path in ["/judge", "/reward"] {
        let ids = |ids: Value| json!({ "question": "What is it?", "responses": ["A cat.", "A dog."], "response_ids": ids });
        let message =
            refused(server.post(path, &ids(json!(["x", "x"]))), ("invalid_request", "response_ids"), path);
        assert_eq!(message, "Two responses have the id \"x\".");
    }
}

#[test]
fn an_error_quotes_little_of_what_was_sent() {
    let server = Server::random();
    let long = "x".repeat(1000);
    let case = |extra: Value| with(json!({ "question": "What is it?", "response": "A cat." }), extra);
    let turn = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    for (path, body) in [
        (CHAT, json!({ "messages": [{ "role": long, "content": "a" }] })),
        (CHAT, turn(json!([{ "type": long }]))),
        (CHAT, turn(json!([{ "type": "image_url", "image_url": { "url": "AAAA", "detail": long } }]))),
        (CHAT, turn(json!([{ "type": "image", "file_id": long }]))),
        (CHAT, chat(json!({ "tool_choice": { "type": "function", "function": { "name": long } } }))),
        (CHAT, chat(json!({ "logit_bias": { &long: 1 } }))),
        (CHAT, chat(json!({ "temperature": 1e300 }))),
        (RESPONSES, json!({ "input": [{ "type": long }] })),
        ("/score", json!({ "queries": "a", "documents": ["b"], &long: 1 })),
        ("/judge", case(json!({ &long: 1 }))),
        ("/judge", case(json!({ "mode": long }))),
        ("/judge", case(json!({ "rubric": long }))),
        ("/judge", case(json!({ "format": long }))),
        ("/judge", case(json!({ "question": 1, "response": long }))),
    ] {
        let response = server.post(path, &body);
        let status = response.status;
        let error = response.json()["error"].clone();
        assert!([400, 404].contains(&status), "{path}: {error}");
        let told = format!("{} {}", error["message"], error["param"]);
        let runs = ["x".repeat(65), "0".repeat(65)];
        assert!(!runs.iter().any(|run| told.contains(run)), "{told}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_read_as_the_replacement_character() {
    let server = Server::random();
    let count = |path: &str, escape: &str| {
        // Python's `json.dumps` writes such escapes; no JSON library of Rust does.
        let body = match path {
            CHAT => format!(
                r#"{{"messages":[{{"role":"user","content":"Is it {escape}?"}}],"max_tokens":4,"ignore_eos":true}}"#
            ),
            _ => format!(r#"{{"query":"Is it?","documents":"It is {escape}."}}"#),
        };
        let response = server.send("POST", path, &[("content-type", "application/json")], body.as_bytes());
        let status = response.status;
        let body = response.json();
        assert_eq!(status, 200, "{path} {escape}: {body}");
        body["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    for path in [CHAT, "/rerank"] {
        let replacement = count(path, "\u{fffd}");
        for escape in [r"\ud800", r"\udc00", r"\ufffd"] {
            assert_eq!(count(path, escape), replacement, "{path} {escape}");
        }
        // Beside it, a pair is a character, and an escaped backslash begins no escape.
        for (escape, text) in
            [(r"\ud83d\ude00\ud800", "\u{1f600}\u{fffd}"), (r"\\ud800\ud800", "\\\\ud800\u{fffd}")]
        {
            assert_eq!(count(path, escape), count(path, text), "{path} {escape}");
        }
    }
}
