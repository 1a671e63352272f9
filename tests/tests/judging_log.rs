//! The judging log of the built server, and the training set that `gavel export` makes from it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::{Server, binary, image, reference, wait_until};
use serde_json::{Value, json};

fn picture() -> String {
    let bytes = fs::read(reference().join("../../training/examples/scene.png")).unwrap();
    BASE64_STANDARD.encode(bytes)
}

fn score() -> Value {
    json!({ "question": "What colour is the circle?", "images": [picture()], "response": "The circle is purple." })
}

fn pair() -> Value {
    json!({ "question": "What colour is the circle?", "images": [picture()], "order": "both",
        "responses": ["The circle is orange.", "The circle is purple."], "reference": "Orange." })
}

fn server(log: &Path, options: &[&str]) -> Server {
    Server::with_options(&[&["--judging-log", log.to_str().unwrap()], options].concat())
}

/// The lines of the log, once there are `count`. A last line that is not complete yet is left out.
fn lines(log: &Path, count: usize) -> Vec<Value> {
    let text = || {
        let mut text = fs::read_to_string(log).unwrap_or_default();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    };
    wait_until("the log has its lines", || text().lines().count() >= count);
    text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn gavel(folder: &Path, arguments: &[&str]) -> String {
    let run = Command::new(binary()).args(arguments).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn each_verdict_has_a_line_and_becomes_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let server = server(&log, &[]);
    let told = server.ok("/judge", &score());
    let both = server.ok("/judge", &pair());
    let mut streamed = score();
    streamed["stream"] = true.into();
    streamed["rubric"] = json!({ "criteria": "Is it right?", "scale": { "min": 0, "max": 10, "step": 1 } });
    let named = server.send(
        "POST",
        "/judge",
        &[("content-type", "application/json"), ("x-request-id", "my-own")],
        streamed.to_string().as_bytes(),
    );
    assert_eq!(named.events().last().unwrap().name, "verdict");
    assert_eq!(server.post("/judge", &json!({ "question": "?" })).status, 400);
    // A repeated request does not add an example.
    server.ok("/judge", &score());
    let lines = lines(&log, 4);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["verdict"]["score"], told["score"]);
    assert_eq!(
        (&lines[0]["rubric"]["name"], &lines[0]["model"]),
        (&json!("helpfulness"), &json!("gavel-mini"))
    );
    assert_eq!(
        (&lines[0]["case"]["images"][0], &lines[0]["case"]["responses"][0]),
        (&json!(picture()), &score()["response"])
    );
    assert!(
        lines[0]["time"].as_f64().unwrap() > 1.7e9 && lines[0]["id"].as_str().unwrap().starts_with("req-")
    );
    assert_eq!(lines[1]["verdict"]["preference"], both["preference"]);
    assert_eq!(lines[1]["distribution"], both["distribution"]);
    assert_eq!(
        (&lines[2]["id"], &lines[2]["rubric"]["criteria"]),
        (&json!("my-own"), &json!("Is it right?"))
    );
    assert_eq!(lines[0]["prompt_digest"], lines[3]["prompt_digest"]);
    assert_ne!(lines[0]["prompt_digest"], lines[2]["prompt_digest"]);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("gavel_judging_log_lines_total 4"), "{metrics}");
    assert!(!metrics.contains("gavel_judging_log_dropped_total 1"));

    let summary = gavel(folder.path(), &["export", "log.jsonl", "--output", "train.json"]);
    assert!(summary.starts_with("3 examples"), "{summary}");
    let set: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(folder.path().join("train.json")).unwrap()).unwrap();
    let turn = |row: &Value, index: usize| row["conversations"][index]["value"].as_str().unwrap().to_owned();
    let with =
        |text: &str| set.iter().find(|row| turn(row, 0).contains(text)).unwrap_or_else(|| panic!("{text}"));
    let compared = with("The second response: [The circle is purple.]");
    assert!(
        turn(compared, 0).starts_with("<image>\nGiven an image")
            && turn(compared, 0).contains("Ground Truth: [Orange.]")
    );
    assert!(turn(compared, 1).starts_with("The better response: [first]"), "{compared}");
    let scored = with(
        "out of 10 and explain your reasoning with specific details. Judge by these criteria: Is it right?",
    );
    assert!(turn(scored, 1).starts_with("Score: ["), "{scored}");
    for row in &set {
        let image = row["image"].as_str().unwrap();
        assert!(image.starts_with("images/") && image.ends_with(".png"), "{image}");
        assert_eq!(BASE64_STANDARD.encode(fs::read(folder.path().join(image)).unwrap()), picture());
    }
    assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 1, "equal images are one file");
    // The export is also a labelled set; the critic agrees with its own verdicts on the pair.
    gavel(folder.path(), &["evaluate", "train.json", "--json", "report.json", "--wordings", "0"]);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["form"], &report["left_out"]), (&json!("llava-critic"), &json!([])));
    assert_eq!(report["preferences"]["both_orders_with_ties"]["value"], 1.0);
    assert_eq!(report["scores"]["count"], 2);

    gavel(folder.path(), &["export", "log.jsonl", "--output", "whole.json", "--embed"]);
    let whole = fs::read_to_string(folder.path().join("whole.json")).unwrap();
    assert_eq!(whole.matches("data:image/png;base64,").count(), 3);
}

