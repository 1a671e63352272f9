//! SGLang's own interface on the built server: text that is continued, with images or without.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, image};
use serde_json::{Value, json};

const GENERATE: &str = "/generate";
const PROMPT: &str = "The picture shows";

/// A body with these sampling parameters beside those of all tests.
#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn body(text: Value, extra: Value) -> Value {
    let mut sampling = json!({ "max_new_tokens": 8, "temperature": 0, "ignore_eos": true });
    sampling.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({ "text": text, "sampling_params": sampling })
}

fn texts(answer: &Value) -> Vec<&str> {
    answer.as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect()
}

#[test]
fn text_is_continued_as_completions_continue_it() {
    let server = Server::random();
    let completed = |prompt: &str| {
        let body = json!({ "prompt": prompt, "max_tokens": 8, "ignore_eos": true });
        server.ok("/v1/completions", &body)
    };
    let expected = completed(PROMPT);
    // All that SGLang's client sends.
    let sampling = json!({
        "min_new_tokens": 0,
        "n": 1,
        "stop": [],
        "stop_token_ids": [],
        "stop_regex": null,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "regex": null,
        "json_schema": null,
        "skip_special_tokens": true,
        "spaces_between_special_tokens": true,
    });
    let mut asked = body(json!(PROMPT), sampling);
    for (name, value) in [("stream", json!(false)), ("rid", json!("a")), ("top_logprobs_num", json!(0))] {
        asked[name] = value;
    }
    let one = server.ok(GENERATE, &asked);
    assert_eq!(one["text"], expected["choices"][0]["text"]);
    let info = &one["meta_info"];
    assert_eq!(info["finish_reason"], json!({ "type": "length" }));
    assert_eq!(info["prompt_tokens"], expected["usage"]["prompt_tokens"]);
    assert_eq!(info["completion_tokens"], 8);
    assert!(info["cached_tokens"].is_u64() && !info["id"].as_str().unwrap().is_empty());
    // A list is answered by a list, also one of a single text.
    let several = server.ok(GENERATE, &body(json!([PROMPT, "A red circle"]), json!({})));
    let other = completed("A red circle");
    assert_eq!(texts(&several), [&one["text"], &other["choices"][0]["text"]]);
    assert_eq!(texts(&server.ok(GENERATE, &body(json!([PROMPT]), json!({})))), [&one["text"]]);
    let drawn = json!({ "n": 3, "temperature": 1.5, "sampling_seed": 7 });
    let drawn = server.ok(GENERATE, &body(json!(PROMPT), drawn));
    let twin = json!({ "prompt": PROMPT, "max_tokens": 8, "ignore_eos": true, "n": 3, "temperature": 1.5, "seed": 7 });
    let twin = server.ok("/v1/completions", &twin);
    let twin: Vec<&Value> =
        twin["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts(&drawn), twin);
    let long = server.ok(GENERATE, &json!({ "text": PROMPT, "sampling_params": { "ignore_eos": true } }));
    assert_eq!(long["meta_info"]["completion_tokens"], 128, "that many by default");
}

#[test]
fn a_text_ends_where_it_is_asked_to_and_is_held_to_a_shape() {
    let server = Server::random();
    let text = server.ok(GENERATE, &body(json!(PROMPT), json!({})))["text"].as_str().unwrap().to_owned();
    let first: String = text.chars().take(1).collect();
    let stopped = server.ok(GENERATE, &body(json!(PROMPT), json!({ "stop": first })));
    assert_eq!(
        (&stopped["text"], &stopped["meta_info"]["finish_reason"]),
        (&json!(""), &json!({ "type": "stop" }))
    );
    let schema = json!({ "type": "boolean" });
    for schema in [schema.clone(), json!(schema.to_string())] {
        let held = json!({ "json_schema": schema, "ignore_eos": false, "max_new_tokens": 32 });
        let held = server.ok(GENERATE, &body(json!(PROMPT), held));
        assert!(["true", "false"].contains(&held["text"].as_str().unwrap().trim()), "{held}");
    }
    let held = json!({ "regex": "yes|no", "ignore_eos": false, "max_new_tokens": 32 });
    let held = server.ok(GENERATE, &body(json!(PROMPT), held));
    assert!(["yes", "no"].contains(&held["text"].as_str().unwrap()), "{held}");
}

#[test]
fn images_make_a_text_a_message_of_the_user() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let chat = |content: Value| {
        let body = json!({
            "messages": [{ "role": "user", "content": content }],
            "max_tokens": 8,
            "ignore_eos": true,
        });
        server.ok("/v1/chat/completions", &body)["choices"][0]["message"]["content"].clone()
    };
    let shown =
        chat(json!([{ "type": "image", "image": picture }, { "type": "text", "text": "What is it?" }]));
    let asked = |text: Value, images: Value| {
        let mut body = body(text, json!({}));
        body["image_data"] = images;
        server.ok(GENERATE, &body)
    };
    for (text, images) in [
        ("What is it?", json!(picture)),
        ("What is it?", json!([picture])),
        ("<image>What is it?", json!([[{ "url": picture }]])),
    ] {
        assert_eq!(asked(json!(text), images)["text"], shown, "{text}");
    }
    let several = asked(json!(["What is it?", "What is it?"]), json!([null, picture]));
    assert_eq!(texts(&several), [&chat(json!("What is it?")), &shown]);
    let plain = server.ok(GENERATE, &body(json!("What is it?"), json!({})));
    assert_eq!(asked(json!("What is it?"), json!([]))["text"], plain["text"], "no image is none");
    // SGLang's clients say what the images are.
    for modalities in [json!(["image"]), json!(["multi-images"]), json!("image"), json!([null]), json!(null)]
    {
        let mut body = body(json!("What is it?"), json!({}));
        body["image_data"] = json!([picture]);
        body["modalities"] = modalities;
        assert_eq!(server.ok(GENERATE, &body)["text"], shown, "{}", body["modalities"]);
    }
}

