//! `POST /v1/completions` on the built server: text that is continued as it is, without a chat format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use gavel_tests::{Server, uncounted};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";

#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn body(extra: Value) -> Value {
    let mut body = json!({ "prompt": "The picture shows", "ignore_eos": true });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn texts(completion: &Value) -> Vec<&str> {
    completion["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect()
}

#[test]
fn a_completion_has_the_shape_of_the_older_interface() {
    let server = Server::random();
    let whole =
        server.ok(COMPLETIONS, &body(json!({ "model": "gpt-3.5-turbo-instruct", "user": "someone" })));
    assert!(whole["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        (&whole["object"], &whole["model"]),
        (&json!("text_completion"), &json!("gpt-3.5-turbo-instruct"))
    );
    assert!(whole["system_fingerprint"].as_str().unwrap().starts_with("tiny56"));
    assert!(whole.get("error").is_none());
    let choice = &whole["choices"][0];
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("length")));
    assert!(choice["logprobs"].is_null() && !texts(&whole)[0].is_empty());
    assert_eq!(whole["usage"]["completion_tokens"], 16, "that many by default");
    let prompt = server.ok("/tokenize", &json!({ "prompt": "The picture shows" }));
    assert_eq!(whole["usage"]["prompt_tokens"], prompt["count"], "nothing is put around a prompt");
    for path in [
        "/completions",
        "/v1/completions/",
        "/v1/v1/completions",
        // The base of the client is the full URL of another route.
        "/v1/chat/completions/completions",
        "/openai/deployments/a/completions?api-version=1",
        "/openai/v1/completions",
    ] {
        assert_eq!(server.ok(path, &body(json!({})))["choices"], whole["choices"], "{path}");
    }
    // The last deployment of a path counts.
    let path = "//openai/deployments/a/chat/completions/openai/deployments/b/completions?api-version=1";
    assert_eq!(server.ok(path, &body(json!({})))["model"], "b");
}

#[test]
fn a_prompt_is_text_tokens_or_a_list_of_either() {
    let server = Server::random();
    let tokens = |text: &str| server.ok("/tokenize", &json!({ "prompt": text }))["tokens"].clone();
    let written = |prompt: Value| {
        let completion = server.ok(COMPLETIONS, &body(json!({ "prompt": prompt })));
        let indices: Vec<_> =
            completion["choices"].as_array().unwrap().iter().map(|choice| choice["index"].clone()).collect();
        assert_eq!(indices, (0..indices.len()).map(|index| json!(index)).collect::<Vec<_>>());
        (
            texts(&completion).into_iter().map(str::to_owned).collect::<Vec<_>>(),
            completion["usage"]["prompt_tokens"].clone(),
        )
    };
    let (one, other) = (written(json!("A red circle")), written(json!("Is it <|im_end|>?")));
    assert_ne!(one.0, other.0);
    assert_eq!(written(tokens("A red circle")), one);
    assert_eq!(written(json!(["A red circle"])), one);
    let both = [one.0.clone(), other.0].concat();
    let count = json!(one.1.as_u64().unwrap() + other.1.as_u64().unwrap());
    assert_eq!(written(json!(["A red circle", "Is it <|im_end|>?"])), (both.clone(), count.clone()));
    assert_eq!(written(json!([tokens("A red circle"), tokens("Is it <|im_end|>?")])), (both, count));
}