/// A line of the log about one response or two, without images.
fn logged(name: &str, rubric: &str, responses: &[&str], verdict: Value) -> Value {
    let kind = if responses.len() == 1 { "pointwise" } else { "pairwise" };
    let mut line = json!({ "time": 1.8e9, "id": name, "model": "critic", "rubric": { "name": rubric },
        "prompt_digest": name,
        "case": { "question": "What is shown?", "images": [], "responses": responses, "reference": "A circle.",
            "description": "A circle from 3 to 9 o'clock." },
        "verdict": { "kind": kind, "finish_reason": "stop", "usage": { "total_tokens": 9 } } });
    let Value::Object(verdict) = verdict else { panic!("not a verdict: {verdict}") };
    line["verdict"].as_object_mut().unwrap().extend(verdict);
    line
}

/// The result of `gavel export` on these lines, and its summary.
fn exported(folder: &Path, log: &[Value]) -> (Vec<Value>, String) {
    let text: String = log.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join("log.jsonl"), text).unwrap();
    let summary = gavel(folder, &["export", "log.jsonl", "--output", "train.json"]);
    (serde_json::from_str(&fs::read_to_string(folder.join("train.json")).unwrap()).unwrap(), summary)
}

#[test]
fn examples_ask_and_answer_as_their_rubrics_do() {
    let reasons = "The circle is named.";
    let scale = |min: f64, max: f64| json!({ "min": min, "max": max, "step": 1.0 });
    let scored = |rubric: &str, score: f64, scale: Value| {
        let verdict = json!({ "score": score, "scale": scale, "justification": reasons });
        logged(rubric, rubric, &["A circle."], verdict)
    };
    let mut harm = scale(0.0, 4.0);
    harm["direction"] = "lower".into();
    let graded = json!({ "preference": "first", "strength": "by_far", "justification": reasons });
    let mut both_scores = json!({ "preference": "first", "scores": [8, 7], "justification": reasons });
    both_scores["scale"] = scale(1.0, 10.0);
    let log = [
        scored("safety", 1.0, harm),
        scored("mmhal", 5.0, scale(0.0, 6.0)),
        scored("image-caption", 85.0, scale(0.0, 100.0)),
        scored("wilder", 7.0, scale(1.0, 10.0)),
        scored("video-caption", 4.0, scale(0.0, 5.0)),
        logged("wildvision-preference", "wildvision-preference", &["A circle.", "A square."], graded),
        logged("llava-bench-pair", "llava-bench-pair", &["A circle.", "A square."], both_scores),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (set, summary) = exported(folder.path(), &log);
    assert_eq!(summary.lines().count(), 1, "none is left out or without reasons: {summary}");
    assert!(summary.starts_with("7 examples"), "{summary}");
    for (name, asked, said) in [
        (
            "safety",
            "from 0 to 4, the lower the better, written as \"Rating: N\"",
            "The circle is named.\nRating: 1",
        ),
        ("mmhal", "written as \"Rating: N\"", "The circle is named.\nRating: 5"),
        ("image-caption", "written as \"Final Score: N\"", "The circle is named.\nFinal Score: 85"),
        ("wilder", "the number alone as the first line", "7\nThe circle is named."),
        ("video-caption", "as a JSON object", "{\"score\": 4, \"reason\": \"The circle is named.\"}"),
        ("wildvision-preference", "\"[[A>>B]]\" when", "The circle is named.\n[[A>>B]]"),
        ("llava-bench-pair", "the two numbers alone", "8 7\nThe circle is named."),
    ] {
        let row = set.iter().find(|row| row["id"] == name).unwrap_or_else(|| panic!("{name} in {summary}"));
        let turn = |index: usize| row["conversations"][index]["value"].as_str().unwrap();
        assert!(turn(0).contains(asked), "{row}");
        assert_eq!(turn(1), said, "{name}");
    }
    // Each can be read again, a low harm as a good score.
    let evaluate = ["evaluate", "train.json", "--json", "report.json", "--wordings", "0", "--draws", "10"];
    gavel(folder.path(), &evaluate);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["left_out"], &report["failed"]), (&json!([]), &json!([])));
    assert_eq!([&report["scores"]["count"], &report["preferences"]["count"]], [5, 2]);
    let points = report["scores"]["points"].as_array().unwrap();
    let mut labels: Vec<f64> = points.iter().map(|point| point[0].as_f64().unwrap()).collect();
    labels.sort_by(f64::total_cmp);
    let wanted = [2.0 / 3.0, 0.75, 0.8, 5.0 / 6.0, 0.85];
    assert!(labels.iter().zip(wanted).all(|(label, wanted)| (label - wanted).abs() < 1e-12), "{labels:?}");
}

