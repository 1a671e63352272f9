//! The names of the critic, and the routes beside completions that programs for other engines use.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image, reference, wait_until};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn named(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }], "max_tokens": 2 })
}

fn tiny(options: &[&str]) -> Server {
    let model = reference().join("models/tiny56");
    let model = model.to_string_lossy();
    Server::with_options(&[&["--model", &*model], options].concat())
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn the_one_model_is_listed() {
    let server = Server::random();
    for path in [
        "/v1/models",
        "/v1/models/",
        "/models",
        "/v1/v1/models",
        "/v1/chat/completions/models",
        "/openai/models?api-version=2024-06-01",
        "/openai/v1/models/",
    ] {
        let list = server.get(path).json();
        assert_eq!((&list["object"], ids(&list)), (&json!("list"), vec!["tiny56"]), "{path}");
    }
    let model = &server.get("/v1/models").json()["data"][0];
    assert_eq!((&model["object"], &model["root"]), (&json!("model"), &json!("tiny56")));
    assert!(model["created"].is_u64() && model["owned_by"].is_string());
    for name in ["a/b", "gpt-4o"] {
        let model = server.get(&format!("/v1/models/{name}")).json();
        assert_eq!((&model["id"], &model["root"]), (&json!(name), &json!("tiny56")));
    }
}

#[test]
fn any_name_is_taken_and_the_truth_is_told_beside_it() {
    let server = tiny(&["--model-aliases", "gpt-4o,gpt-4-0613"]);
    let answer = server.post("/v1/chat/completions", &named("made-up"));
    assert_eq!(answer.header("x-gavel-model"), Some("tiny56"));
    let answer = answer.json();
    assert_eq!(answer["model"], "made-up");
    assert!(answer["system_fingerprint"].as_str().unwrap().starts_with("tiny56"));
    assert_eq!(server.get("/no/such/path").header("x-gavel-model"), Some("tiny56"));
    assert_eq!(ids(&server.get("/v1/models").json()), ["tiny56"]);
    assert_eq!(ids(&server.get("/v1/models?aliases=1").json()), ["tiny56", "gpt-4o", "gpt-4-0613"]);
    assert_eq!(ids(&server.get("/v1/models?aliases=0").json()), ["tiny56"]);
}

#[test]
fn the_fingerprint_tells_the_weights() {
    let server = Server::with_options(&[]);
    let fingerprint = |path: &str, body: &Value| server.ok(path, body)["system_fingerprint"].clone();
    let asked = "Describe a red circle.";
    let chat = json!({ "messages": [{ "role": "user", "content": asked }], "max_tokens": 2 });
    wait_until("the weights are read", || fingerprint("/v1/chat/completions", &chat) != "gavel-mini");
    let file = reference().join("../../crates/embedded/checkpoint/model.safetensors");
    let digest = format!("{:x}", Sha256::digest(std::fs::read(file).unwrap()));
    let expected = json!(format!("gavel-mini@{}", &digest[..12]));
    assert_eq!(fingerprint("/v1/chat/completions", &chat), expected);
    let prompt = json!({ "prompt": asked, "max_tokens": 2, "ignore_eos": true });
    assert_eq!(fingerprint("/v1/completions", &prompt), expected);
    assert_eq!(fingerprint("/v1/responses", &json!({ "input": asked, "max_output_tokens": 2 })), expected);
    let mut streamed = chat;
    streamed["stream"] = json!(true);
    for event in
        server.post("/v1/chat/completions", &streamed).events().filter(|event| event.data != "[DONE]")
    {
        assert_eq!(event.json()["system_fingerprint"], expected);
    }
}

#[test]
fn unknown_names_are_refused_where_that_was_asked_for() {
    let server = tiny(&["--model-aliases", "gpt-4o", "--unknown-models", "refuse"]);
    for name in ["gpt-4o", "tiny56"] {
        assert_eq!(server.ok("/v1/chat/completions", &named(name))["model"], name);
        assert_eq!(server.get(&format!("/v1/models/{name}")).status, 200);
    }
    let transcript = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>";
    for response in [
        server.get("/v1/models/gpt-4"),
        server.get("/v1/models/a/b"),
        server.post("/v1/chat/completions", &named("gpt-4")),
        server.post(
            "/openai/deployments/gpt-4/chat/completions",
            &json!({ "messages": named("x")["messages"] }),
        ),
        server.post("/v1/completions", &json!({ "model": "gpt-4", "prompt": "a" })),
        server.post("/v1/responses", &json!({ "model": "gpt-4", "input": "a" })),
        server.post("/tokenize", &json!({ "model": "gpt-4", "prompt": "a" })),
        server.post("/classify", &json!({ "model": "gpt-4", "input": transcript })),
    ] {
        assert_eq!(response.status, 404);
        let error = response.json();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["param"]),
            (&json!("model_not_found"), &json!("model"))
        );
    }
    // A request without a model name uses the checkpoint.
    assert_eq!(
        server.ok("/v1/completions", &json!({ "prompt": "a", "ignore_eos": true }))["model"],
        "tiny56"
    );
}