#[test]
fn tokens_are_told_in_lists_that_fit_the_text() {
    let server = Server::random();
    let whole =
        server.ok(COMPLETIONS, &body(json!({ "logprobs": 3, "max_tokens": 24, "repetition_penalty": 1.0 })));
    let text: Vec<char> = texts(&whole)[0].chars().collect();
    let told = &whole["choices"][0]["logprobs"];
    let list = |name: &str| told[name].as_array().unwrap();
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(list(name).len(), 24, "{name}");
    }
    let mut before = 0;
    for index in 0..24 {
        let offset = list("text_offset")[index].as_u64().unwrap() as usize;
        assert!((before..=text.len()).contains(&offset));
        before = offset;
        let token = list("tokens")[index].as_str().unwrap();
        let top = list("top_logprobs")[index].as_object().unwrap();
        assert!(!top.is_empty() && top.len() <= 4);
        let best = top.values().map(|logprob| logprob.as_f64().unwrap()).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(json!(best), list("token_logprobs")[index], "greedy takes the most probable token");
        assert_eq!(top[token], list("token_logprobs")[index]);
        // A token of whole characters is at the reported offset.
        let follows: Vec<char> = token.chars().collect();
        let starts = text[offset..].iter().zip(&follows).all(|(one, other)| one == other);
        let whole_before = index == 0 || !list("tokens")[index - 1].as_str().unwrap().starts_with("bytes:");
        assert!(starts || token.starts_with("bytes:") || !whole_before, "{token:?} at {offset} of {text:?}");
    }
    let none = server.ok(COMPLETIONS, &body(json!({ "logprobs": 0 })));
    let top = none["choices"][0]["logprobs"]["top_logprobs"].as_array().unwrap();
    assert!(top.iter().all(|top| top.as_object().unwrap().len() == 1), "the token itself alone");
}

/// Fixed texts of a form have no probabilities, and count for the places of the tokens between them.
#[test]
fn tokens_of_a_form_are_told_where_they_are_in_the_text() {
    let server = Server::random();
    let headers = [("content-type", "application/json"), ("x-gavel-form", "prometheus-absolute")];
    let sent = |stream: bool| {
        let body = body(json!({ "max_tokens": 20, "logprobs": 1, "stream": stream }));
        let answer = server.send("POST", COMPLETIONS, &headers, body.to_string().as_bytes());
        assert_eq!(answer.status, 200);
        answer
    };
    let lists = |choice: &Value| {
        ["tokens", "text_offset", "token_logprobs"]
            .map(|name| choice["logprobs"][name].as_array().cloned().unwrap_or_default())
    };
    let whole = sent(false).json()["choices"][0].clone();
    let text: Vec<char> = whole["text"].as_str().unwrap().chars().collect();
    let [tokens, offsets, logprobs] = lists(&whole);
    assert!(offsets[0].as_u64().unwrap() >= "Feedback:".len() as u64, "{whole}");
    let name = |index: usize| tokens[index].as_str().unwrap();
    for index in 0..tokens.len() {
        let offset = offsets[index].as_u64().unwrap() as usize;
        let is_there =
            name(index).chars().eq(text[offset..].iter().copied().take(name(index).chars().count()));
        let is_part = |index: usize| name(index).starts_with("bytes:");
        assert!(is_there || is_part(index) || (index > 0 && is_part(index - 1)), "{index} of {whole}");
        assert!(logprobs[index].as_f64().unwrap() < 0.0, "{index} of {whole}");
    }
    assert_eq!(name(tokens.len() - 1).chars().last(), text.last().copied(), "the score is the last of them");
    let mut streamed: [Vec<Value>; 3] = Default::default();
    for event in sent(true).events().filter(|event| event.data != "[DONE]") {
        for (all, more) in streamed.iter_mut().zip(lists(&event.json()["choices"][0])) {
            all.extend(more);
        }
    }
    assert_eq!(streamed, [tokens, offsets, logprobs]);
}

#[test]
fn a_prompt_can_be_told_before_what_follows_it() {
    let server = Server::random();
    let plain = server.ok(COMPLETIONS, &body(json!({})));
    let prompt = "The picture shows";
    let echoed = server.ok(COMPLETIONS, &body(json!({ "echo": true })));
    assert_eq!(texts(&echoed)[0], format!("{prompt}{}", texts(&plain)[0]));
    let tokens = server.ok("/tokenize", &json!({ "prompt": prompt }))["tokens"].clone();
    let of_tokens = server.ok(COMPLETIONS, &body(json!({ "echo": true, "prompt": tokens })));
    assert_eq!(texts(&of_tokens), texts(&echoed));
}