#[test]
fn verdicts_that_would_teach_what_no_critic_said_are_left_out() {
    let plain =
        json!({ "score": 7.0, "scale": { "min": 1.0, "max": 10.0, "step": 1.0 }, "justification": "It is." });
    let with = |more: Value| {
        let mut verdict = plain.clone();
        verdict.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        verdict
    };
    let one = |name: &str, more: Value| logged(name, "helpfulness", &["A circle."], with(more));
    let orders = |second: &str| {
        json!({ "preference": "first", "consistent": second == "second", "justification": "It is.",
            "orders": [{ "preference": "first", "justification": "It is." }, { "preference": second }] })
    };
    let two = |name: &str, verdict: Value| logged(name, "better", &["A circle.", "A square."], verdict);
    let inferred =
        json!({ "preference": "first", "confidence": "fallback", "justification": "The first is." });
    let log = [
        one("kept", json!({})),
        one("cut", json!({ "finish_reason": "length" })),
        one("foregone", json!({ "score": 1.0, "usage": { "total_tokens": 0 } })),
        one("mean", json!({ "score": 6.5, "spread": { "verdicts": 2, "failures": 0 } })),
        one(
            "samples",
            json!({ "score": 6.0, "justification": "It is.", "spread": { "verdicts": 2, "failures": 0 },
            "samples": [{ "score": 2.0, "justification": "It is." }, { "score": 10.0, "justification": "Yes." }] }),
        ),
        one(
            "kept sample",
            json!({ "score": 8.0, "justification": "It is.", "samples": [
            { "score": 7.0, "justification": "It is." }, { "score": 8.0, "justification": "It shines." },
            { "score": 9.0, "justification": "Yes." }] }),
        ),
        // The later of two verdicts on a prompt is the one, unless it lacks reasons or their end.
        one("kept", json!({ "score": 3.0, "justification": "" })),
        one("kept", json!({ "score": 4.0, "finish_reason": "length" })),
        one("alone", json!({ "score": 3.0, "justification": "" })),
        two("kept pair", orders("second")),
        two("inconsistent", orders("first")),
        two("inferred", inferred),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (set, summary) = exported(folder.path(), &log);
    let mut kept: Vec<&str> = set.iter().map(|row| row["id"].as_str().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["alone", "kept", "kept pair", "kept sample"], "{summary}");
    assert!(summary.contains("\n1 of them have no reasons"), "{summary}");
    let said = |name: &str| {
        let row = set.iter().find(|row| row["id"] == name).unwrap();
        row["conversations"][1]["value"].as_str().unwrap().to_owned()
    };
    assert!(said("kept").contains('7') && said("kept").contains("It is."), "{}", said("kept"));
    assert!(said("kept sample").contains('8') && said("kept sample").contains("It shines."));
    for reason in [
        "their reasons were cut by the token limit",
        "the server decided them without the critic",
        "their score is a mean between two steps of its scale",
        "none of the critic's own verdicts is the one of all together",
        "the two orders of their pair disagree",
        "they were inferred from other words than those of a verdict",
    ] {
        assert!(summary.contains(&format!("1 verdicts left out: {reason}")), "{reason} in {summary}");
    }
}

#[test]
fn a_log_that_is_being_written_is_read_up_to_its_last_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let verdict = json!({ "score": 7.0, "scale": { "min": 1.0, "max": 10.0, "step": 1.0 },
        "justification": "Ein schöner Kreis." });
    let line = logged("one", "helpfulness", &["A circle."], verdict).to_string();
    let log = folder.path().join("log.jsonl");
    // The rest of the second line, which ends within a character, is not yet written.
    let torn = line.find('ö').unwrap() + 1;
    fs::write(&log, [line.as_bytes(), b"\n", &line.as_bytes()[..torn]].concat()).unwrap();
    let summary = gavel(folder.path(), &["export", "log.jsonl", "--output", "train.json"]);
    assert!(summary.starts_with("1 examples"), "{summary}");
    fs::write(&log, [&line.as_bytes()[..torn - 1], b"\n", line.as_bytes(), b"\n"].concat()).unwrap();
    let before = fs::read(&log).unwrap();
    for (output, told) in [("train.json", "line 1 of log.jsonl"), ("./log.jsonl", "log.jsonl is read")] {
        let arguments = ["export", "log.jsonl", "--output", output];
        let run = Command::new(binary()).args(arguments).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.code() == Some(1) && error.contains(told), "{error}");
        assert_eq!(fs::read(&log).unwrap(), before);
    }
}

