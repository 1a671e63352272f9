//! What goes wrong around the server, and what it does then. `.ci/faults` prints a row for each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod checkpoint;
mod clients;
mod clock;
mod disk;
mod engine;
mod interposed;
mod poison;
mod stopping;
mod surroundings;

use std::fs;

use gavel_tests::{Server, reference, wait_until};
use serde_json::{Value, json};

/// A row of the table: its name in the plan of tests, what went wrong and what was seen.
#[expect(clippy::print_stdout, reason = "the table is what the command prints")]
pub(crate) fn row(name: &str, fault: &str, seen: &str) {
    println!("| {name} | {fault} | {seen} |");
}

/// Whether everything is tried that takes minutes (`.ci/faults long`).
pub(crate) fn long() -> bool {
    std::env::var_os("FAULTS_LONG").is_some()
}

pub(crate) fn model() -> String {
    reference().join("models/tiny56").to_string_lossy().into_owned()
}

pub(crate) fn random(options: &[&str]) -> Server {
    Server::with_options(&[&["--model", &model()], options].concat())
}

pub(crate) fn chat(text: &str, tokens: u64) -> Value {
    json!({
        "messages": [{ "role": "user", "content": text }],
        "max_tokens": tokens,
        "ignore_eos": true,
        "stream": true,
    })
}

pub(crate) fn short() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Hm?" }], "max_tokens": 2 })
}

pub(crate) fn case() -> Value {
    json!({ "question": "What colour is it?", "response": "It is red.", "memo": false })
}

pub(crate) fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap().count()
}

/// Nothing runs or waits, every block is back, and it answers.
pub(crate) fn rests(server: &Server) {
    // A request that was sent a moment ago may only begin now.
    wait_until("nothing runs and every block is back", || {
        let still = ["running", "waiting"].map(|figure| server.engine(figure));
        still == [0, 0] && server.engine("free_blocks") == server.engine("total_blocks")
    });
    assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
}

pub(crate) fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}
