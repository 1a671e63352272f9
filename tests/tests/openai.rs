//! `POST /v1/chat/completions` on the built server, with plain requests and with the official Python package.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::process::Command;

use gavel_tests::{Server, image, python, uncounted};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are used")]
fn chat(extra: Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "What is shown?" }], "max_tokens": 24 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn content(completion: &Value) -> &str {
    completion["choices"][0]["message"]["content"].as_str().unwrap()
}

#[test]
fn a_completion_has_the_shape_that_strict_clients_want() {
    let server = Server::random();
    let body = server.ok(CHAT, &chat(json!({ "model": "gpt-4o", "user": "someone" })));
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert!(u32::try_from(body["created"].as_u64().unwrap()).is_ok());
    assert_eq!(body["model"], "gpt-4o");
    assert!(body["system_fingerprint"].as_str().unwrap().starts_with("tiny56"));
    let choice = &body["choices"][0];
    assert_eq!((&choice["index"], &choice["message"]["role"]), (&json!(0), &json!("assistant")));
    assert!(choice["logprobs"].is_null() && choice["message"]["refusal"].is_null());
    assert!(!content(&body).is_empty());
    let usage = &body["usage"];
    assert_eq!(
        usage["total_tokens"],
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert!(body.get("error").is_none() && body.get("service_tier").is_none());
    assert_eq!(server.ok(CHAT, &chat(json!({})))["model"], "tiny56");
}

#[test]
fn a_streamed_completion_is_the_whole_one_in_pieces() {
    let server = Server::random();
    let body = chat(json!({ "logprobs": true, "top_logprobs": 3 }));
    let whole = server.ok(CHAT, &body);
    let mut streamed = body;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let events: Vec<_> = server.post(CHAT, &streamed).events().collect();
    assert_eq!(events.last().unwrap().data, "[DONE]");
    let chunks: Vec<_> = events[..events.len() - 1].iter().map(|event| event.json()).collect();
    assert!(events.iter().all(|event| event.name.is_empty()));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let (mut text, mut logprobs, mut ends) = (String::new(), Vec::new(), Vec::new());
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        if let Some(choice) = chunk["choices"].get(0) {
            text += choice["delta"]["content"].as_str().unwrap_or_default();
            logprobs.extend(choice["logprobs"]["content"].as_array().cloned().unwrap_or_default());
            ends.extend(choice["finish_reason"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(text, content(&whole));
    assert_eq!(&json!(logprobs), &whole["choices"][0]["logprobs"]["content"]);
    assert_eq!(ends, [whole["choices"][0]["finish_reason"].as_str().unwrap()]);
    let last = chunks.last().unwrap();
    assert_eq!(
        (&last["choices"], &uncounted(last["usage"].clone())),
        (&json!([]), &uncounted(whole["usage"].clone()))
    );
}

#[test]
fn logprobs_are_those_of_the_text() {
    let server = Server::random();
    let body = chat(json!({ "logprobs": true, "top_logprobs": 20, "repetition_penalty": 1.0 }));
    let completion = server.ok(CHAT, &body);
    let tokens = completion["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let bytes: Vec<u8> = (tokens.iter())
        .flat_map(|token| token["bytes"].as_array().unwrap())
        .map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(String::from_utf8_lossy(&bytes), content(&completion));
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 20);
        assert_eq!(top[0]["bytes"], token["bytes"], "greedy takes the most probable token");
        assert_eq!(top[0]["logprob"], token["logprob"]);
        let logprobs: Vec<f64> = top.iter().map(|token| token["logprob"].as_f64().unwrap()).collect();
        assert!(logprobs.is_sorted_by(|left, right| left >= right));
        let sum: f64 = logprobs.iter().map(|logprob| logprob.exp()).sum();
        assert!(sum > 0.0 && sum < 1.0 + 1e-5, "{sum}");
    }
}

#[test]
fn a_stop_string_ends_the_text_before_itself() {
    let server = Server::random();
    let whole = server.ok(CHAT, &chat(json!({})));
    let text: Vec<char> = content(&whole).chars().collect();
    let middle = text.len() / 2;
    let stop: String = text[middle..middle + 4].iter().collect();
    let before = content(&whole).split(&stop).next().unwrap();
    for stop in [json!(stop), json!(["never written", stop])] {
        let stopped = server.ok(CHAT, &chat(json!({ "stop": stop, "logprobs": true })));
        assert_eq!(content(&stopped), before);
        assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
        let tokens = stopped["choices"][0]["logprobs"]["content"].as_array().unwrap();
        assert!(tokens.len() < whole["usage"]["completion_tokens"].as_u64().unwrap() as usize);
    }
}

#[test]
fn drawing_is_reproducible_by_its_seed_and_greedy_is_the_default() {
    let server = Server::random();
    let greedy = server.ok(CHAT, &chat(json!({})));
    assert_eq!(content(&greedy), content(&server.ok(CHAT, &chat(json!({ "temperature": 0, "seed": 5 })))));
    let drawn = |extra: Value| {
        let mut body = chat(json!({ "temperature": 1.5, "n": 3 }));
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let completion = server.ok(CHAT, &body);
        let choices = completion["choices"].as_array().unwrap().clone();
        let indices: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
        assert_eq!(indices, [0, 1, 2]);
        choices
            .iter()
            .map(|choice| choice["message"]["content"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = drawn(json!({ "seed": 1 }));
    assert_eq!(first, drawn(json!({ "seed": 1 })));
    assert_ne!(first, drawn(json!({ "seed": 100 })));
    assert_ne!(first[0], first[1], "each text is drawn for itself");
    assert_ne!(drawn(json!({})), drawn(json!({})), "without a seed each request is drawn anew");
    for extra in [json!({ "seed": 1, "top_k": 1 }), json!({ "seed": 1, "top_p": 0 })] {
        assert_eq!(drawn(extra)[2], content(&greedy), "only the most probable token is left");
    }
}

#[test]
fn the_same_message_in_any_shape_gets_the_same_answer() {
    let server = Server::random();
    let picture = image("tiny56-square-0.png");
    let url = format!("data:image/png;base64,{picture}");
    let answer = |content: Value| {
        let completion =
            server.ok(CHAT, &chat(json!({ "messages": [{ "role": "user", "content": content }] })));
        (completion["choices"].clone(), uncounted(completion["usage"].clone()))
    };
    assert_eq!(answer(json!("Hello")), answer(json!([{ "type": "text", "text": "Hello" }])));
    let image_of = |part: Value| answer(json!([{ "type": "text", "text": "Hello" }, part]));
    let seen = image_of(json!({ "type": "image_url", "image_url": { "url": url, "detail": "auto" } }));
    assert_ne!(seen, answer(json!("Hello")));
    for part in [
        json!({ "type": "image_url", "image_url": url }),
        json!({ "type": "image_url", "image_url": { "url": picture } }),
        json!({ "type": "input_image", "image_url": url }),
        json!({ "type": "image", "image": picture }),
        json!({ "image": url }),
    ] {
        assert_eq!(image_of(part.clone()), seen, "{part}");
    }
    let frames: Vec<_> = (0..4).map(|frame| image(&format!("tiny56-video4-frame{frame}.png"))).collect();
    let video = image_of(json!({ "type": "video", "frames": frames }));
    assert!(video.1["prompt_tokens"].as_u64() > answer(json!("Hello")).1["prompt_tokens"].as_u64());
}

#[test]
fn harmless_parameters_are_ignored_and_lists_of_one_are_read() {
    let server = Server::random();
    let plain = server.ok(CHAT, &chat(json!({})));
    for extra in [
        json!({ "max_tokens": [24], "n": [1] }),
        json!({ "max_completion_tokens": 24, "max_tokens": 5 }),
        json!({ "metadata": { "a": 1 }, "store": true, "reasoning_effort": "high", "made_up": [1, 2] }),
        json!({ "tools": null, "logit_bias": {}, "presence_penalty": 0, "response_format": { "type": "text" } }),
        json!({ "stop": null, "temperature": null, "stream": false, "seed": null }),
    ] {
        assert_eq!(content(&server.ok(CHAT, &chat(extra.clone()))), content(&plain), "{extra}");
    }
}

#[test]
fn what_would_change_the_meaning_is_refused_by_name() {
    let server = Server::random();
    let user = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    for (extra, code, param) in [
        (json!({ "bad_words": ["x"] }), "unsupported_parameter", "bad_words"),
        (json!({ "logit_bias": { "99999": 5 } }), "unknown_token", "logit_bias"),
        (json!({ "frequency_penalty": 2.5 }), "invalid_request", "frequency_penalty"),
        (json!({ "prompt_logprobs": 1 }), "unsupported_parameter", "prompt_logprobs"),
        (json!({ "n": 129 }), "invalid_request", "n"),
        (json!({ "n": 3, "best_of": 2 }), "invalid_request", "best_of"),
        (json!({ "best_of": 2, "stream": true }), "invalid_request", "best_of"),
        (
            json!({ "include_stop_str_in_output": true }),
            "unsupported_parameter",
            "include_stop_str_in_output",
        ),
        (json!({ "truncate_prompt_tokens": 9 }), "unsupported_parameter", "truncate_prompt_tokens"),
        (
            json!({ "chat_template_kwargs": { "enable_thinking": true } }),
            "unsupported_parameter",
            "chat_template_kwargs",
        ),
        (json!({ "n": 0 }), "invalid_request", "n"),
        (json!({ "temperature": 3 }), "invalid_request", "temperature"),
        (json!({ "temperature": "hot" }), "invalid_request", "temperature"),
        (json!({ "top_p": -0.5 }), "invalid_request", "top_p"),
        (json!({ "max_tokens": 0 }), "invalid_request", "max_tokens"),
        (json!({ "logprobs": true, "top_logprobs": 21 }), "invalid_request", "top_logprobs"),
        (json!({ "top_logprobs": 2 }), "invalid_request", "top_logprobs"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "invalid_request", "stop"),
        (json!({ "messages": [] }), "invalid_request", "messages"),
        (json!({ "messages": [{ "role": "robot", "content": "x" }] }), "invalid_request", "messages[0].role"),
        (
            json!({ "messages": [{ "role": "assistant", "content": null }] }),
            "invalid_request",
            "messages[0].content",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "function": {} }] }] }),
            "invalid_request",
            "messages[0].tool_calls[0].function.arguments",
        ),
        (json!({ "continue_final_message": true }), "invalid_request", "continue_final_message"),
        (json!({ "add_generation_prompt": false }), "invalid_request", "add_generation_prompt"),
        (
            user(json!([{ "type": "image_url", "image_url": "http://a/b.png" }])),
            "invalid_image_url",
            "messages[0].content[0]",
        ),
        (user(json!([{ "type": "input_audio" }])), "unsupported_content", "messages[0].content[0]"),
        (user(json!([{ "type": "image_url" }])), "invalid_request", "messages[0].content[0]"),
        (
            user(
                json!([{ "type": "text", "text": "?" }, { "type": "image", "image": "data:image/png;base64,AAAA" }]),
            ),
            "unsupported_image_media_type",
            "messages[0].content[1]",
        ),
        (json!({ "images": ["AAAA"] }), "unsupported_image_media_type", "images"),
        (user(json!([{ "type": "video", "frames": [] }])), "invalid_video", "null"),
    ] {
        let response = server.post(CHAT, &chat(extra.clone()));
        assert_eq!(response.status, 400, "{extra}");
        let error = response.json();
        assert_eq!(error["error"]["code"], code, "{extra} gave {error}");
        let named = error["error"]["param"].as_str().unwrap_or("null");
        assert_eq!(named, param, "{error}");
    }
}

