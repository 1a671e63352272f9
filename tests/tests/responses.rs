//! `POST /v1/responses` on the built server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image, uncounted};
use serde_json::{Value, json};

const RESPONSES: &str = "/v1/responses";

fn text(response: &Value) -> &str {
    // The place where trainers look for the text.
    let last = response["output"].as_array().unwrap().last().unwrap();
    last["content"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap()
}

/// The status, the output without its ids, and the usage of `response`.
fn essence(response: &Value) -> (Value, Value, Value) {
    let mut output = response["output"].clone();
    output.as_array_mut().unwrap().iter_mut().for_each(|item| item["id"] = Value::Null);
    (response["status"].clone(), output, uncounted(response["usage"].clone()))
}

#[test]
fn a_response_has_the_shape_that_clients_want() {
    let server = Server::random();
    let asked = json!({
        "model": "gpt-4o",
        "input": "What is shown?",
        "instructions": "Be short.",
        "max_output_tokens": 5,
        "reasoning": { "effort": "low", "summary": "auto" },
        "metadata": { "a": "b" },
        "user": "someone",
        "store": true,
        "truncation": "auto",
        "include": ["reasoning.encrypted_content"],
        "text": { "format": { "type": "text" }, "verbosity": "low" },
        "tools": [],
    });
    let response = server.ok(RESPONSES, &asked);
    assert!(response["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!((&response["object"], &response["model"]), (&json!("response"), &json!("gpt-4o")));
    for echoed in ["instructions", "max_output_tokens", "reasoning", "metadata", "user"] {
        assert_eq!(response[echoed], asked[echoed], "{echoed}");
    }
    let constant = json!({ "error": null, "store": false, "tools": [], "tool_choice": "auto", "truncation": "disabled" });
    for (name, value) in constant.as_object().unwrap() {
        assert_eq!(&response[name], value, "{name}");
    }
    assert!(response.get("service_tier").is_none());
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    let message = &response["output"][0];
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(
        (&message["status"], &message["content"][0]["type"]),
        (&json!("incomplete"), &json!("output_text"))
    );
    assert!(!text(&response).is_empty());
    let usage = &response["usage"];
    assert_eq!(usage["output_tokens"], 5);
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
}

#[test]
fn the_critic_is_asked_as_in_a_chat_request() {
    let server = Server::random();
    let url = format!("data:image/png;base64,{}", image("tiny56-square-0.png"));
    let chat = |messages: Value| {
        let chat = server.ok("/v1/chat/completions", &json!({ "messages": messages, "max_tokens": 8 }));
        chat["choices"][0]["message"]["content"].clone()
    };
    let respond = |extra: Value| {
        let mut body = json!({ "max_output_tokens": 8 });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!(text(&server.ok(RESPONSES, &body)))
    };
    let system = json!({ "role": "system", "content": "Be short." });
    let asked = chat(json!([system, { "role": "user", "content": "What is shown?" }]));
    assert_eq!(respond(json!({ "input": "What is shown?", "instructions": "Be short." })), asked);
    let typed = json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "What is shown?" }] });
    assert_eq!(respond(json!({ "input": [{ "role": "developer", "content": "Be short." }, typed] })), asked);

    let picture = json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } });
    let turns = json!([
        { "role": "user", "content": [{ "type": "text", "text": "What is it?" }, picture] },
        { "role": "assistant", "content": "A square." },
        { "role": "user", "content": "Sure?" },
    ]);
    let picture = json!({ "type": "input_image", "image_url": url, "detail": "low" });
    let said = json!({ "type": "output_text", "text": "A square.", "annotations": [] });
    let items = json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "What is it?" }, picture] },
        { "type": "reasoning", "id": "rs_1", "summary": [] },
        { "type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [said] },
        { "role": "user", "content": "Sure?" },
    ]);
    assert_eq!(respond(json!({ "input": items })), chat(turns));
    for path in ["/responses", "/v1/responses/", "/openai/v1/responses", "/openai/responses?api-version=1"] {
        let body = json!({ "input": "What is shown?", "instructions": "Be short.", "max_output_tokens": 8 });
        assert_eq!(json!(text(&server.ok(path, &body))), asked, "{path}");
    }
}

