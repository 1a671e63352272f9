//! Structured replies, over the socket, from the embedded critic: whatever it would write, the reply is valid.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{path::Path, process::Command};

use gavel_tests::{Server, python, run_well};
use rand::{Rng, SeedableRng, rngs::StdRng};
use regex::Regex;
use serde_json::{Map, Value, json};

const CHAT: &str = "/v1/chat/completions";
const SCHEMAS: u64 = 50;

fn chat(extra: &Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Describe it as JSON." }] });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn format(schema: &Value, strict: bool) -> Value {
    let mut inner = json!({ "name": "reply", "schema": schema });
    if strict {
        inner["strict"] = json!(true);
    }
    json!({ "type": "json_schema", "json_schema": inner })
}

fn content(body: &Value) -> &str {
    body["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text in {body}"))
}

fn finish(body: &Value) -> &str {
    body["choices"][0]["finish_reason"].as_str().unwrap()
}

/// Documents with their schemas, which another implementation validates together.
#[derive(Default)]
struct Documents(String);

impl Documents {
    fn add(&mut self, schema: &Value, text: &str) {
        let document: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?} for {schema}"));
        self.0 += &format!("{}\n", json!([schema, document]));
    }

    fn check(self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/valid.py");
        let said = run_well(Command::new(python()).arg(script), self.0.as_bytes());
        let count = self.0.lines().count();
        assert_eq!(said.trim(), format!("{count} documents are valid"), "{said}");
    }
}

fn assert_valid(schema: &Value, text: &str) {
    let mut documents = Documents::default();
    documents.add(schema, text);
    documents.check();
}

fn pick<T, const N: usize>(random: &mut StdRng, choices: [T; N]) -> T {
    let place = random.random_range(0..N);
    choices.into_iter().nth(place).expect("it is one of them")
}

/// A random schema, whose parts may refer to `leaf` and `node` of its definitions.
fn schema(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 9 } else { 13 }) {
        0 => json!({ "type": "string" }),
        1 => {
            let low = random.random_range(0..4);
            json!({ "type": "string", "minLength": low, "maxLength": low + random.random_range(0..6) })
        }
        2 => {
            let low = random.random_range(-50..50);
            json!({ "type": "integer", "minimum": low, "maximum": low + random.random_range(0..200) })
        }
        3 => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
        4 => json!({ "type": pick(random, ["integer", "number", "boolean"]) }),
        5 => json!({ "enum": pick(random, [["first", "second", "tie"], ["A", "B", "the \"third\" one"]]) }),
        6 => json!({ "const": pick(random, [json!(7), json!("fixed"), json!(null)]) }),
        7 => json!({ "type": "string", "pattern": "^[A-Z]{2}-[0-9]+$" }),
        8 => json!({ "$ref": "#/$defs/leaf" }),
        9 => json!({ "anyOf": [{ "type": "null" }, schema(random, depth - 1)] }),
        10 => {
            let low = random.random_range(0..3);
            let mut list = json!({ "type": "array", "items": schema(random, depth - 1), "minItems": low });
            if random.random() {
                list["maxItems"] = json!(low + random.random_range(0..3));
            }
            list
        }
        11 => json!({ "$ref": "#/$defs/node" }),
        _ => object(random, depth),
    }
}

fn object(random: &mut StdRng, depth: u32) -> Value {
    let names = ["score", "reason", "verdict", "größe", "a b", "with \"quotes\"", "notes"];
    let count = random.random_range(1..5);
    let named: Map<String, Value> = names
        .iter()
        .take(count)
        .map(|name| ((*name).to_owned(), schema(random, depth.saturating_sub(1))))
        .collect();
    let required: Vec<String> = named.keys().filter(|_| random.random_range(0..4) > 0).cloned().collect();
    let mut object = json!({ "type": "object", "properties": named, "required": required });
    if random.random() {
        object["additionalProperties"] = json!(false);
    }
    object
}

fn root(seed: u64) -> Value {
    let mut random = StdRng::seed_from_u64(seed);
    let mut root = object(&mut random, 3);
    root["$defs"] = json!({
        "leaf": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false },
        "node": {
            "type": "object",
            "properties": { "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] } },
            "required": ["next"],
            "additionalProperties": false,
        },
    });
    root
}

