//! Bad input of every kind, in its short form, and that the harness sees when something is wrong.

use std::{fs, path::Path, process::Command};

use gavel_tests::{binary, run_well};
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}

#[test]
fn the_first_request_of_every_case_is_answered_as_it_says_and_leaves_no_trace() {
    let scratch = tempfile::tempdir().unwrap();
    let figures = scratch.path().join("figures.json");
    let mut command = Command::new(binary());
    command.args(["bench", "corpus"]).arg(folder()).args(["--short", "--json"]).arg(&figures);
    run_well(&mut command, b"");
    let report: Value = serde_json::from_slice(&fs::read(figures).unwrap()).unwrap();
    let families = report["families"].as_object().unwrap();
    for family in ["H", "I", "J", "P", "R", "S", "T", "U", "X"] {
        let (cases, passed) = (&families[family]["cases"], &families[family]["passed"]);
        assert!(cases.as_u64().unwrap() > 5, "{family}: {cases} cases");
        assert_eq!(cases, passed, "{family}");
    }
    assert!(report["honest_requests"].as_u64().unwrap() > 4);
}

#[test]
fn a_wrong_answer_fails_the_run_and_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let case = "title = \"Wrong\"\n[[case]]\nid = \"Z-01\"\nwhat = \"what is right\"\nto = [\"chat\"]\nextra = [{ n = 1 }]\n\
                status = [400]\n";
    fs::write(scratch.path().join("wrong.toml"), case).unwrap();
    let output = Command::new(binary()).args(["bench", "corpus"]).arg(scratch.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("FAILED Z-01 (chat, extra 0): status 200 and not [400]"), "{text}");
}