#[test]
fn responses_have_the_true_name_where_that_was_asked_for() {
    let server = tiny(&["--response-model", "true"]);
    assert_eq!(server.ok("/v1/chat/completions", &named("gpt-4o"))["model"], "tiny56");
}

#[test]
fn text_becomes_tokens_and_tokens_become_text() {
    let server = Server::random();
    let text = "Grüße <|im_end|> 🙂";
    let told = server.ok("/tokenize", &json!({ "prompt": text, "return_token_strs": true }));
    let tokens = told["tokens"].as_array().unwrap();
    assert_eq!(told["count"].as_u64().unwrap() as usize, tokens.len());
    assert_eq!(told["token_strs"].as_array().unwrap().len(), tokens.len());
    assert_eq!(told["max_model_len"], server.get("/health").json()["context_length"]);
    assert!(tokens.len() > 10, "<|im_end|> is text here and not one token: {told}");
    assert_eq!(server.ok("/detokenize", &json!({ "tokens": tokens }))["prompt"], text);
    assert_eq!(server.ok("/v1/tokenize", &json!({ "prompt": text }))["token_strs"], Value::Null);
    let unknown = server.post("/detokenize", &json!({ "tokens": [1, 4_000_000_000_u32] }));
    assert_eq!((unknown.status, unknown.json()["error"]["param"].clone()), (400, json!("tokens")));
}

/// As SGLang's clients send and read them.
#[test]
fn lists_of_texts_become_lists_of_tokens_and_back() {
    let server = Server::random();
    let texts = json!(["A red circle.", "", "Grüße"]);
    let told = server.ok("/tokenize", &json!({ "prompt": texts, "return_token_strs": true }));
    for (index, text) in texts.as_array().unwrap().iter().enumerate() {
        let alone = server.ok("/tokenize", &json!({ "prompt": text, "return_token_strs": true }));
        for member in ["tokens", "count", "token_strs"] {
            assert_eq!(told[member][index], alone[member], "{member} of {text}");
        }
        assert_eq!(told["max_model_len"], alone["max_model_len"]);
    }
    let back = server.ok("/detokenize", &json!({ "tokens": told["tokens"] }));
    assert_eq!((&back["text"], &back["prompt"]), (&texts, &texts));
    let one = server.ok("/detokenize", &json!({ "tokens": told["tokens"][0] }));
    assert_eq!((&one["text"], &one["prompt"]), (&texts[0], &texts[0]));
    assert_eq!(server.ok("/detokenize", &json!({ "tokens": [] }))["text"], "");
    // The message that the chat format begins has control tokens, of which `text` has none unless they are asked for.
    let message = json!({ "messages": [{ "role": "user", "content": "Hello" }] });
    let tokens = server.ok("/tokenize", &message)["tokens"].clone();
    let with =
        |skip: Value| server.ok("/detokenize", &json!({ "tokens": tokens, "skip_special_tokens": skip }));
    let (skipped, whole) = (with(json!(null)), with(json!(false)));
    assert_eq!(whole["text"], whole["prompt"]);
    assert_eq!(skipped["prompt"], whole["prompt"]);
    let whole = whole["prompt"].as_str().unwrap();
    assert!(whole.contains("<|im_start|>"), "{whole}");
    let without = whole.replace("<|im_start|>", "").replace("<|im_end|>", "");
    assert_eq!(skipped["text"], without.as_str());
    for (path, body, param) in [
        // More tokens than four contexts have, and more than a list may have.
        ("/tokenize", json!({ "prompt": ["a", "1".repeat(3 << 20)] }), "prompt[1]"),
        ("/tokenize", json!({ "prompt": vec!["1".repeat(1 << 17); 9] }), "prompt"),
        ("/tokenize", json!({ "prompt": ["a", 7] }), "prompt"),
        ("/detokenize", json!({ "tokens": [[1], [4_000_000_000_u32]] }), "tokens[1]"),
        ("/detokenize", json!({ "tokens": [1, [2]] }), "tokens"),
    ] {
        let refused = server.post(path, &body);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(param)), "{path}");
    }
}