/// A small document under one of these schemas.
fn small(schema: &Value) -> Value {
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().min_by_key(|value| value.to_string().len()).unwrap().clone();
    }
    match (schema["$ref"].as_str(), schema.get("anyOf")) {
        (Some("#/$defs/leaf"), _) => return json!({ "name": "" }),
        (Some(_), _) => return json!({ "next": null }),
        (None, Some(_)) => return Value::Null,
        (None, None) => {}
    }
    match schema["type"].as_str().unwrap() {
        "string" if schema.get("pattern").is_some() => json!("AA-0"),
        "string" => json!("x".repeat(schema["minLength"].as_u64().unwrap_or(0) as usize)),
        "integer" => {
            let low = schema["minimum"].as_i64().unwrap_or(0);
            let high = schema["maximum"].as_i64().unwrap_or(0);
            json!((low..=high).min_by_key(|number| number.to_string().len()).unwrap())
        }
        "number" => json!(1),
        "boolean" => json!(true),
        "array" => {
            let count = schema["minItems"].as_u64().unwrap() as usize;
            Value::Array(vec![small(&schema["items"]); count])
        }
        _ => {
            let named = schema["properties"].as_object().unwrap();
            let needed = |name: &String| schema["required"].as_array().unwrap().contains(&json!(name));
            named
                .iter()
                .filter(|(name, _)| needed(name))
                .map(|(name, part)| (name.clone(), small(part)))
                .collect()
        }
    }
}

/// The text and the finish reason of a streamed reply.
fn streamed(server: &Server, body: &Value) -> (String, String) {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let (mut text, mut end) = (String::new(), String::new());
    for event in server.post(CHAT, &body).events().filter(|event| event.data != "[DONE]") {
        let choice = &event.json()["choices"][0];
        let call = &choice["delta"]["tool_calls"][0]["function"]["arguments"];
        text += choice["delta"]["content"].as_str().or(call.as_str()).unwrap_or_default();
        end += choice["finish_reason"].as_str().unwrap_or_default();
    }
    (text, end)
}