#[test]
fn a_final_message_is_answered_or_continued() {
    let server = Server::random();
    let messages = json!([
        { "role": "developer", "content": "Be short." },
        { "role": "user", "content": [{ "type": "text", "text": "Is it" }, { "type": "text", "text": " red?" }] },
        { "role": "assistant", "content": "Yes, it" },
    ]);
    let answered = server.ok(CHAT, &chat(json!({ "messages": messages })));
    let continued = server.ok(
        CHAT,
        &chat(
            json!({ "messages": messages, "continue_final_message": true, "add_generation_prompt": false }),
        ),
    );
    let prompt = |completion: &Value| completion["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(prompt(&continued) < prompt(&answered), "a continued turn is not closed, and no other is opened");
    assert_ne!(content(&continued), content(&answered));
    let shorter = json!([messages[0], messages[1]]);
    let from_nothing = server.ok(CHAT, &chat(json!({ "messages": shorter })));
    assert!(prompt(&continued) > prompt(&from_nothing), "what is continued is read");
}

#[test]
fn a_bound_of_tokens_is_kept_and_a_huge_one_means_all_the_room() {
    let server = Server::random();
    let body = server.ok(CHAT, &chat(json!({ "max_tokens": 3, "ignore_eos": true })));
    assert_eq!(
        (&body["usage"]["completion_tokens"], &body["choices"][0]["finish_reason"]),
        (&json!(3), &json!("length"))
    );
    let huge = json!({ "max_tokens": 1_000_000_000_000_u64, "stream": true, "ignore_eos": true });
    let response = server.post(CHAT, &chat(huge));
    assert_eq!(response.status, 200);
    assert!(response.events().nth(5).is_some(), "it is being written");
}

#[test]
fn other_paths_that_clients_make_up_lead_to_the_same_place() {
    let server = Server::random();
    let answer = server.ok(CHAT, &chat(json!({})));
    for path in [
        "/",
        "/v1",
        "/chat/completions",
        "/v1/chat/completions",
        "/v1/chat/completions/chat/completions",
        "/chat/completions/chat/completions",
        "/v1/v1/chat/completions",
        "//v1/chat/completions/v1//chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions",
    ] {
        let with_slash = format!("{}/", path.trim_end_matches('/'));
        for path in [path, &with_slash, &format!("{path}?api-version=2024-06-01")] {
            assert_eq!(server.ok(path, &chat(json!({})))["choices"], answer["choices"], "{path}");
        }
    }
    let azure =
        |extra: Value| server.ok("/openai/deployments/judge/chat/completions", &chat(extra))["model"].clone();
    assert_eq!((azure(json!({})), azure(json!({ "model": "gpt-4o" }))), (json!("judge"), json!("gpt-4o")));
}

#[test]
fn what_asks_for_nothing_changes_nothing() {
    let server = Server::random();
    let answer = server.ok(CHAT, &chat(json!({})));
    for extra in [
        json!({ "max_tokens": 24.0, "seed": 1.0, "n": 1.0, "top_logprobs": 0.0 }),
        json!({ "chat_template_kwargs": { "enable_thinking": false } }),
        json!({ "stream_options": { "include_usage": null } }),
        json!({ "best_of": 1, "include_stop_str_in_output": false, "truncate_prompt_tokens": null }),
    ] {
        assert_eq!(server.ok(CHAT, &chat(extra.clone()))["choices"], answer["choices"], "{extra}");
    }
    let streamed = chat(json!({ "stream": true, "stream_options": { "include_usage": null } }));
    let events: Vec<_> = server.post(CHAT, &streamed).events().collect();
    assert!(events.iter().all(|event| event.data == "[DONE]" || event.json().get("usage").is_none()));
}

#[test]
fn the_best_of_several_texts_are_told() {
    let server = Server::random();
    let drawn = |extra: Value| {
        let mut body = chat(json!({ "temperature": 1.5, "seed": 7, "ignore_eos": true }));
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.ok(CHAT, &body)
    };
    let all = drawn(json!({ "n": 5, "logprobs": true }));
    let mean = |choice: &Value| {
        let tokens = choice["logprobs"]["content"].as_array().unwrap();
        tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).sum::<f64>() / tokens.len() as f64
    };
    let choices = all["choices"].as_array().unwrap();
    let best = choices.iter().max_by(|one, other| mean(one).total_cmp(&mean(other))).unwrap();
    let told = drawn(json!({ "n": 1, "best_of": 5 }));
    assert_eq!(
        (told["choices"].as_array().unwrap().len(), content(&told)),
        (1, best["message"]["content"].as_str().unwrap())
    );
    assert!(told["choices"][0]["logprobs"].is_null());
    assert_eq!(told["usage"]["completion_tokens"], all["usage"]["completion_tokens"], "all were written");
    let many = drawn(json!({ "n": 40, "max_tokens": 2 }));
    assert_eq!(many["choices"].as_array().unwrap().len(), 40);
}