#[test]
fn probabilities_of_tokens_are_told_when_they_are_asked_for() {
    let server = Server::random();
    let body = |extra: Value| {
        let mut body = json!({ "input": "Hello", "max_output_tokens": 6 });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.ok(RESPONSES, &body)["output"][0]["content"][0]["logprobs"].clone()
    };
    assert_eq!(body(json!({})), json!([]));
    let chat = json!({ "messages": [{ "role": "user", "content": "Hello" }], "max_tokens": 6, "logprobs": true, "top_logprobs": 2 });
    let chat = server.ok("/v1/chat/completions", &chat);
    let asked = json!({ "top_logprobs": 2, "include": ["message.output_text.logprobs"] });
    assert_eq!(body(asked), chat["choices"][0]["logprobs"]["content"]);
}

#[test]
fn a_streamed_response_is_the_whole_one_in_its_events() {
    let server = Server::random();
    let body = json!({ "input": "Hello", "max_output_tokens": 12, "top_logprobs": 1 });
    let whole = server.ok(RESPONSES, &body);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    let events: Vec<_> = server.post(RESPONSES, &streamed).events().collect();
    let bodies: Vec<Value> = events.iter().map(|event| event.json()).collect();
    for (index, (event, body)) in events.iter().zip(&bodies).enumerate() {
        assert_eq!((&body["type"], &body["sequence_number"]), (&json!(event.name), &json!(index)));
    }
    let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
    );
    let deltas = || bodies.iter().filter(|body| body["type"] == "response.output_text.delta");
    let written: String = deltas().map(|body| body["delta"].as_str().unwrap()).collect();
    assert_eq!(written, text(&whole));
    let logprobs: Vec<&Value> = deltas().flat_map(|body| body["logprobs"].as_array().unwrap()).collect();
    assert_eq!(json!(logprobs), whole["output"][0]["content"][0]["logprobs"]);
    let (begun, ended) = (&bodies[0]["response"], &bodies[bodies.len() - 1]["response"]);
    assert_eq!(
        (&begun["status"], &begun["output"], &begun["usage"]),
        (&json!("in_progress"), &json!([]), &Value::Null)
    );
    assert_eq!((&begun["id"], essence(ended)), (&ended["id"], essence(&whole)));
    let item = &ended["output"][0]["id"];
    assert!(deltas().all(|body| &body["item_id"] == item));
}

/// A function `name` whose arguments have the member `member`.
fn function(name: &str, member: &str) -> Value {
    let schema = json!({
        "type": "object",
        "properties": { member: { "$ref": "#/$defs/word" } },
        "required": [member],
        "additionalProperties": false,
        "$defs": { "word": { "enum": ["good", "bad"] } },
    });
    json!({ "type": "function", "name": name, "parameters": schema })
}

#[test]
fn a_function_is_called_and_its_events_are_those_of_the_call() {
    let server = Server::with_options(&[]);
    let two = json!([function("praise", "word"), function("blame", "reason")]);
    let named = |name: &str| json!({ "type": "function", "name": name });
    for (tools, choice, names) in [
        (json!([function("praise", "word")]), json!("required"), &["praise"][..]),
        (two.clone(), named("blame"), &["blame"]),
        (two.clone(), json!("required"), &["praise", "blame"]),
        (
            two.clone(),
            json!({ "type": "allowed_tools", "mode": "required", "tools": [named("praise")] }),
            &["praise"],
        ),
    ] {
        let mut body = json!({ "input": "Judge it.", "tools": tools, "tool_choice": choice });
        let whole = server.ok(RESPONSES, &body);
        let [call] = &whole["output"].as_array().unwrap()[..] else { panic!("{whole}") };
        assert_eq!((&whole["status"], &call["status"]), (&json!("completed"), &json!("completed")));
        assert_eq!((&call["type"], &whole["tool_choice"]), (&json!("function_call"), &choice));
        assert_eq!(whole["tools"][0]["strict"], Value::Null);
        let name = call["name"].as_str().unwrap();
        assert!(names.contains(&name), "{call}");
        assert!(call["id"].as_str().unwrap().starts_with("fc_"));
        assert!(call["call_id"].as_str().unwrap().starts_with("call_"));
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        let member = if name == "praise" { "word" } else { "reason" };
        assert!(["good", "bad"].map(Value::from).contains(&arguments[member]), "{call}");
        assert_eq!(arguments.as_object().unwrap().len(), 1, "{call}");

        body["stream"] = json!(true);
        let events: Vec<Value> = server.post(RESPONSES, &body).events().map(|event| event.json()).collect();
        let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "response.output_item.done",
                "response.completed",
            ]
        );
        let one = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
        let added = &one("response.output_item.added")["item"];
        assert_eq!((&added["name"], &added["arguments"]), (&call["name"], &json!("")));
        let deltas = events.iter().filter_map(|event| event["delta"].as_str());
        assert_eq!(json!(deltas.collect::<String>()), call["arguments"]);
        let done = one("response.function_call_arguments.done");
        assert_eq!((&done["arguments"], &done["item_id"]), (&call["arguments"], &added["id"]));
        let ended = &one("response.completed")["response"]["output"][0];
        assert_eq!(&one("response.output_item.done")["item"], ended);
        assert_eq!((&ended["call_id"], &ended["arguments"]), (&added["call_id"], &call["arguments"]));
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
    }
    // A function that need not be called is not, and a call that is cut off has no item before it has a name.
    let plain = server.ok(RESPONSES, &json!({ "input": "Judge it." }));
    for choice in [Value::Null, json!("auto"), json!("none")] {
        let body = json!({ "input": "Judge it.", "tools": two, "tool_choice": choice });
        assert_eq!(text(&server.ok(RESPONSES, &body)), text(&plain));
    }
    let cut =
        json!({ "input": "Judge it.", "tools": two, "tool_choice": "required", "max_output_tokens": 1 });
    let cut = server.ok(RESPONSES, &cut);
    assert_eq!((&cut["status"], &cut["output"]), (&json!("incomplete"), &json!([])));
}