/// As SGLang's client fills the cache before it asks.
#[test]
fn with_no_tokens_to_write_a_text_is_read_and_counted() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let none = |text: Value| json!({ "text": text, "sampling_params": { "max_new_tokens": 0 } });
    let is_empty = |read: &Value, prompt_tokens: &Value| {
        let info = &read["meta_info"];
        assert_eq!((&read["text"], &info["finish_reason"]), (&json!(""), &json!({ "type": "length" })));
        assert_eq!((&info["completion_tokens"], &info["cached_tokens"]), (&json!(0), &json!(0)), "{read}");
        assert!(!info["id"].as_str().unwrap().is_empty());
        assert_eq!(&info["prompt_tokens"], prompt_tokens, "{read}");
    };
    let length = |mut body: Value| {
        body["sampling_params"]["max_new_tokens"] = json!(1);
        server.ok(GENERATE, &body)["meta_info"]["prompt_tokens"].clone()
    };
    let alone = length(none(json!(PROMPT)));
    is_empty(&server.ok(GENERATE, &none(json!(PROMPT))), &alone);
    let mut shown = none(json!(PROMPT));
    shown["image_data"] = json!([picture]);
    let with_image = length(shown.clone());
    assert!(with_image.as_u64() > alone.as_u64());
    is_empty(&server.ok(GENERATE, &shown), &with_image);
    let mut several = none(json!([PROMPT, PROMPT]));
    several["sampling_params"]["n"] = json!(2);
    let several = server.ok(GENERATE, &several);
    assert_eq!(several.as_array().unwrap().len(), 4);
    several.as_array().unwrap().iter().for_each(|read| is_empty(read, &alone));
    // All else is checked as if there were something to write.
    let mut wrong = [("temperature", json!(3)), ("min_new_tokens", json!(1)), ("regex", json!("("))]
        .map(|(name, value)| {
            let mut body = none(json!(PROMPT));
            body["sampling_params"][name] = value;
            (body, format!("sampling_params.{name}"))
        })
        .to_vec();
    wrong.push((none(json!([PROMPT, ""])), "text[1]".to_owned()));
    wrong.push((none(json!("word ".repeat(100_000))), "text".to_owned()));
    let mut damaged = none(json!(PROMPT));
    damaged["image_data"] = json!("AAAA");
    wrong.push((damaged, "image_data".to_owned()));
    for (body, param) in wrong {
        let refused = server.post(GENERATE, &body);
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(param.as_str())));
    }
}

#[test]
fn what_is_not_offered_or_makes_no_sense_is_refused_by_its_name() {
    let server = Server::random();
    let sampling = |name: &str, value: Value| {
        let mut sampling = json!({});
        sampling[name] = value;
        (body(json!(PROMPT), sampling), format!("sampling_params.{name}"))
    };
    let with = |name: &str, value: Value| {
        let mut body = body(json!(PROMPT), json!({}));
        body[name] = value;
        (body, name.to_owned())
    };
    let picture = image("tiny56-square-0.png");
    let mut unequal = body(json!([PROMPT, PROMPT]), json!({}));
    unequal["image_data"] = json!([picture]);
    for (body, param) in [
        with("stream", json!(true)),
        with("return_logprob", json!(true)),
        with("input_embeds", json!([[0.5]])),
        with("lora_path", json!("mine")),
        with("image_data", json!("AAAA")),
        with("modalities", json!(["video"])),
        with("modalities", json!(["image", "audio"])),
        with("modalities", json!(7)),
        with("text", json!([])),
        sampling("stop_regex", json!("x")),
        sampling("stop_token_ids", json!([1])),
        sampling("no_stop_trim", json!(true)),
        sampling("ebnf", json!("root ::= x")),
        sampling("max_new_tokens", json!(-1)),
        sampling("max_new_tokens", json!("many")),
        sampling("stop", json!(7)),
        sampling("min_new_tokens", json!(9)),
        sampling("temperature", json!(3)),
        sampling("top_p", json!(1e300)),
        sampling("n", json!(0)),
        sampling("n", json!("two")),
        sampling("regex", json!("(")),
        sampling("json_schema", json!("{")),
        (unequal, "image_data".to_owned()),
        (json!({ "sampling_params": {} }), "text".to_owned()),
        (json!({ "text": PROMPT, "sampling_params": [] }), "sampling_params".to_owned()),
    ] {
        let refused = server.post(GENERATE, &body);
        assert_eq!(refused.status, 400, "{param}");
        let told = refused.json();
        assert_eq!(told["error"]["param"], param, "{told}");
    }
}
