//! How tokens are chosen and reported, over the socket: biases, penalties, limits, and log-probabilities.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::HashMap, fs, path::Path};

use gavel_tests::Server;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

fn chat(extra: &Value) -> Value {
    let mut body = json!({
        "messages": [{ "role": "user", "content": "What is shown?" }],
        "max_tokens": 12,
        "repetition_penalty": 1,
        "ignore_eos": true,
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The log-probabilities of a reply, with one entry per token.
fn tokens(reply: &Value) -> &Vec<Value> {
    reply["choices"][0]["logprobs"]["content"].as_array().unwrap()
}

fn text(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap()
}

/// The ids of the critic's plain ASCII tokens, by their text.
fn vocabulary() -> HashMap<String, u64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/embedded/checkpoint/tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let words = tokenizer["model"]["vocab"].as_object().unwrap();
    let plain = |word: &str| word.replace('Ġ', " ").replace('Ċ', "\n");
    words
        .iter()
        .map(|(word, id)| (plain(word), id.as_u64().unwrap()))
        .filter(|(word, _)| word.is_ascii())
        .collect()
}

#[test]
fn a_bias_forces_and_bans_tokens() {
    let server = Server::with_options(&[]);
    let plain = server.ok(CHAT, &chat(&json!({ "logprobs": true })));
    let first = tokens(&plain)[0]["token"].as_str().unwrap().to_owned();
    let ids = vocabulary();
    let forced =
        server.ok(CHAT, &chat(&json!({ "logit_bias": { ids["Q"].to_string(): 100 }, "logprobs": true })));
    assert_eq!(text(&forced), "Q".repeat(12));
    // The reported log-probability is that of the critic, without the bias.
    let told = server.ok(CHAT, &chat(&json!({ "logprobs": true, "logprob_token_ids": [ids["Q"]] })));
    assert_eq!(tokens(&forced)[0]["logprob"], tokens(&told)[0]["top_logprobs"][0]["logprob"]);
    let banned =
        server.ok(CHAT, &chat(&json!({ "logit_bias": { ids[&first].to_string(): -100 }, "logprobs": true })));
    assert!(tokens(&banned).iter().all(|token| token["token"] != first.as_str()), "{first:?} in {banned}");
    assert_ne!(text(&banned), text(&plain));
}

#[test]
fn penalties_are_subtracted_for_what_was_written() {
    let server = Server::with_options(&[]);
    // Special tokens count for penalties too, so that they are shown.
    let told =
        json!({ "logprobs": true, "top_logprobs": 20, "max_tokens": 24, "skip_special_tokens": false });
    let plain = server.ok(CHAT, &chat(&told));
    for (presence, frequency) in [(1.9, 0.0), (0.0, 1.3), (0.7, 1.1), (-1.5, -1.5)] {
        let mut body = chat(&told);
        body["presence_penalty"] = json!(presence);
        body["frequency_penalty"] = json!(frequency);
        let reply = server.ok(CHAT, &body);
        assert_ne!(text(&reply), text(&plain), "{presence} and {frequency} change nothing");
        let mut written: HashMap<&str, f64> = HashMap::new();
        for token in tokens(&reply) {
            let score = |other: &Value| {
                let count = written.get(other["token"].as_str().unwrap()).copied().unwrap_or(0.0);
                let seen = if count > 0.0 { presence } else { 0.0 };
                other["logprob"].as_f64().unwrap() - seen - frequency * count
            };
            let best = token["top_logprobs"].as_array().unwrap().iter().map(score).fold(f64::MIN, f64::max);
            assert!((score(token) - best).abs() < 1e-4, "{token} after {written:?}");
            *written.entry(token["token"].as_str().unwrap()).or_default() += 1.0;
        }
    }
}

#[test]
fn the_tokens_that_are_asked_for_are_told_as_the_whole_distribution_has_them() {
    let server = Server::with_options(&[]);
    let ids = vocabulary();
    let top = server.ok(CHAT, &chat(&json!({ "logprobs": true, "top_logprobs": 20, "max_tokens": 3 })));
    let mut compared = 0;
    let asked = |ids: &[u64]| {
        let told = json!({ "logprobs": true, "logprob_token_ids": ids, "max_tokens": 3 });
        server.ok(CHAT, &chat(&told))
    };
    for (place, token) in tokens(&top).iter().enumerate() {
        let known = token["top_logprobs"].as_array().unwrap();
        let known: Vec<&Value> =
            known.iter().filter(|top| ids.contains_key(top["token"].as_str().unwrap())).collect();
        let wanted: Vec<u64> = known.iter().rev().map(|top| ids[top["token"].as_str().unwrap()]).collect();
        let reply = asked(&wanted);
        let told = tokens(&reply)[place]["top_logprobs"].as_array().unwrap();
        assert!(told.iter().eq(known.into_iter().rev()), "{told:?}");
        compared += told.len();
    }
    assert!(compared > 30, "{compared} tokens compared");
    let all: Vec<u64> = (0..871).collect();
    let sum: f64 = all
        .chunks(128)
        .map(|ids| {
            let reply = asked(ids);
            let told = tokens(&reply)[0]["top_logprobs"].as_array().unwrap();
            assert_eq!(told.len(), ids.len());
            told.iter().map(|token| token["logprob"].as_f64().unwrap().exp()).sum::<f64>()
        })
        .sum();
    assert!((sum - 1.0).abs() < 1e-3, "all tokens together have {sum}");
}

#[test]
fn a_text_has_at_least_so_many_tokens() {
    let server = Server::with_options(&[]);
    // The bias makes the end of the turn the most probable token everywhere.
    let ending = |least: u64| {
        chat(
            &json!({ "ignore_eos": false, "logit_bias": { "868": 100 }, "min_tokens": least, "max_tokens": 40 }),
        )
    };
    assert_eq!(server.post(CHAT, &ending(0)).status, 500, "nothing is written");
    for least in [1, 7] {
        let reply = server.ok(CHAT, &ending(least));
        let end = (&reply["usage"]["completion_tokens"], &reply["choices"][0]["finish_reason"]);
        assert_eq!(end, (&json!(least), &json!("stop")));
    }
}

#[test]
fn a_draw_from_the_most_probable_alone_is_greedy() {
    let server = Server::with_options(&[]);
    let greedy = server.ok(CHAT, &chat(&json!({})));
    let drawn = json!({ "temperature": 1.5, "seed": 3 });
    assert_ne!(text(&server.ok(CHAT, &chat(&drawn))), text(&greedy));
    let mut narrow = chat(&drawn);
    narrow["min_p"] = json!(1);
    assert_eq!(text(&server.ok(CHAT, &narrow)), text(&greedy));
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let server = Server::with_options(&[]);
    let many: serde_json::Map<String, Value> = (0..301).map(|id| (id.to_string(), json!(1))).collect();
    for (extra, param) in [
        (json!({ "logit_bias": { "871": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "-1": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "red": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "1": 101 } }), "logit_bias"),
        (json!({ "logit_bias": many }), "logit_bias"),
        (json!({ "presence_penalty": 2.5 }), "presence_penalty"),
        (json!({ "frequency_penalty": -2.5 }), "frequency_penalty"),
        (json!({ "min_p": 1.5 }), "min_p"),
        (json!({ "min_tokens": 13 }), "min_tokens"),
        (json!({ "logprob_token_ids": [1] }), "logprob_token_ids"),
        (json!({ "logprobs": true, "logprob_token_ids": [871] }), "logprob_token_ids"),
        (json!({ "logprobs": true, "logprob_token_ids": vec![1; 129] }), "logprob_token_ids"),
    ] {
        let response = server.post(CHAT, &chat(&extra));
        assert_eq!(response.status, 400, "{param}");
        assert_eq!(response.json()["error"]["param"], param);
    }
    for nothing in [
        json!({ "logit_bias": null, "presence_penalty": null, "logprob_token_ids": null, "response_format": null }),
        json!({ "tools": null, "tool_choice": null, "guided_json": null, "structured_outputs": null, "min_p": null }),
        json!({ "logit_bias": {}, "logprob_token_ids": [], "tools": [], "tool_choice": "none", "max_tokens": [12] }),
    ] {
        assert_eq!(text(&server.ok(CHAT, &chat(&nothing))), text(&server.ok(CHAT, &chat(&json!({})))));
    }
}
