//! Runs the commands of the README and of the documents that continue it, and compares the answers with those that
//! they show.
//!
//! Blocks marked `sh` and `python` are run, with the binary that is built already. Blocks marked `console` are not:
//! they download something or start this test itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gavel_tests::{Server, binary, python};
use serde_json::Value;

/// The README, and the documents that continue it.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/api.md", "docs/benchmarks.md"];
/// How the README starts the program, and how it starts the server.
const CARGO_RUN: &str = "cargo run --release --";
const SERVE: &str = "cargo run --release -- serve";
/// Where the README's server listens.
const ADDRESS: &str = "127.0.0.1:8080";

/// A fenced block of a document: its language and its text.
struct Block {
    mark: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All blocks, those of the README first.
fn blocks() -> Vec<Block> {
    DOCUMENTS.into_iter().flat_map(blocks_of).collect()
}

fn blocks_of(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(document));
    let text = text.unwrap_or_else(|error| panic!("{document}: {error}"));
    let fenced = text.split("```").skip(1).step_by(2);
    let split = fenced.map(|block| block.split_once('\n').expect("a block has lines"));
    split.map(|(mark, text)| Block { mark: mark.trim().into(), text: text.into() }).collect()
}

/// The server of the README, with the options that are given there.
fn server() -> Server {
    let starts = |block: &Block| block.mark == "sh" && block.text.starts_with(SERVE);
    let command = blocks().into_iter().find(starts).expect("the README starts a server").text;
    let options: Vec<&str> = command[SERVE.len()..].split_whitespace().collect();
    Server::with_options(&options)
}

/// Runs a block against the server and returns what it prints.
fn run(block: &Block, (program, flag): (&Path, &str), server: &Server) -> String {
    let command = block.text.replace(CARGO_RUN, &format!("'{}'", binary().display()));
    let command = command.replace(ADDRESS, server.address());
    let output = Command::new(program).args([flag, &command]).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this block fails:\n{}\n{printed}\n{errors}", block.text);
    assert!(!printed.trim().is_empty(), "this block prints nothing:\n{}", block.text);
    printed
}

/// An answer without the members that differ between runs or versions.
fn comparable(answer: &str) -> Value {
    let mut answer = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error} in {answer}"));
    if let Value::Object(fields) = &mut answer {
        fields.retain(|name, _| !["id", "usage", "receipt"].contains(&name.as_str()));
    }
    answer
}

#[test]
fn shell_blocks_print_what_the_readme_shows() {
    let (server, blocks) = (server(), blocks());
    let mut compared = 0;
    for (index, block) in blocks.iter().enumerate() {
        if block.mark != "sh" || block.text.starts_with(SERVE) {
            continue;
        }
        let printed = run(block, (Path::new("bash"), "-ec"), &server);
        match blocks.get(index + 1).map(|shown| (shown.mark.as_str(), &shown.text)) {
            Some(("json", shown)) => assert_eq!(comparable(&printed), comparable(shown), "{}", block.text),
            Some(("text", shown)) => assert_eq!(printed.trim(), shown.trim(), "{}", block.text),
            _ => continue,
        }
        compared += 1;
    }
    assert!(compared > 0, "the README shows no answer");
}

#[test]
fn python_blocks_run_with_the_official_client() {
    let (server, blocks) = (server(), blocks());
    let mut python_blocks = blocks.iter().filter(|block| block.mark == "python").peekable();
    assert!(python_blocks.peek().is_some(), "the README shows no Python");
    for block in python_blocks {
        run(block, (&python(), "-c"), &server);
    }
}
