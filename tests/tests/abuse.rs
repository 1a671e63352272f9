//! Tests of `gavel bench abuse`: few abusive clients against short limits, and that the harness detects a faulty
//! server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use gavel_tests::{binary, run_well};
use serde_json::Value;

/// Runs these shapes of abuse; returns the report of each.
fn abuse(shapes: &[&str]) -> Vec<(String, Value)> {
    let scratch = tempfile::tempdir().unwrap();
    let figures = scratch.path().join("figures.json");
    let mut command = Command::new(binary());
    command.args(["bench", "abuse", "--short", "--only", &shapes.join(","), "--json"]).arg(&figures);
    run_well(&mut command, b"");
    let report: Value = serde_json::from_slice(&fs::read(figures).unwrap()).unwrap();
    assert!(report["honest_requests"].as_u64().unwrap() > 4, "{report}");
    let told: Vec<(String, Value)> = serde_json::from_value(report["shapes"].clone()).unwrap();
    assert_eq!(told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), shapes);
    told
}

fn count(shape: &Value, outcome: &str) -> u64 {
    shape["outcomes"][outcome].as_u64().unwrap_or(0)
}

#[test]
fn who_is_slow_or_asks_nothing_is_sent_away() {
    let [heads, bodies, idle, churn] =
        <[_; 4]>::try_from(abuse(&["slow-heads", "slow-bodies", "idle", "churn"])).unwrap();
    assert_eq!((count(&heads.1, "closed"), count(&bodies.1, "408"), count(&idle.1, "closed")), (60, 40, 60));
    assert!(heads.1["connections"].as_f64().unwrap() > 60.0, "all were there at a time: {}", heads.1);
    assert!(churn.1["figures"]["connections"]["least"].as_f64().unwrap() > 64.0, "{}", churn.1);
}

#[test]
fn who_leaves_or_does_not_read_or_vanishes_takes_nothing_along() {
    let [leaving, unread, vanishing] =
        <[_; 3]>::try_from(abuse(&["leaving", "unread", "vanishing"])).unwrap();
    assert_eq!(count(&leaving.1, "left"), 60);
    assert_eq!(count(&unread.1, "closed unread"), 12);
    assert_eq!(count(&unread.1, "read slowly") + count(&unread.1, "read to the end"), 12, "{}", unread.1);
    assert_eq!(count(&vanishing.1, "given up"), 30);
}

#[test]
fn a_flood_is_refused_and_a_neighbour_of_it_is_not() {
    let [burst, neighbour] = <[_; 2]>::try_from(abuse(&["burst", "neighbour"])).unwrap();
    for flood in [&burst.1, &neighbour.1] {
        assert!(count(flood, "judged") > 0 && count(flood, "429 rate_limit_exceeded") > 0, "{flood}");
    }
    assert!(count(&neighbour.1, "neighbour: judged") > 1, "{}", neighbour.1);
}

#[test]
fn who_guesses_keys_or_prompts_finds_out_nothing() {
    let [guesses, timing, peeking] = <[_; 3]>::try_from(abuse(&["guesses", "timing", "peeking"])).unwrap();
    let (unknown, too_many) = (count(&guesses.1, "401"), count(&guesses.1, "429"));
    assert_eq!(unknown + too_many, 160);
    // Sixty guesses are answered at once, and one more each second.
    assert!((60..160).contains(&unknown), "{}", guesses.1);
    assert!(timing.1["figures"]["t"]["least"].is_number(), "{}", timing.1);
    // The run fails if response times reveal another key's cached prompts, or do not reveal the client's own.
    assert_eq!(count(&peeking.1, "answered"), 80);
}

#[test]
fn very_many_are_served_one_after_another() {
    let told = abuse(&["crowd", "steady", "one-connection", "rewards"]);
    let [crowd, steady, one_connection, rewards] = <[_; 4]>::try_from(told).unwrap();
    assert_eq!(
        count(&crowd.1, "judged"),
        crowd.1["clients"].as_u64().unwrap(),
        "nobody is refused: {}",
        crowd.1
    );
    assert!(crowd.1["figures"]["least_judged_of_a_client"]["least"].as_f64().unwrap() >= 1.0, "{}", crowd.1);
    assert!(count(&steady.1, "judged") > 0 && count(&rewards.1, "rewarded") > 0);
    assert_eq!(count(&one_connection.1, "answered"), 2_000);
}

#[test]
fn large_requests_wait_for_their_turn() {
    let [long_prompts, long_line, large_pictures] =
        <[_; 3]>::try_from(abuse(&["long-prompts", "long-line", "large-images"])).unwrap();
    assert!(count(&long_prompts.1, "long answered") > 0 && count(&long_prompts.1, "short answered") > 1);
    assert_eq!((count(&long_line.1, "200"), count(&large_pictures.1, "200")), (40, 6));
}

#[test]
fn work_of_all_kinds_leaves_nothing_behind() {
    let [mixed] = <[_; 1]>::try_from(abuse(&["mixed"])).unwrap();
    for outcome in ["judged", "rewarded", "chatted", "refused", "left"] {
        assert!(count(&mixed.1, outcome) > 0, "{outcome}: {}", mixed.1);
    }
}

/// Runs this shape against a program, which must fail it; returns the report.
fn failing(shape: &str, script: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("program");
    fs::write(&program, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(binary())
        .args(["bench", "abuse", "--short", "--only", shape, "--program"])
        .arg(&program)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{text}");
    text
}

#[test]
fn a_server_that_does_otherwise_fails_the_run() {
    // The same program, started without its keys.
    let script = format!(
        "kept=()\nwhile (($#)); do\n  case $1 in\n    --keys-file) shift ;;\n    *) kept+=(\"$1\") ;;\n  esac\n  shift\n\
         done\nexec {:?} \"${{kept[@]}}\"",
        binary()
    );
    let text = failing("guesses", &script);
    assert!(text.contains("FAILED guesses: wrong keys came to {\"200\": 8}"), "{text}");
}

#[test]
fn a_server_that_leaks_fails_the_run() {
    // The same program, with a library that leaks a file or memory for each connection that it accepts.
    let scratch = tempfile::tempdir().unwrap();
    let (source, library) = (scratch.path().join("leak.c"), scratch.path().join("leak.so"));
    fs::write(&source, include_str!("abuse/leak.c")).unwrap();
    let mut compiler = Command::new("cc");
    run_well(compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source), b"");
    for (kept, finding) in [("files", "S6: "), ("memory", "S5: ")] {
        let script = format!("LEAK={kept} LD_PRELOAD={library:?} exec {:?} \"$@\"", binary());
        let text = failing("mixed", &script);
        assert!(text.contains(&format!("FAILED mixed: {finding}")), "{kept}: {text}");
    }
}