#[test]
fn calls_and_their_results_are_shown_as_in_a_chat_request() {
    let server = Server::random();
    let shown = |path: &str, body: Value| {
        let answer = server.ok(path, &body);
        let text = answer["choices"][0]["message"]["content"]
            .as_str()
            .or(answer["output"][0]["content"][0]["text"].as_str());
        let usage = &answer["usage"];
        let tokens = usage["prompt_tokens"].as_u64().or(usage["input_tokens"].as_u64());
        (text.unwrap().to_owned(), tokens.unwrap())
    };
    let arguments = r#"{"city": "Oslo"}"#;
    let function = json!({ "name": "weather", "arguments": arguments });
    let call = |id: &str| json!({ "id": id, "type": "function", "function": function });
    let messages = json!([
        { "role": "user", "content": "Is it warm?" },
        { "role": "assistant", "content": "I look.", "tool_calls": [call("call_1"), call("call_2")] },
        { "role": "tool", "tool_call_id": "call_1", "content": "9 degrees" },
        { "role": "tool", "tool_call_id": "call_2", "content": "10 degrees" },
        { "role": "assistant", "tool_calls": [call("call_3")] },
        { "role": "tool", "tool_call_id": "call_3", "content": "11 degrees" },
    ]);
    let call = |id: &str| json!({ "type": "function_call", "id": "fc_1", "call_id": id, "name": "weather", "arguments": arguments, "status": "completed" });
    let result =
        |id: &str, output: Value| json!({ "type": "function_call_output", "call_id": id, "output": output });
    let items = json!([
        { "role": "user", "content": "Is it warm?" },
        { "type": "message", "role": "assistant", "content": "I look." },
        call("call_1"),
        call("call_2"),
        result("call_1", json!("9 degrees")),
        result("call_2", json!([{ "type": "input_text", "text": "10 degrees" }])),
        call("call_3"),
        result("call_3", json!("11 degrees")),
    ]);
    let chat = shown("/v1/chat/completions", json!({ "messages": messages, "max_tokens": 8 }));
    assert_eq!(shown(RESPONSES, json!({ "input": items, "max_output_tokens": 8 })), chat);
}

#[test]
fn the_tokens_of_an_input_are_counted_as_in_its_response() {
    let server = Server::random();
    let url = format!("data:image/png;base64,{}", image("tiny56-square-0.png"));
    let shown =
        json!([{ "type": "input_text", "text": "What is it?" }, { "type": "input_image", "image_url": url }]);
    let body = json!({
        "model": "gpt-4o",
        "instructions": "Be short.",
        "input": [{ "role": "user", "content": shown }, { "role": "assistant", "content": "A square." }],
        "tools": [function("praise", "word")],
        "max_output_tokens": 1,
    });
    let expected = server.ok(RESPONSES, &body)["usage"]["input_tokens"].clone();
    for path in ["/v1/responses/input_tokens", "/openai/v1/responses/input_tokens/"] {
        let counted = server.ok(path, &body);
        assert_eq!(counted, json!({ "object": "response.input_tokens", "input_tokens": expected }), "{path}");
    }
    let long = server.post("/v1/responses/input_tokens", &json!({ "input": "a b ".repeat(200_000) }));
    assert_eq!(long.status, 400);
    let error = long.json()["error"].clone();
    assert_eq!((&error["code"], &error["param"]), (&json!("string_too_long"), &json!("input")), "{error}");
}