/// A client that rejects a call sends it back with the reason.
#[test]
fn calls_and_their_results_are_shown_as_words() {
    let server = Server::random();
    let user = json!({ "role": "user", "content": "What is shown?" });
    let answer = |messages: Value| {
        let completion = server.ok(CHAT, &chat(json!({ "messages": messages })));
        (completion["choices"].clone(), completion["usage"]["prompt_tokens"].clone())
    };
    let called = "{\"score\": 11}";
    let plain = answer(json!([
        user,
        { "role": "assistant", "content": called },
        { "role": "user", "content": "11 is above 10." },
    ]));
    let function = json!({ "name": "Verdict", "arguments": called });
    let call = json!({ "id": "call_1", "type": "function", "function": function });
    for (asked, result) in [
        (
            json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
            json!({ "role": "tool", "tool_call_id": "call_1", "name": "Verdict", "content": "11 is above 10." }),
        ),
        (
            json!({ "role": "assistant", "function_call": function, "tool_calls": null }),
            json!({ "role": "function", "name": "Verdict", "content": "11 is above 10." }),
        ),
    ] {
        assert_eq!(answer(json!([user, asked, result])), plain);
    }
    for (role, param) in [("tool", "messages[0].tool_call_id"), ("function", "messages[0].name")] {
        let refused =
            server.post(CHAT, &chat(json!({ "messages": [{ "role": role, "content": "11" }] }))).json();
        assert_eq!(refused["error"]["param"], param, "{refused}");
    }
    let tool = json!({ "type": "function", "function": { "name": "Verdict", "parameters": {
        "type": "object", "properties": { "score": { "type": "integer" } }, "required": ["score"],
        "additionalProperties": false,
    } } });
    let choice = json!({ "type": "function", "function": { "name": "Verdict" } });
    let first = chat(json!({ "tools": [tool], "tool_choice": choice }));
    let message = server.ok(CHAT, &first)["choices"][0]["message"].clone();
    let result =
        json!({ "role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Again." });
    let again = json!({ "messages": [user, message, result], "tools": [tool], "tool_choice": choice });
    assert!(server.ok(CHAT, &chat(again))["choices"][0]["message"]["tool_calls"].is_array());
}