#[test]
fn replies_are_valid_under_any_schema_with_any_room() {
    let server = Server::with_options(&[]);
    let mut ended_in_time = 0;
    let mut documents = Documents::default();
    for seed in 0..SCHEMAS {
        let schema = root(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let smallest = small(&schema).to_string().len();
        documents.add(&schema, &small(&schema).to_string());
        let drawn = json!({ "temperature": if seed % 2 == 0 { 0.0 } else { 1.3 }, "seed": seed });
        let ask = |tokens: usize| {
            let mut body = chat(&drawn);
            body["response_format"] = format(&schema, seed % 3 == 0);
            body["max_tokens"] = json!(tokens);
            body
        };
        // A token has at least one byte, so that this many tokens hold the smallest document.
        for tokens in [300, smallest, smallest + random.random_range(1..20)] {
            let reply = server.ok(CHAT, &ask(tokens));
            documents.add(&schema, content(&reply));
            assert_eq!(finish(&reply), "stop", "{tokens} tokens for {schema}");
            assert!(reply["usage"]["completion_tokens"].as_u64().unwrap() <= tokens as u64);
        }
        for tokens in [1, random.random_range(1..smallest)] {
            let reply = server.ok(CHAT, &ask(tokens));
            match finish(&reply) {
                "stop" => {
                    documents.add(&schema, content(&reply));
                    ended_in_time += 1;
                }
                end => assert_eq!(end, "length"),
            }
        }
        let whole = server.ok(CHAT, &ask(smallest + 10));
        let expected = (content(&whole).to_owned(), finish(&whole).to_owned());
        assert_eq!(streamed(&server, &ask(smallest + 10)), expected);
    }
    documents.check();
    assert!(ended_in_time > 0, "no small bound held a document: the bounds are no test");
}

#[test]
fn json_mode_is_a_bare_object_each_time() {
    let server = Server::with_options(&[]);
    for (seed, temperature) in (0..10).zip([0.0, 1.0, 1.7].into_iter().cycle()) {
        for tokens in [8, 40, 400] {
            let asked = json!({ "response_format": { "type": "json_object" }, "max_tokens": tokens, "seed": seed, "temperature": temperature });
            let reply = server.ok(CHAT, &chat(&asked));
            let document: Value = serde_json::from_str(content(&reply)).unwrap();
            assert!(!document.as_object().unwrap().is_empty() && content(&reply).starts_with('{'), "{reply}");
            assert_eq!(finish(&reply), "stop");
        }
    }
}

#[test]
fn several_texts_are_each_valid_and_equal_requests_are_equal() {
    let server = Server::with_options(&[]);
    let schema = root(3);
    let asked = json!({ "response_format": format(&schema, true), "n": 4, "temperature": 1.2, "seed": 5, "max_tokens": 200 });
    let reply = server.ok(CHAT, &chat(&asked));
    let texts: Vec<&str> = reply["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 4);
    let mut documents = Documents::default();
    texts.iter().for_each(|text| documents.add(&schema, text));
    documents.check();
    assert!(texts.iter().any(|text| *text != texts[0]), "each text is drawn for itself: {texts:?}");
    let again = server.ok(CHAT, &chat(&asked));
    assert_eq!(reply["choices"], again["choices"]);
}

#[test]
fn a_function_that_is_named_or_required_is_called_with_valid_arguments() {
    let server = Server::with_options(&[]);
    let schema = root(8);
    let function = json!({ "name": "give_verdict", "description": "Says it.", "parameters": schema });
    let tools = json!([{ "type": "function", "function": function }]);
    let name = json!({ "name": "give_verdict" });
    for (extra, end) in [
        (
            json!({ "tools": tools, "tool_choice": { "type": "function", "function": name }, "parallel_tool_calls": false }),
            "stop",
        ),
        (json!({ "tools": tools, "tool_choice": "required" }), "tool_calls"),
    ] {
        let reply = server.ok(CHAT, &chat(&extra));
        let message = &reply["choices"][0]["message"];
        assert!(
            message["content"].is_null() && message.as_object().unwrap().contains_key("content"),
            "{reply}"
        );
        let [call] = &message["tool_calls"].as_array().unwrap()[..] else { panic!("{reply}") };
        assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("give_verdict")));
        assert!(call["id"].as_str().unwrap().starts_with("call_"));
        let arguments = call["function"]["arguments"].as_str().unwrap();
        assert_valid(&schema, arguments);
        assert_eq!(finish(&reply), end);
        assert_eq!(streamed(&server, &chat(&extra)), (arguments.to_owned(), end.to_owned()));
    }
    let old = json!({ "functions": [function], "function_call": name });
    let reply = server.ok(CHAT, &chat(&old));
    let call = &reply["choices"][0]["message"]["function_call"];
    assert_eq!((&call["name"], finish(&reply)), (&json!("give_verdict"), "stop"));
    assert_valid(&schema, call["arguments"].as_str().unwrap());
    let bare = json!([{ "type": "function", "function": { "name": "ping" } }]);
    let reply = server.ok(CHAT, &chat(&json!({ "tools": bare, "tool_choice": "required" })));
    assert_eq!(reply["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{}");
    // A function that need not be called is not: the answer is the same text as without functions.
    let plain = server.ok(CHAT, &chat(&json!({})));
    for choice in [json!(null), json!("auto"), json!("none")] {
        let reply = server.ok(CHAT, &chat(&json!({ "tools": tools, "tool_choice": choice })));
        assert_eq!(content(&reply), content(&plain));
    }
}

#[test]
fn an_object_has_the_properties_that_its_schema_names() {
    let server = Server::with_options(&[]);
    let parameters = json!({
        "type": "object",
        "properties": { "pass": { "type": "boolean" }, "score": { "type": "number" } },
    });
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": parameters } }]);
    for seed in 0..3 {
        let drawn = json!({ "tools": tools, "tool_choice": "required", "temperature": 1.5, "seed": seed });
        let reply = server.ok(CHAT, &chat(&drawn));
        let call = &reply["choices"][0]["message"]["tool_calls"][0]["function"];
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["pass"].is_boolean() && arguments["score"].is_number(), "{call}");
    }
}