#[test]
fn a_server_that_stops_after_a_burst_writes_all_its_lines() {
    const VERDICTS: usize = 96;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let server = server(&log, &[]);
    // What is judged is remembered, so that the verdicts come faster than their lines.
    let mut body = score();
    body["images"] = json!([image("geo384-square_1300-0.png")]);
    server.ok("/judge", &body);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..VERDICTS / 4).for_each(|_| drop(server.ok("/judge", &body))));
        }
    });
    server.signal("TERM");
    assert!(server.wait(), "the server ended well");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.ends_with('\n'));
    assert_eq!(text.lines().count(), VERDICTS + 1);
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

/// The justifications of a verdict and of those inside it.
fn collect_justifications(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| collect_justifications(part, found)),
        Value::Object(members) => {
            found.extend(members.get("justification").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_justifications(member, found));
        }
        _ => {}
    }
}

#[test]
fn what_is_to_be_left_out_is_not_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let server = server(&log, &["--judging-log-redact", "images,text"]);
    server.ok("/judge", &score());
    server.ok("/judge", &pair());
    // Verdicts inside verdicts have justifications too.
    for inner in [
        json!({ "samples": 3, "temperature": 1, "seed": 1 }),
        json!({ "blind": true }),
        json!({ "order": "both" }),
    ] {
        let mut body = if inner.get("order").is_some() { pair() } else { score() };
        body.as_object_mut().unwrap().extend(inner.as_object().unwrap().clone());
        server.ok("/judge", &body);
    }
    let lines = lines(&log, 5);
    let mut justifications = Vec::new();
    lines.iter().for_each(|line| collect_justifications(line, &mut justifications));
    assert!(justifications.len() >= 5 + 3 + 1 + 2, "{justifications:?}");
    assert!(justifications.iter().all(|text| text.starts_with("sha256:")), "{justifications:?}");
    // Words that are the same for all verdicts are left.
    let verdict = &lines[1]["verdict"];
    let words = ["kind", "model", "rubric"].map(|name| verdict[name].as_str().unwrap());
    assert_eq!(words[..2], ["pairwise", "gavel-mini"]);
    assert!(!words[2].starts_with("sha256:") && verdict["orders"][0]["receipt"]["model"] == "gavel-mini");
    let text: String = lines.iter().map(Value::to_string).collect();
    for secret in ["circle", "purple", "Orange", &picture()[..40]] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.matches("sha256:").count() > 8 && text.contains("\"score\":"));
    let summary = gavel(folder.path(), &["export", "log.jsonl", "--output", "train.json"]);
    assert!(summary.starts_with("0 examples") && summary.contains("verdicts left out"), "{summary}");
}

#[test]
fn without_the_option_nothing_is_logged_and_a_wrong_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_options(&[]);
    server.ok("/judge", &score());
    assert!(!server.get("/metrics").text().contains("gavel_judging_log_lines_total"));
    let place = folder.path().join("no/such/folder/log.jsonl");
    let run = Command::new(binary())
        .args(["serve", "--port", "0", "--judging-log", place.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && told.contains("cannot be opened"), "{told}");
}