#[test]
fn a_form_holds_here_too() {
    let server = Server::random();
    let body = json!({ "input": "Which?", "max_output_tokens": 64 });
    let headers = [("content-type", "application/json"), ("x-gavel-form", "trl-pairwise")];
    let response = server.send("POST", RESPONSES, &headers, body.to_string().as_bytes());
    assert_eq!((response.status, response.header("x-gavel-form")), (200, Some("trl-pairwise")));
    let response = response.json();
    assert!(["0", "1"].contains(&text(&response)), "{response}");
    assert_eq!(response["status"], "completed");
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    let server = Server::random();
    let user = |content: Value| json!({ "input": [{ "role": "user", "content": content }] });
    for (extra, code, param) in [
        (json!({ "previous_response_id": "resp_1" }), "unsupported_parameter", "previous_response_id"),
        (json!({ "conversation": "conv_1" }), "unsupported_parameter", "conversation"),
        (json!({ "background": true }), "unsupported_parameter", "background"),
        (json!({ "tools": [{ "type": "web_search" }] }), "unsupported_parameter", "tools"),
        (
            json!({ "tools": [{ "type": "function", "name": "a", "parameters": 1 }], "tool_choice": "required" }),
            "invalid_request",
            "tools",
        ),
        (json!({ "tool_choice": "required" }), "invalid_request", "tools"),
        (json!({ "tool_choice": { "type": "function", "name": "a" } }), "invalid_request", "tool_choice"),
        (json!({ "tool_choice": { "type": "web_search" } }), "unsupported_parameter", "tool_choice"),
        (
            json!({ "tools": [{ "type": "function", "name": "a".repeat(300_000) }] }),
            "string_too_long",
            "tools",
        ),
        (
            json!({ "input": [{ "type": "function_call", "name": "a" }] }),
            "invalid_request",
            "input[0].arguments",
        ),
        (
            json!({ "input": [{ "type": "function_call_output", "output": "a" }] }),
            "invalid_request",
            "input[0].call_id",
        ),
        (json!({ "guided_choice": ["a", "b"] }), "unsupported_parameter", "guided_choice"),
        (json!({ "structured_outputs": { "regex": "a" } }), "unsupported_parameter", "structured_outputs"),
        (json!({ "stop": ["a"] }), "unsupported_parameter", "stop"),
        (json!({ "n": 2 }), "unsupported_parameter", "n"),
        (json!({ "max_tokens": 5 }), "unsupported_parameter", "max_tokens"),
        (json!({ "input": [{ "type": "web_search_call" }] }), "unsupported_parameter", "input[0].type"),
        (json!({ "input": [] }), "invalid_request", "input"),
        (json!({ "input": [{ "role": "tool", "content": "x" }] }), "invalid_request", "input[0].role"),
        (json!({ "input": [{ "role": "user" }] }), "invalid_request", "input[0].content"),
        (json!({ "max_output_tokens": 0 }), "invalid_request", "max_output_tokens"),
        (json!({ "temperature": 3 }), "invalid_request", "temperature"),
        (json!({ "top_logprobs": 21 }), "invalid_request", "top_logprobs"),
        (user(json!([{ "type": "input_image", "file_id": "f" }])), "unknown_image", "input[0].content[0]"),
        (user(json!([{ "type": "input_file", "file_id": "f" }])), "unknown_image", "input[0].content[0]"),
        (
            user(json!([{ "type": "input_image", "image_url": "x", "detail": "fine" }])),
            "invalid_request",
            "input[0].content[0]",
        ),
    ] {
        let mut body = json!({ "input": "Hello" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let response = server.post(RESPONSES, &body);
        assert_eq!(response.status, 400, "{extra}");
        let error = response.json();
        // What is offered instead does not contain what was refused.
        assert!(!error["error"]["message"].as_str().unwrap().contains("and tool"), "{error}");
        assert_eq!(
            (&error["error"]["code"], &error["error"]["param"]),
            (&json!(code), &json!(param)),
            "{error}"
        );
    }
}
