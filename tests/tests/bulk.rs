//! `gavel prefer` and `gavel judge --input` on files: what they write, and how they go on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, path::Path, process::Command};

use gavel_tests::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with the README's picture and `rows` as a file.
fn folder(rows: &[Value]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let picture = gavel_tests::reference().join("../../training/examples/scene.png");
    fs::copy(picture, folder.path().join("scene.png")).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.path().join("rows.jsonl"), lines).unwrap();
    folder
}

/// Runs `gavel` in `folder` and returns what it prints.
fn gavel(folder: &Path, arguments: &[&str]) -> String {
    let files = ["--input", "rows.jsonl", "--output", "out.jsonl"];
    let run = Command::new(binary()).args(arguments).args(files).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number in a line of the summary.
fn figure(summary: &str, name: &str) -> f64 {
    let line =
        summary.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {summary}"));
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn candidates() -> Vec<Value> {
    let responses = ["The circle is orange.", "The circle is purple.", "I like music."];
    vec![
        json!({ "id": "one", "question": "What colour is the circle?", "image": "scene.png", "responses": responses }),
        json!({ "id": 2, "prompt": "Describe the image.", "images": ["scene.png"], "responses": ["Bread.", "An orange circle."] }),
        json!({ "question": "Alone?", "responses": ["One."] }),
        json!({ "id": "lost", "question": "?", "image": "none.png", "responses": ["One.", "Two."], "other": [1] }),
    ]
}

#[test]
fn pairs_are_written_as_trainers_read_them() {
    let folder = folder(&candidates());
    let summary = gavel(folder.path(), &["prefer"]);
    assert_eq!((figure(&summary, "rows done "), figure(&summary, "rows left out")), (2.0, 2.0));
    let mut pairs = lines(folder.path(), "out.jsonl");
    pairs.sort_by_key(|pair| pair["id"].to_string());
    let text = |turn: &Value| turn[0]["content"][0]["text"].as_str().unwrap().to_owned();
    for (pair, row) in pairs.iter().zip([&candidates()[1], &candidates()[0]]) {
        let rewards: Vec<f64> = serde_json::from_value(pair["rewards"].clone()).unwrap();
        let best = (0..rewards.len()).max_by(|a, b| rewards[*a].total_cmp(&rewards[*b])).unwrap();
        let worst = (0..rewards.len()).min_by(|a, b| rewards[*a].total_cmp(&rewards[*b])).unwrap();
        assert_eq!(text(&pair["chosen"]), row["responses"][best].as_str().unwrap());
        assert_eq!(text(&pair["rejected"]), row["responses"][worst].as_str().unwrap());
        assert_eq!(pair["images"], json!(["scene.png"]));
        assert_eq!(pair["prompt"][0]["content"][0], json!({ "type": "image" }));
        assert!((pair["margin"].as_f64().unwrap() - (rewards[best] - rewards[worst])).abs() < 1e-12);
    }
    let left = lines(folder.path(), "out.jsonl.left-out.jsonl");
    let mut told: Vec<(&str, &str)> = left
        .iter()
        .map(|line| (line["id"].as_str().unwrap(), line["error"]["message"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    assert!(told[0].0 == "line-3" && told[0].1.contains("at least 2"), "{told:?}");
    assert!(told[1].0 == "lost" && told[1].1.contains("none.png"), "{told:?}");
}

#[test]
fn a_run_that_was_stopped_goes_on_and_loses_and_doubles_nothing() {
    let rows: Vec<Value> = (0..12)
        .map(|row| json!({ "id": format!("row {row}"), "question": "What is it?", "response": "x".repeat(row + 1) }))
        .collect();
    let folder = folder(&rows);
    gavel(folder.path(), &["judge", "--score-only"]);
    let whole = lines(folder.path(), "out.jsonl");
    assert_eq!(whole.len(), 12);
    assert!(whole.iter().all(|line| line["score"].is_number() && line["justification"] == ""));
    // As if it had been killed in the middle of its sixth line.
    let text = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let five: usize = text.split_inclusive('\n').take(5).map(str::len).sum();
    fs::write(folder.path().join("out.jsonl"), &text[..five + 20]).unwrap();
    let summary = gavel(folder.path(), &["judge", "--score-only"]);
    assert_eq!((figure(&summary, "rows done before"), figure(&summary, "rows done ")), (5.0, 7.0));
    let without_counts = |lines: Vec<Value>| {
        let mut lines: Vec<String> =
            lines.into_iter().map(|line| gavel_tests::uncounted(line).to_string()).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(without_counts(lines(folder.path(), "out.jsonl")), without_counts(whole));
    let again = gavel(folder.path(), &["judge", "--score-only"]);
    assert_eq!((figure(&again, "rows done before"), figure(&again, "rows done ")), (12.0, 0.0));
}

#[test]
fn plain_pairs_and_wrong_files() {
    let folder = folder(&candidates()[..1]);
    gavel(
        folder.path(),
        &["prefer", "--form", "llava-next", "--method", "pointwise", "--rubric", "accuracy"],
    );
    let pair = &lines(folder.path(), "out.jsonl")[0];
    assert_eq!(
        (&pair["image"], &pair["prompt"]),
        (&json!("scene.png"), &json!("What colour is the circle?"))
    );
    assert!(pair["chosen"].is_string() && pair["rejected"].is_string());

    let twice = crate::folder(&[candidates()[0].clone(), candidates()[0].clone()]);
    let arguments = ["prefer", "--input", "rows.jsonl", "--output", "out.jsonl"];
    let run = Command::new(binary()).args(arguments).current_dir(twice.path()).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && told.contains("line 2") && told.contains("twice"), "{told}");
}