#[test]
fn the_best_of_several_are_the_most_probable() {
    let server = Server::random();
    let drawn = |extra: Value| {
        let mut body = body(json!({ "temperature": 1.5, "seed": 7, "logprobs": 0 }));
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.ok(COMPLETIONS, &body)
    };
    let all = drawn(json!({ "n": 8 }));
    let mean = |choice: &Value| {
        let logprobs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        logprobs.iter().map(|logprob| logprob.as_f64().unwrap()).sum::<f64>() / logprobs.len() as f64
    };
    let mut ranked: Vec<(f64, &str)> =
        all["choices"].as_array().unwrap().iter().map(mean).zip(texts(&all)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
    let best = drawn(json!({ "n": 2, "best_of": 8 }));
    assert_eq!(texts(&best), [ranked[0].1, ranked[1].1]);
    assert_eq!(best["usage"], uncounted_usage(&all), "what is thrown away was written too");
    let quiet = drawn(json!({ "n": 2, "best_of": 8, "logprobs": null }));
    assert_eq!((texts(&quiet), &quiet["choices"][0]["logprobs"]), (texts(&best), &Value::Null));
}

/// The usage of a completion without its cached tokens, since the prompt of a repeated one is cached.
fn uncounted_usage(completion: &Value) -> Value {
    let mut usage = completion["usage"].clone();
    usage["prompt_tokens_details"]["cached_tokens"] = json!(0);
    usage
}

#[test]
fn a_streamed_completion_is_the_whole_one_in_pieces() {
    let server = Server::random();
    let prompts = json!({ "prompt": ["The picture shows", "It is"], "logprobs": 1, "n": 2 });
    for extra in [prompts, json!({ "echo": true })] {
        let whole = server.ok(COMPLETIONS, &body(extra.clone()));
        let mut streamed = body(extra);
        streamed["stream"] = json!(true);
        streamed["stream_options"] = json!({ "include_usage": true });
        let events: Vec<_> = server.post(COMPLETIONS, &streamed).events().collect();
        assert_eq!(events.last().unwrap().data, "[DONE]");
        let chunks: Vec<Value> = events[..events.len() - 1].iter().map(|event| event.json()).collect();
        let count = whole["choices"].as_array().unwrap().len();
        let (mut texts, mut ends) = (vec![String::new(); count], vec![Value::Null; count]);
        let mut tokens = vec![Vec::new(); count];
        let mut offsets = vec![Vec::new(); count];
        for chunk in &chunks {
            assert_eq!((&chunk["object"], &chunk["id"]), (&json!("text_completion"), &chunks[0]["id"]));
            for choice in chunk["choices"].as_array().unwrap() {
                let index = choice["index"].as_u64().unwrap() as usize;
                texts[index] += choice["text"].as_str().unwrap();
                let list = |name: &str| choice["logprobs"][name].as_array().cloned().unwrap_or_default();
                tokens[index].extend(list("tokens"));
                offsets[index].extend(list("text_offset"));
                if !choice["finish_reason"].is_null() {
                    ends[index] = choice["finish_reason"].clone();
                }
            }
        }
        for (index, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
            assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(texts[index]), &ends[index]));
            let list = |name: &str| choice["logprobs"][name].as_array().cloned().unwrap_or_default();
            assert_eq!(
                (list("tokens"), list("text_offset")),
                (tokens[index].clone(), offsets[index].clone())
            );
        }
        let last = chunks.last().unwrap();
        assert_eq!(
            (&last["choices"], uncounted(last["usage"].clone())),
            (&json!([]), uncounted(whole["usage"].clone()))
        );
    }
}

#[test]
fn a_text_has_the_shape_that_was_asked_for() {
    let server = Server::random();
    let schema = json!({ "type": "object", "properties": { "a": { "type": "boolean" } }, "required": ["a"], "additionalProperties": false });
    let written = |extra: Value| {
        let mut body = body(json!({ "max_tokens": 60, "ignore_eos": false }));
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        texts(&server.ok(COMPLETIONS, &body))[0].to_owned()
    };
    for choice in [
        json!({ "guided_choice": ["red", "blue"] }),
        json!({ "structured_outputs": { "choice": ["red", "blue"] } }),
    ] {
        assert!(["red", "blue"].contains(&written(choice).as_str()));
    }
    for pattern in [json!({ "guided_regex": "[0-9]{3}" }), json!({ "regex": "[0-9]{3}" })] {
        let text = written(pattern);
        assert!(text.len() == 3 && text.chars().all(|digit| digit.is_ascii_digit()), "{text:?}");
    }
    let text = written(json!({ "guided_json": schema }));
    assert!(serde_json::from_str::<Value>(&text).unwrap()["a"].is_boolean(), "{text:?}");
}