#[test]
fn a_text_that_a_stop_string_ends_at_once_is_empty_and_has_its_reason() {
    let server = Server::random();
    let first = |path: &str, body: &Value, place: &str| {
        let whole = server.ok(path, body);
        whole.pointer(place).and_then(Value::as_str).unwrap().chars().take(1).collect::<String>()
    };
    for (path, extra, place) in [
        (CHAT, json!({}), "/choices/0/message/content"),
        ("/v1/completions", json!({ "prompt": "The picture shows" }), "/choices/0/text"),
    ] {
        let mut body = chat(extra);
        body["stop"] = json!(first(path, &body, place));
        let stopped = server.ok(path, &body);
        assert_eq!(
            (&stopped["choices"][0]["finish_reason"], stopped.pointer(place)),
            (&json!("stop"), Some(&json!("")))
        );
        body["stream"] = json!(true);
        let events: Vec<_> = server.post(path, &body).events().collect();
        let (last, chunks) = events.split_last().unwrap();
        assert_eq!(last.data, "[DONE]", "{path}");
        let chunks: Vec<Value> = chunks.iter().map(|chunk| chunk.json()["choices"][0].take()).collect();
        assert_eq!(chunks.last().unwrap()["finish_reason"], "stop");
        let said = |chunk: &Value| chunk.pointer("/delta/content").or(chunk.get("text")).cloned();
        assert!(chunks.iter().filter_map(said).all(|text| text == ""), "{chunks:?}");
    }
}

