//! The critic inside the binary: without any option, the program judges.

use std::{fs, path::Path, process::Command};

use gavel_tests::{Server, binary, image, reference, uncounted};
use serde_json::json;

#[test]
fn a_server_without_options_judges_with_the_critic_inside_it() {
    let server = Server::with_options(&[]);
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "gavel-mini");
    let picture = image("tiny56-square-0.png");
    let one = json!({ "question": "What is shown?", "images": [picture], "response": "A red circle." });
    let scored = server.ok("/judge", &one);
    let (score, scale) = (scored["score"].as_f64().unwrap(), &scored["scale"]);
    assert!(score >= scale["min"].as_f64().unwrap() && score <= scale["max"].as_f64().unwrap(), "{scored}");
    assert_eq!((&scored["model"], &scored["finish_reason"]), (&json!("gavel-mini"), &json!("stop")));
    assert!(!scored["justification"].as_str().unwrap().is_empty());

    let two = json!({
        "question": "What is shown?",
        "images": [picture],
        "responses": ["A red circle.", "A blue square."],
        "stream": true,
    });
    let events: Vec<_> = server.post("/judge", &two).events().collect();
    let verdict = events.last().unwrap();
    assert_eq!(verdict.name, "verdict", "{verdict:?}");
    assert!(["first", "second", "tie"].contains(&verdict.json()["preference"].as_str().unwrap()));

    assert_eq!(uncounted(server.ok("/judge", &one)), uncounted(scored), "a verdict repeats");
}

#[test]
fn the_command_line_judges_with_the_same_critic() {
    let picture = reference().join("images/tiny56-square-0.png");
    let output = Command::new(binary())
        .args(["judge", "--question", "What is shown?", "--response", "A red circle.", "--image"])
        .arg(picture)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdict = said.trim_end().lines().last().unwrap();
    let score: f64 = verdict.strip_prefix("Score: ").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1.0..=10.0).contains(&score), "{said}");

    let server = Server::with_options(&[]);
    let body = json!({
        "question": "What is shown?",
        "images": [image("tiny56-square-0.png")],
        "response": "A red circle.",
    });
    let served = server.ok("/judge", &body);
    assert_eq!(served["score"], score);
    assert!(said.starts_with(served["justification"].as_str().unwrap()), "{said}");

    let inspected = Command::new(binary()).arg("inspect").output().unwrap();
    assert!(String::from_utf8(inspected.stdout).unwrap().contains("LLaVA-OneVision"));
}

#[test]
fn the_program_carries_the_critic_once() {
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/embedded/checkpoint");
    let weights = fs::read(checkpoint.join("model.safetensors")).unwrap();
    let program = fs::read(binary()).unwrap();
    // From the middle, where a checkpoint has weights and no header.
    let part = &weights[weights.len() / 2..][..64];
    let found = program.windows(part.len()).filter(|bytes| bytes == &part).count();
    assert_eq!(found, 1, "copies of the weights in a program of {} bytes", program.len());
}
