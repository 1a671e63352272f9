//! Prompts whose length in tokens is close to the context length of the critic.

use std::process::Command;

use gavel_tests::{Server, binary, wait_until};
use serde_json::{Value, json};

/// The context length of the small critic, in tokens, including the answer.
const CONTEXT: usize = 4096;

/// A prompt of exactly `tokens` tokens.
fn prompt(tokens: usize) -> Value {
    json!(vec![270; tokens])
}

#[test]
fn a_prompt_is_read_to_the_last_token_that_leaves_room_for_an_answer() {
    let server = Server::with_options(&[]);
    let ask = |tokens: usize, max_tokens: Value| {
        let body = json!({ "prompt": prompt(tokens), "max_tokens": max_tokens, "ignore_eos": true });
        let response = server.post("/v1/completions", &body);
        (response.status, response.json())
    };
    let counted = |(status, body): (u16, Value)| {
        assert_eq!(status, 200, "{body}");
        let usage = &body["usage"];
        (usage["prompt_tokens"].clone(), usage["completion_tokens"].clone())
    };
    assert_eq!(counted(ask(CONTEXT - 8, json!(8))), (json!(CONTEXT - 8), json!(8)));
    // One more prompt token leaves one less for the answer, whatever `max_tokens` is.
    assert_eq!(counted(ask(CONTEXT - 7, json!(8))), (json!(CONTEXT - 7), json!(7)));
    assert_eq!(counted(ask(CONTEXT - 1, Value::Null)), (json!(CONTEXT - 1), json!(1)));
    for tokens in [CONTEXT, CONTEXT + 1, 2 * CONTEXT] {
        let (status, body) = ask(tokens, Value::Null);
        assert_eq!((status, &body["error"]["code"]), (400, &json!("context_length_exceeded")));
    }
}

#[test]
fn the_smallest_cache_holds_a_whole_context_and_large_answers_take_turns() {
    let server = Server::with_options(&["--cache-mib", "1"]);
    let blocks = server.engine("total_blocks");
    assert!(blocks > 0);
    // Each request takes more than half of the cache, so that no two run at a time.
    let ask = |number: usize| {
        let tokens: Vec<usize> =
            (0..CONTEXT * 6 / 10).map(|place| 260 + (place * 7 + number) % 200).collect();
        let body = json!({ "prompt": tokens, "max_tokens": 4, "ignore_eos": true });
        server.ok("/v1/completions", &body)["usage"]["completion_tokens"].clone()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|number| scope.spawn(move || ask(number))).collect();
        for thread in asked {
            assert_eq!(thread.join().unwrap(), 4);
        }
    });
    // The last answer is sent before the figures of its step are written.
    wait_until("every block is free", || server.engine("free_blocks") == blocks);
}

#[test]
fn contexts_are_as_short_as_was_asked_for_and_no_longer_than_the_critics() {
    let server = Server::with_options(&["--context-length", "512", "--cache-mib", "1"]);
    let ask = |tokens: usize| {
        server.post("/v1/completions", &json!({ "prompt": prompt(tokens), "ignore_eos": true })).json()
    };
    assert_eq!(server.get("/health").json()["context_length"], 512);
    assert_eq!(ask(500)["usage"]["completion_tokens"], 12);
    assert_eq!(ask(512)["error"]["code"], "context_length_exceeded");
    // The smallest cache has room for one context, so that a shorter context makes it smaller.
    let whole = Server::with_options(&["--cache-mib", "1"]).engine("total_blocks");
    assert!(8 * server.engine("total_blocks") <= whole, "{whole} blocks for whole contexts");
    let longer = Command::new(binary()).args(["serve", "--port", "0", "--context-length", "4097"]).output();
    let (longer, told) =
        longer.map(|output| (output.status, String::from_utf8(output.stderr).unwrap())).unwrap();
    assert_eq!(longer.code(), Some(78), "{told}");
    assert!(told.contains("4097") && told.contains("4096"), "{told}");
}
