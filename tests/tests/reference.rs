//! The reference cases over HTTP: the tokens and probabilities in responses are those that transformers computed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use gavel_tests::{Server, image, reference};
use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-4;

/// The cases of a checkpoint that are conversations.
fn cases(model: &str) -> Vec<Value> {
    let index = fs::read(reference().join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let cases = index["cases"].as_array().unwrap().iter();
    cases.filter(|case| case["model"] == model && case["messages"].is_array()).cloned().collect()
}

/// A tensor of 32-bit floats in a golden file.
fn floats(file: &str, name: &str) -> Vec<f64> {
    let bytes = fs::read(reference().join(file)).unwrap();
    let header_length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_length]).unwrap();
    let offset =
        |index: usize| header[name]["data_offsets"][index].as_u64().unwrap() as usize + 8 + header_length;
    assert_eq!(header[name]["dtype"], "F32");
    bytes[offset(0)..offset(1)]
        .chunks_exact(4)
        .map(|float| f64::from(f32::from_le_bytes(float.try_into().unwrap())))
        .collect()
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|file| file.as_str().unwrap().strip_prefix("images/").unwrap())
}

/// The messages of a case, with its images as data URLs and its frames as a video part.
fn messages(case: &Value) -> Vec<Value> {
    let url = |name: &str| format!("data:image/png;base64,{}", image(name));
    let mut images = names(&case["images"]);
    let parts = |message: &Value, images: &mut dyn Iterator<Item = &str>| -> Vec<Value> {
        let parts = message["content"].as_array().unwrap().iter();
        parts
            .map(|part| match part["type"].as_str().unwrap() {
                "image" => json!({"type": "image_url", "image_url": {"url": url(images.next().unwrap())}}),
                "video" => json!({"type": "video", "frames": names(&case["video_frames"]).map(url).collect::<Vec<_>>()}),
                _ => part.clone(),
            })
            .collect()
    };
    let messages = case["messages"].as_array().unwrap().iter();
    messages.map(|message| json!({"role": message["role"], "content": parts(message, &mut images)})).collect()
}

fn assert_close(what: &str, got: &[f64], wanted: &[f64]) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() <= TOLERANCE, "{what}, value {index}: {got} and not {wanted}");
    }
}

/// Checks one case, and returns the number of cached tokens of its prompt.
fn check(server: &Server, case: &Value) -> u64 {
    let what = case["name"].as_str().unwrap();
    let completion = server.ok(
        "/v1/chat/completions",
        &json!({
            "model": "any", "messages": messages(case), "max_tokens": 32, "temperature": 0, "logprobs": true,
            "top_logprobs": 20, "ignore_eos": true, "skip_special_tokens": false,
        }),
    );
    assert_eq!(completion["usage"]["prompt_tokens"], case["n_tokens"], "{what}: tokens of the prompt");
    let choice = &completion["choices"][0];
    assert_eq!(choice["message"]["content"], case["greedy_text"], "{what}");
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let logprobs: Vec<f64> = tokens.iter().map(|token| token["logprob"].as_f64().unwrap()).collect();
    let top: Vec<f64> = tokens
        .iter()
        .flat_map(|token| token["top_logprobs"].as_array().unwrap())
        .map(|top| top["logprob"].as_f64().unwrap())
        .collect();
    let file = case["file"].as_str().unwrap();
    assert_close(what, &logprobs, &floats(file, "greedy_logprobs"));
    assert_close(what, &top, &floats(file, "greedy_top_logprobs"));
    completion["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

fn check_all(model: &str, at_least: usize) {
    let folder = reference().join("models").join(model);
    let server = Server::with_options(&["--model", &folder.to_string_lossy()]);
    let cases = cases(model);
    assert!(cases.len() >= at_least);
    // All at once: a text must not depend on the other sequences in the batch.
    std::thread::scope(|scope| {
        for case in &cases {
            scope.spawn(|| check(&server, case));
        }
    });
    // Again, with prefixes from the cache: whole blocks of 32 tokens, and never the last token.
    for case in &cases {
        let tokens = case["n_tokens"].as_u64().unwrap();
        assert_eq!(check(&server, case), (tokens - 1) / 32 * 32, "{}", case["name"]);
    }
}

#[test]
fn tiny56_conversations() {
    check_all("tiny56", 13);
}

#[test]
fn geo384_conversations() {
    check_all("geo384", 7);
}