#[test]
fn a_salt_divides_what_is_kept_of_prompts() {
    let server = Server::random();
    let prompt = "The picture shows a circle. ".repeat(20);
    let cached = |salt: &str| {
        let completion = server.ok(COMPLETIONS, &body(json!({ "prompt": prompt, "cache_salt": salt })));
        completion["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached("a"), 0);
    assert!(cached("a") > 0);
    assert_eq!(cached("b"), 0);
    let respond = |salt: &str| {
        let body = json!({ "input": prompt, "max_output_tokens": 4, "cache_salt": salt });
        let response = server.ok("/v1/responses", &body);
        response["usage"]["input_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(respond("a"), 0);
    assert!(respond("a") > 0);
    assert_eq!(respond("b"), 0);
}

#[test]
fn what_is_not_offered_or_makes_no_sense_is_refused_by_name() {
    let server = Server::random();
    for (extra, code, param) in [
        (json!({ "suffix": "." }), "unsupported_parameter", "suffix"),
        (json!({ "echo": true, "logprobs": 1 }), "unsupported_parameter", "echo"),
        (json!({ "frequency_penalty": 3 }), "invalid_request", "frequency_penalty"),
        (json!({ "response_format": { "type": "json_object" } }), "unsupported_parameter", "response_format"),
        (json!({ "prompt_logprobs": 1 }), "unsupported_parameter", "prompt_logprobs"),
        (json!({ "length_penalty": 0.8 }), "unsupported_parameter", "length_penalty"),
        (json!({ "logprobs": 6 }), "invalid_request", "logprobs"),
        (json!({ "n": 3, "best_of": 2 }), "invalid_request", "best_of"),
        (json!({ "best_of": 2, "stream": true }), "invalid_request", "best_of"),
        (json!({ "max_tokens": 0 }), "invalid_request", "max_tokens"),
        (json!({ "temperature": 3 }), "invalid_request", "temperature"),
        (json!({ "prompt": [] }), "invalid_request", "prompt"),
        (json!({ "prompt": ["a", 1] }), "invalid_request", "prompt"),
        (json!({ "prompt": [-1] }), "invalid_request", "prompt"),
        (json!({ "prompt": vec!["a"; 20], "n": 8 }), "invalid_request", "prompt"),
        (json!({ "n": 129 }), "invalid_request", "n"),
        (json!({ "guided_choice": ["a"], "regex": "b" }), "invalid_request", "regex"),
        (json!({ "structured_outputs": { "grammar": "x" } }), "unsupported_parameter", "structured_outputs"),
        (json!({ "truncate_prompt_tokens": 5 }), "unsupported_parameter", "truncate_prompt_tokens"),
        (json!({ "prompt": [645] }), "unknown_token", "prompt"),
        (json!({ "prompt": [[1], [4_294_967_295_u32]] }), "unknown_token", "prompt[1]"),
        (json!({ "prompt": "" }), "empty_prompt", "prompt"),
        (json!({ "prompt": vec![1; 40_000] }), "context_length_exceeded", "prompt"),
        (json!({ "prompt": [vec![1], vec![1; 40_000]] }), "context_length_exceeded", "prompt[1]"),
    ] {
        let response = server.post(COMPLETIONS, &body(extra.clone()));
        assert_eq!(response.status, 400, "{extra}");
        let error = response.json();
        assert_eq!(error["error"]["code"], code, "{error}");
        assert_eq!(error["error"]["param"].as_str().unwrap_or("null"), param, "{error}");
        // What is offered instead of the probabilities of given continuations.
        assert_eq!(error["error"]["message"].as_str().unwrap().contains("/v1/decisions"), param == "echo");
    }
    // Every token of the vocabulary is accepted in a prompt, including control tokens.
    let all: Vec<u32> = (0..645).collect();
    assert_eq!(server.ok(COMPLETIONS, &body(json!({ "prompt": all })))["usage"]["prompt_tokens"], 645);
    server.ok(
        COMPLETIONS,
        &body(json!({ "suffix": null, "best_of": 1, "max_tokens": [4], "presence_penalty": 0 })),
    );
}