#[test]
fn one_of_several_functions_is_called_with_its_own_arguments() {
    let server = Server::with_options(&[]);
    let schemas = [root(8), root(9)];
    let tool = |index: usize| {
        let name = ["praise", "blame"][index];
        json!({ "type": "function", "function": { "name": name, "parameters": schemas[index] } })
    };
    let tools = json!([tool(0), tool(1)]);
    let allowed =
        json!({ "mode": "required", "tools": [{ "type": "function", "function": { "name": "blame" } }] });
    let allowed = json!({ "type": "allowed_tools", "allowed_tools": allowed });
    let mut documents = Documents::default();
    for (choice, seed) in
        [(json!("required"), 0), (json!("required"), 1), (json!("required"), 2), (allowed, 3)]
    {
        let body = chat(&json!({ "tools": tools, "tool_choice": choice, "temperature": 1.3, "seed": seed }));
        let reply = server.ok(CHAT, &body);
        let [call] = &reply["choices"][0]["message"]["tool_calls"].as_array().unwrap()[..] else {
            panic!("{reply}")
        };
        let index = usize::from(call["function"]["name"] == "blame");
        assert_eq!(call["function"]["name"], tool(index)["function"]["name"]);
        assert!(choice == "required" || index == 1, "{reply}");
        let arguments = call["function"]["arguments"].as_str().unwrap();
        documents.add(&schemas[index], arguments);
        assert_eq!(finish(&reply), "tool_calls");
        assert_eq!(streamed(&server, &body), (arguments.to_owned(), "tool_calls".to_owned()));
    }
    documents.check();
}

#[test]
fn the_first_piece_of_a_streamed_call_names_it() {
    let server = Server::with_options(&[]);
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": root(1) } }]);
    let body = chat(&json!({ "tools": tools, "tool_choice": "required", "stream": true }));
    let chunks: Vec<Value> = server
        .post(CHAT, &body)
        .events()
        .filter(|event| event.data != "[DONE]")
        .map(|event| event.json())
        .collect();
    let first = &chunks[0]["choices"][0]["delta"];
    assert_eq!(first["role"], "assistant");
    let call = &first["tool_calls"][0];
    assert_eq!(
        (&call["index"], &call["type"], &call["function"]["name"]),
        (&json!(0), &json!("function"), &json!("f"))
    );
    assert!(call["id"].is_string());
    let later = &chunks[1]["choices"][0]["delta"];
    assert!(later["tool_calls"][0]["id"].is_null() && later.get("content").is_none(), "{later}");
}

#[test]
fn other_servers_names_for_shapes_are_known() {
    let server = Server::with_options(&[]);
    let texts = ["yes", "yes and no", "no"];
    let pattern = "[0-9]{2}/[a-c]+x";
    let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
    let schema = root(2);
    for seed in 0..6 {
        let drawn = |extra: Value| {
            let mut body = chat(&extra);
            body.as_object_mut().unwrap().extend([
                ("temperature".into(), json!(1.5)),
                ("seed".into(), json!(seed)),
                ("max_tokens".into(), json!(60)),
            ]);
            content(&server.ok(CHAT, &body)).to_owned()
        };
        for asked in [json!({ "guided_choice": texts }), json!({ "structured_outputs": { "choice": texts } })]
        {
            let text = drawn(asked);
            assert!(texts.contains(&text.as_str()), "{text:?}");
        }
        for asked in [
            json!({ "guided_regex": pattern }),
            json!({ "regex": pattern }),
            json!({ "structured_outputs": { "regex": format!("^{pattern}$") } }),
        ] {
            let text = drawn(asked);
            assert!(whole.is_match(&text), "{text:?}");
        }
    }
    for asked in [
        json!({ "guided_json": schema }),
        json!({ "guided_json": schema.to_string() }),
        json!({ "structured_outputs": { "json": schema } }),
    ] {
        assert_valid(&schema, content(&server.ok(CHAT, &chat(&asked))));
    }
}

