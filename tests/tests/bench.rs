//! The benchmarks of the built binary, in sizes too small to measure anything: every request gets its verdict, and the
//! figures are complete. Speed is not tested.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use gavel_tests::{Server, binary, reference};
use serde_json::Value;

/// Runs a benchmark and returns its table and its figures.
fn bench(arguments: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output =
        Command::new(binary()).arg("bench").args(arguments).arg("--json").arg(&json).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    (String::from_utf8(output.stdout).unwrap(), figures)
}

/// Checks that every request of a phase got its verdict, and returns how many there were.
fn nothing_lost(phase: &Value) -> u64 {
    let sent = phase["sent"].as_u64().unwrap();
    assert_eq!((&phase["answered"], &phase["errors"]), (&sent.into(), &serde_json::json!({})), "{phase}");
    assert!(phase["throughput_per_s"].as_f64().unwrap() > 0.0, "{phase}");
    let latency = |name: &str| phase["latency"][name].as_f64().unwrap();
    assert!(0.0 < latency("p50_ms") && latency("p50_ms") <= latency("p99_ms"), "{phase}");
    assert!(latency("p99_ms") <= latency("max_ms"), "{phase}");
    sent
}

fn loaded(figures: &Value, rates: usize) {
    assert_eq!(figures["model"], "gavel-mini");
    let open_loop = figures["open_loop"].as_array().unwrap();
    assert_eq!(open_loop.len(), rates);
    for phase in open_loop.iter().chain([&figures["one_at_a_time"]]) {
        assert_eq!(nothing_lost(phase), 8);
        assert!(phase["samples"].as_array().unwrap().len() >= 2, "{phase}");
        assert!(phase["tokens"].as_u64().unwrap() > 0 && phase["steps"].as_u64().unwrap() > 0, "{phase}");
        assert!(phase["probe"]["p99_ms"].as_f64().unwrap() > 0.0, "{phase}");
        assert!(phase["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "{phase}");
    }
}

#[test]
fn load_starts_a_server_or_takes_a_running_one() {
    let small = ["load", "--requests", "8", "--max-tokens", "8"];
    let (table, own) = bench(&[&small[..], &["--rates", "20,200"]].concat());
    loaded(&own, 2);
    assert_eq!(table.lines().count(), 2 + 3, "{table}");

    let server = Server::with_options(&[]);
    let url = format!("http://{}", server.address());
    let (_, running) = bench(&[&small[..], &["--url", &url, "--seed", "2"]].concat());
    loaded(&running, 4);
    assert!(server.engine("tokens") > 0, "the running server did the work");
}

#[test]
fn overhead_gets_an_answer_to_every_request() {
    for mode in [&["--mode", "score"][..], &[]] {
        let small = ["overhead", "--clients", "4", "--seconds", "1"];
        let (table, figures) = bench(&[&small[..], mode].concat());
        let clients = |phase: &str| nothing_lost(&figures[phase]);
        assert!(clients("one_client") > 0 && clients("closed_loop") > 4 && clients("paced") > 0);
        assert!(figures["closed_loop"]["service"]["p99_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(table.lines().count(), 2 + 3, "{table}");
    }
}

#[test]
fn sharing_counts_what_is_computed() {
    let (table, figures) = bench(&["sharing", "--responses", "3,4"]);
    let round_robins = figures["round_robins"].as_array().unwrap();
    assert_eq!((round_robins.len(), table.lines().count()), (2, 1 + 2), "{table}");
    for (result, requests) in round_robins.iter().zip([6, 12]) {
        assert_eq!(result["requests"], requests);
        let tokens = |name: &str| result[name].as_u64().unwrap();
        assert_eq!(tokens("computed_tokens") + tokens("cached_tokens"), tokens("asked_tokens"), "{result}");
        assert!(tokens("distinct_tokens") <= tokens("computed_tokens"), "{result}");
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for arguments in [
        &["load", "--requests", "0"][..],
        &["load", "--rates", "0"],
        &["load", "--url", "127.0.0.1:1"],
        &["load", "--url", "http://127.0.0.1:1", "--model", "x"],
        &["overhead", "--clients", "0"],
        &["overhead", "--seconds=-1"],
        &["sharing", "--responses", "1"],
        &["compare", "--parts", "everything"],
        &["compare", "--model", "/no/such/folder", "--offline"],
    ] {
        let output = Command::new(binary()).arg("bench").args(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

/// The sections of a comparison by their titles, each with figures that are complete.
fn sections(figures: &Value) -> Vec<&str> {
    let sections = figures["sections"].as_array().unwrap();
    for figure in sections.iter().flat_map(|section| section["figures"].as_array().unwrap()) {
        let [lowest, highest] = [0, 1].map(|end| figure["spread"][end].as_f64().unwrap());
        let median = figure["median"].as_f64().unwrap();
        assert!(0.0 < lowest && lowest <= median && median <= highest, "{figure}");
        assert!(!figure["samples"].as_array().unwrap().is_empty(), "{figure}");
    }
    sections.iter().map(|section| section["title"].as_str().unwrap()).collect()
}

#[test]
fn compare_measures_gavel_and_names_the_peers_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (markdown, plots) = (folder.path().join("tables.md"), folder.path().join("plots"));
    let (document, curves) = (markdown.to_string_lossy(), plots.to_string_lossy());
    let (table, figures) = bench(&[
        "compare",
        "--quick",
        "--markdown",
        &document,
        "--plots",
        &curves,
        "--llama-server",
        "/no/such",
    ]);
    assert_eq!((&figures["model"], &figures["programs"][0]["name"]), (&"gavel-mini".into(), &"Gavel".into()));
    let skipped: Vec<_> = figures["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| skipped["what"].as_str().unwrap())
        .collect();
    for peer in ["transformers", "llama.cpp", "mistral.rs"] {
        assert!(skipped.iter().any(|what| what.contains(peer)), "{peer} in {skipped:?}");
        let told = |line: &str| line.starts_with("Not measured: ") && line.contains(peer);
        assert!(table.lines().any(told), "{table}");
    }
    for limits in [&figures["limits_before"], &figures["limits_after"]] {
        assert!(limits["reading_gb_per_s"].as_f64().unwrap() > 0.0, "{limits}");
        assert!(limits["arithmetic_gflops"].as_f64().unwrap() > 0.0, "{limits}");
    }
    let text = fs::read_to_string(&markdown).unwrap();
    let titles = sections(&figures);
    assert!(titles.len() >= 10, "{titles:?}");
    for title in titles {
        assert!(table.contains(title) && text.contains(&format!("## {title}\n")), "{title}");
    }
    let curves: Vec<_> = fs::read_dir(plots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(curves.len(), 3, "{curves:?}");
    for curve in curves {
        assert!(text.contains(&format!("(plots/{})", curve.to_str().unwrap())), "{text}");
    }
}

#[test]
fn steps_are_timed_beside_their_limits() {
    let (table, figures) = bench(&["steps", "--quick", "--device", "cpu"]);
    let settings: Vec<_> = figures["figures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|figure| {
            assert!(figure["median_ms"].as_f64().unwrap() > 0.0, "{figure}");
            assert!(figure["share"].as_f64().unwrap() > 0.0, "{figure}");
            (figure["kind"].as_str().unwrap(), figure["setting"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("decode", "1 x 1 after 64"),
        ("decode", "2 x 1 after 64"),
        ("prefill", "1 x 128 after 0"),
        ("images", "1 tiles"),
    ];
    assert_eq!(settings, expected, "{table}");
    assert_eq!(figures.get("failures"), None, "{figures}");
}

/// A peer that reports the log-probability -1000 for every label, and does nothing else.
const PEER: &str = r#"#!/usr/bin/env python3
import json, sys
print(json.dumps({"version": "0"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "judge" and request["write"] == 0:
        labels = [[-1000.0] * len(request["labels"]) for _ in request["prompts"]]
        answer = {"seconds": 1.0, "prompt_tokens": 1, "written_tokens": 0, "labels": labels}
    else:
        answer = {"error": "it judges alone"}
    print(json.dumps(answer), flush=True)
"#;

#[test]
fn compare_tells_how_far_verdicts_are_from_those_of_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let peer = folder.path().join("peer");
    fs::write(&peer, PEER).unwrap();
    fs::set_permissions(&peer, fs::Permissions::from_mode(0o755)).unwrap();
    let model = reference().join("models/tiny56");
    let (model, peer) = (model.to_string_lossy(), peer.to_string_lossy());
    let (table, figures) =
        bench(&["compare", "--quick", "--parts", "reward", "--model", &model, "--python", &peer]);
    let sections = figures["sections"].as_array().unwrap();
    let agreement = |end: &str| {
        let section = sections.iter().find(|section| section["title"].as_str().unwrap().ends_with(end));
        section.unwrap_or_else(|| panic!("no {end} in {figures}"))["agreement"].clone()
    };
    let alone = agreement("verdicts alone");
    // Two ordered pairs, each with the labels 1, 2 and tie, which are more probable than the peer reports.
    assert_eq!(alone["labels"], 6, "{alone}");
    let [largest, mean] = ["largest", "mean"].map(|name| alone[name].as_f64().unwrap());
    assert!(mean > 900.0 && (mean..1000.0).contains(&largest), "{alone}");
    assert!(table.contains("Log-probabilities of 6 labels differ from those of transformers by "), "{table}");
    assert_eq!(agreement("verdicts with reasons"), Value::Null);
    assert!(table.contains("(transformers: it judges alone)"), "{table}");
}

#[test]
fn compare_measures_only_the_parts_that_are_named() {
    let (_, figures) = bench(&["compare", "--quick", "--parts", "startup"]);
    assert_eq!(sections(&figures).len(), 2);
    assert_eq!(figures["skipped"], serde_json::json!([]), "no peer would take part");
}
