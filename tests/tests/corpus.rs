//! The corpus of bad input, in its short form, and that the harness detects a wrong answer.

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
fn every_row_of_the_plan_has_a_case_or_a_test_that_is_there_or_a_decision() {
    let text = fs::read_to_string(folder().join("plan/plan.toml")).unwrap();
    let plan: toml::Table = toml::from_str(&text).unwrap();
    let rows = plan["rows"].as_table().unwrap();
    let all: usize = rows.values().map(|count| count.as_integer().unwrap() as usize).sum();
    assert_eq!(all, 352);
    let known = |id: &str| {
        let (family, number) = id.rsplit_once('-').unwrap();
        let count = rows.get(family).and_then(toml::Value::as_integer).unwrap_or(0);
        number.len() == 2 && (1..=count).contains(&number.parse().unwrap())
    };
    let strings = |row: &toml::Value, key: &str| -> Vec<String> {
        let list = row.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for row in plan["row"].as_array().unwrap() {
        let (ids, tests) = (strings(row, "ids"), strings(row, "tests"));
        assert!(!ids.is_empty() && ids.iter().all(|id| known(id)), "{ids:?}");
        assert!(!tests.is_empty() || row.get("decided").is_some(), "{ids:?}");
        for test in tests {
            let (file, name) = test.split_once(": ").unwrap();
            let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let written = [format!("fn {name}("), format!("def {name}("), format!("test(\"{name}\"")];
            assert!(written.iter().any(|written| text.contains(written)), "{file} has no test {name}");
        }
    }
    // Rows that are not listed have a case in the corpus, which the command counts.
    let output = Command::new(binary())
        .args(["bench", "corpus"])
        .arg(folder())
        .args(["--short", "--only", "T-01"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("plan: 352 rows") && told.contains(" 0 open"), "{told}");
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