#[test]
fn a_shape_of_the_request_goes_before_the_form_of_its_prompt() {
    let server = Server::with_options(&[]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/forms");
    let file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let form: toml::Table = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let texts: Vec<&str> =
        form["fingerprint"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let mut body =
        json!({ "messages": [{ "role": "user", "content": texts.join("\n\n") }], "max_tokens": 60 });
    let formed = server.post(CHAT, &body);
    assert_eq!(formed.header("x-gavel-form"), Some(form["name"].as_str().unwrap()));
    body["response_format"] = format(&root(4), true);
    let shaped = server.post(CHAT, &body);
    assert_eq!(shaped.header("x-gavel-form"), None);
    assert_valid(&root(4), content(&shaped.json()));
    let headers = [("content-type", "application/json"), ("x-gavel-form", form["name"].as_str().unwrap())];
    let both = server.send("POST", CHAT, &headers, body.to_string().as_bytes());
    assert_eq!(both.status, 400);
}

#[test]
fn a_schema_may_switch_off_what_is_not_offered_and_stand_beside_json_object() {
    let server = Server::with_options(&[]);
    let schema = json!({ "type": "object", "properties": { "a": {
        "type": "array", "items": { "type": "boolean" }, "maxItems": 3, "uniqueItems": false,
    } }, "required": ["a"], "additionalProperties": false });
    for format in [format(&schema, true), json!({ "type": "json_object", "schema": schema })] {
        let body = json!({
            "messages": [{ "role": "user", "content": "Is it red?" }], "max_tokens": 60, "response_format": format,
        });
        assert_valid(&schema, content(&server.ok(CHAT, &body)));
    }
}

#[test]
fn what_no_reply_can_be_held_to_is_refused_by_name() {
    let server = Server::with_options(&[]);
    let schema = |schema: Value| json!({ "response_format": format(&schema, true) });
    let deep =
        (0..100).fold(json!({ "type": "string" }), |inner, _| json!({ "type": "array", "items": inner }));
    let tools = json!([{ "type": "function", "function": { "name": "a" } }, { "type": "function", "function": { "name": "b" } }]);
    for (extra, param, word) in [
        (schema(json!({ "type": "array", "uniqueItems": true })), "response_format", "uniqueItems"),
        (schema(json!({ "type": "colour" })), "response_format", "colour"),
        (schema(json!({ "$ref": "#/$defs/missing" })), "response_format", "missing"),
        (schema(json!({ "$ref": "http://example.com/schema" })), "response_format", "example.com"),
        (schema(json!({ "type": "string", "minLength": 5, "maxLength": 2 })), "response_format", ""),
        (schema(deep), "response_format", "deep"),
        (schema(json!({ "type": "string", "description": "x".repeat(200_000) })), "response_format", "bytes"),
        (json!({ "response_format": { "type": "xml" } }), "response_format", "json_schema"),
        (json!({ "response_format": { "type": "json_schema" } }), "response_format", "schema"),
        (json!({ "guided_regex": "(a" }), "guided_regex", ""),
        (json!({ "guided_choice": [] }), "guided_choice", ""),
        (json!({ "structured_outputs": { "grammar": "x" } }), "structured_outputs", "choice"),
        (json!({ "guided_json": {}, "guided_choice": ["a"] }), "guided_choice", "guided_choice"),
        (
            json!({ "tools": tools, "tool_choice": { "type": "custom", "custom": { "name": "a" } } }),
            "tool_choice",
            "functions",
        ),
        (json!({ "tools": vec![tools[0].clone(); 129] }), "tools", "128"),
        (
            json!({ "tools": tools, "tool_choice": { "type": "function", "function": { "name": "c" } } }),
            "tool_choice",
            "\"c\"",
        ),
        (json!({ "tool_choice": "required" }), "tools", "function"),
        (json!({ "guided_grammar": "x" }), "guided_grammar", "guided_grammar"),
    ] {
        let response = server.post(CHAT, &chat(&extra));
        assert_eq!(response.status, 400, "{param} {word}");
        let error = response.json();
        // The parameter may be a path below `param`: a body that is too deep is refused with the path to the limit.
        assert!(error["error"]["param"].as_str().unwrap().starts_with(param), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(word), "{error} lacks {word}");
    }
}