#[test]
fn the_errors_of_tokenization_are_documented() {
    let server = Server::random();
    let document = server.get("/openapi.json").json();
    for path in ["/tokenize", "/detokenize"] {
        let responses = &document["paths"][path]["post"]["responses"];
        for status in ["200", "400", "404", "413", "415", "429", "500", "503", "504"] {
            assert!(responses[status].is_object(), "{path} {status}");
        }
    }
    // A list of texts with a long one at its end is refused by that one's path, as a whole.
    let texts = json!(["a", "b", "1".repeat(3 << 20)]);
    let refused = server.post("/tokenize", &json!({ "prompt": texts })).json();
    assert_eq!(refused["error"]["param"], "prompt[2]");
}

#[test]
fn a_conversation_has_the_tokens_that_are_counted_when_it_is_answered() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let content = json!([{ "type": "text", "text": "What is it?" }, { "type": "image", "image": picture }]);
    let body =
        json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 1, "ignore_eos": true });
    let count = server.ok("/tokenize", &body)["count"].clone();
    assert_eq!(server.ok("/v1/chat/completions", &body)["usage"]["prompt_tokens"], count);
    assert_eq!(server.post("/tokenize", &json!({})).status, 400);
}

#[test]
fn a_conversation_has_fewer_tokens_when_nobody_is_to_answer() {
    let server = Server::random();
    let tokens = |extra: Value| {
        let mut body = json!({ "messages": [{ "role": "user", "content": "Hello" }] });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.ok("/tokenize", &body)["tokens"].as_array().unwrap().clone()
    };
    let whole = tokens(json!({ "add_generation_prompt": null, "return_token_strs": null }));
    let closed = tokens(json!({ "add_generation_prompt": false }));
    assert_eq!(closed, whole[..closed.len()]);
    let opening = server.ok("/detokenize", &json!({ "tokens": whole[closed.len()..] }));
    assert_eq!(opening["prompt"], "<|im_start|>assistant\n");
}

#[test]
fn a_model_is_described_below_every_base() {
    let server = Server::random();
    for base in ["", "/v1", "/v1/v1", "/openai", "/openai/v1"] {
        for name in ["gpt-4o", "owner/name"] {
            let model = server.get(&format!("{base}/models/{name}?api-version=1")).json();
            assert_eq!((&model["id"], &model["object"]), (&json!(name), &json!("model")), "{base}");
        }
        assert_eq!(server.get(&format!("{base}/models/gpt-4o/")).json()["id"], "gpt-4o", "{base}");
    }
}

#[test]
fn what_the_server_is_and_whether_it_works_is_told_as_other_engines_do() {
    let server = Server::random();
    assert!(server.get("/version").json()["version"].is_string());
    let info = server.get("/get_model_info").json();
    assert_eq!((&info["model_path"], &info["is_generation"]), (&json!("tiny56"), &json!(true)));
    assert_eq!(server.get("/ping").status, 200);
    let before = server.engine("steps");
    assert_eq!(server.get("/health_generate").status, 200);
    assert!(server.engine("steps") > before, "something is written");
}