/// An empty text that was not requested could be mistaken for a verdict.
#[test]
fn a_turn_that_ends_before_its_first_word_is_an_error() {
    let server = Server::random();
    let mut body = chat(json!({ "return_token_strs": true }));
    let told = server.ok("/tokenize", &body);
    let texts = told["token_strs"].as_array().unwrap();
    let end = texts.iter().position(|text| text == "<|im_end|>").unwrap();
    body["logit_bias"] = json!({ told["tokens"][end].to_string(): 100 });
    let response = server.post(CHAT, &body);
    assert_eq!((response.status, response.header("x-should-retry")), (500, Some("false")));
    assert_eq!(response.json()["error"]["code"], "empty_completion");
    body["stream"] = json!(true);
    let last = server.post(CHAT, &body).events().last().unwrap();
    assert_eq!(last.json()["error"]["code"], "empty_completion");
}

/// A text that ends at a stop string is complete, and does not count as abandoned by its client.
#[test]
fn a_text_that_a_stop_string_ends_is_finished() {
    let server = Server::random();
    let whole = server.ok(CHAT, &chat(json!({})));
    let text: Vec<char> = content(&whole).chars().collect();
    let stop: String = text[text.len() / 2..text.len() / 2 + 4].iter().collect();
    server.ok(CHAT, &chat(json!({ "stop": stop, "max_tokens": 2000, "ignore_eos": true })));
    gavel_tests::wait_until("nothing runs", || server.engine("running") == 0);
    let metrics = server.get("/metrics").text();
    let of = |ending: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with("gavel_sequences_total{"));
        let figure = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        lines.filter(|line| line.contains(&format!("ending=\"{ending}\""))).map(figure).sum::<f64>()
    };
    assert_eq!((of("finished"), of("abandoned")), (2.0, 0.0), "{metrics}");
    let left = metrics.lines().filter(|line| line.starts_with("gavel_cancelled_total{"));
    assert!(left.clone().count() > 0 && left.clone().all(|line| line.ends_with(" 0")), "{metrics}");
}

#[test]
fn the_official_python_package_is_served() {
    let server = Server::random();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("python/openai_client.py");
    let images = gavel_tests::reference().join("images/tiny56-square-0.png");
    let output = Command::new(python())
        .arg(script)
        .arg(format!("http://{}/v1", server.address()))
        .arg(images)
        .output()
        .expect("the interpreter starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.ends_with("all well\n"), "{said}");
}
