//! `gavel prefer` and `gavel judge --input` on files: what they write, and how they continue after an interruption.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with the README's image and `rows` as a file.
fn folder(rows: &[Value]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let picture = gavel_tests::reference().join("../../training/examples/scene.png");
    fs::copy(picture, folder.path().join("scene.png")).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.path().join("rows.jsonl"), lines).unwrap();
    folder
}

/// Runs `gavel` on the rows in `folder`.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let files = ["--input", "rows.jsonl", "--output", "out.jsonl"];
    Command::new(binary()).args(arguments).args(files).current_dir(folder).output().unwrap()
}

/// Runs `gavel` on rows that must all succeed; returns its standard output.
fn gavel(folder: &Path, arguments: &[&str]) -> String {
    let run = run(folder, arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Runs `gavel` on rows of which some fail; returns its standard output and its standard error.
fn failing(folder: &Path, arguments: &[&str]) -> (String, String) {
    let run = run(folder, arguments);
    assert_eq!(run.status.code(), Some(1));
    (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
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
    let (summary, told) = failing(folder.path(), &["prefer"]);
    let counts = ["rows done ", "rows that failed", "rows without a pair"].map(|name| figure(&summary, name));
    assert_eq!(counts, [2.0, 2.0, 0.0]);
    assert!(told.contains("2 of 4 rows failed") && told.contains("out.jsonl.left-out.jsonl"), "{told}");
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
fn paths_of_images_in_pairs_lead_to_them_from_the_outputs_folder() {
    let folder = folder(&candidates()[..1]);
    for name in ["out", "rows"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["rows.jsonl", "scene.png"] {
        fs::rename(folder.path().join(name), folder.path().join("rows").join(name)).unwrap();
    }
    // Beside the rows, above them, and in another folder, from which the path has to be absolute.
    for (output, relative) in [
        ("rows/out.jsonl", Some("scene.png")),
        ("out.jsonl", Some("rows/scene.png")),
        ("out/out.jsonl", None),
    ] {
        let arguments = ["prefer", "--input", "rows/rows.jsonl", "--output", output];
        let run = Command::new(binary()).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let image = lines(folder.path(), output)[0]["images"][0].as_str().unwrap().to_owned();
        match relative {
            Some(relative) => assert_eq!(image, relative),
            None => assert!(Path::new(&image).is_absolute(), "{image}"),
        }
        assert!(folder.path().join(output).parent().unwrap().join(&image).is_file(), "{image}");
    }
}

#[test]
fn a_run_with_other_options_does_not_continue_the_output() {
    let folder = folder(&candidates()[..2]);
    let first = gavel(folder.path(), &["prefer", "--method", "pointwise"]);
    let before = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    for (arguments, told) in [
        (
            &["prefer", "--method", "pointwise", "--form", "llava-next"][..],
            "out.jsonl was made with --form trl;",
        ),
        (&["prefer", "--method", "pointwise", "--rubric", "accuracy"], "made with no --rubric;"),
        (&["prefer"], "made with --method pointwise;"),
        (&["judge", "--score-only"], "made with `gavel prefer`;"),
    ] {
        let (_, error) = failing(folder.path(), arguments);
        assert!(error.contains(told), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("out.jsonl")).unwrap(), before);
    }
    let summary = gavel(folder.path(), &["prefer", "--method", "pointwise"]);
    assert_eq!(figure(&summary, "rows done "), 0.0);
    assert_eq!(figure(&summary, "mean margin"), figure(&first, "mean margin"), "of all pairs in the output");
    for name in ["out.jsonl", "out.jsonl.left-out.jsonl"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    gavel(folder.path(), &["prefer", "--method", "pointwise", "--form", "llava-next"]);
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
    let mean = whole.iter().map(|line| line["score"].as_f64().unwrap()).sum::<f64>() / 12.0;
    assert!((figure(&summary, "mean score") - mean).abs() < 0.001, "of all rows in the output: {summary}");
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
        (&pair["image"], &pair["prompt"], &pair["answer"]),
        (&json!("scene.png"), &json!("What colour is the circle?"), &json!(""))
    );
    assert!(pair["chosen"].is_string() && pair["rejected"].is_string());

    let twice = crate::folder(&[candidates()[0].clone(), candidates()[0].clone()]);
    let arguments = ["prefer", "--input", "rows.jsonl", "--output", "out.jsonl"];
    let run = Command::new(binary()).args(arguments).current_dir(twice.path()).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && told.contains("line 2") && told.contains("twice"), "{told}");
}

#[test]
fn pairs_without_a_place_for_what_they_are_about_are_left_out() {
    let responses = ["The circle is orange.", "The circle is purple."];
    let row = |id: &str, images: &[&str], frames: &[&str]| {
        let question = "What colour is the circle?";
        json!({ "id": id, "question": question, "images": images, "frames": frames, "responses": responses })
    };
    let rows = [
        row("one", &["scene.png"], &[]),
        row("two", &["scene.png", "scene.png"], &[]),
        row("video", &[], &["scene.png", "scene.png"]),
        row("text", &[], &[]),
    ];
    for (form, reasons) in [
        ("trl", &[("video", "about a video")][..]),
        ("llava-next", &[("two", "has 2 images"), ("video", "about a video"), ("text", "has no image")]),
    ] {
        let folder = folder(&rows);
        failing(folder.path(), &["prefer", "--form", form, "--method", "pointwise"]);
        assert!(lines(folder.path(), "out.jsonl").iter().any(|line| line["id"] == "one"), "{form}");
        let mut refused = lines(folder.path(), "out.jsonl.left-out.jsonl");
        // Two responses may also be equally good.
        refused.retain(|line| line.get("error").is_some());
        assert_eq!(refused.len(), reasons.len(), "{refused:?}");
        for (id, reason) in reasons {
            let line = refused.iter().find(|line| line["id"] == *id).unwrap();
            assert!(line["error"]["message"].as_str().unwrap().contains(*reason), "{line}");
        }
    }
}

#[test]
fn images_inside_rows_become_files_beside_their_pairs() {
    let bytes = fs::read(gavel_tests::reference().join("../../training/examples/scene.png")).unwrap();
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(&bytes));
    let mut rows = [candidates()[0].clone(), candidates()[0].clone()];
    for (index, row) in rows.iter_mut().enumerate() {
        row["image"] = url.as_str().into();
        row["id"] = index.into();
        row["reference"] = "Orange.".into();
    }
    for (form, image) in [("trl", "/images/0"), ("llava-next", "/image")] {
        let folder = folder(&rows);
        gavel(folder.path(), &["prefer", "--form", form, "--method", "pointwise"]);
        let pairs = lines(folder.path(), "out.jsonl");
        assert_eq!(pairs.len(), 2);
        for pair in pairs {
            let path = pair.pointer(image).unwrap().as_str().unwrap();
            assert_eq!(fs::read(folder.path().join(path)).unwrap(), bytes, "{path}");
            assert!(form == "trl" || pair["answer"] == "Orange.", "{pair}");
        }
        let files = fs::read_dir(folder.path().join("images")).unwrap();
        assert_eq!(files.count(), 1, "equal images are one file");
    }
}

#[test]
fn files_are_read_as_other_programs_write_them() {
    // A byte order mark and carriage returns, null for missing columns, and half of a surrogate pair.
    let rows = "\u{feff}{\"id\": \"null\", \"question\": \"?\", \"image\": null, \"images\": null, \"frames\": null, \
                \"response\": \"One.\", \"responses\": null, \"reference\": null}\r\n\
                {\"id\": \"half\", \"question\": \"? \\ud800\", \"response\": \"One.\"}\r\n";
    let folder = folder(&[]);
    fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    gavel(folder.path(), &["judge", "--score-only"]);
    assert_eq!(lines(folder.path(), "out.jsonl").len(), 2);
    fs::write(folder.path().join("rows.jsonl"), b"\n{\"id\": \"latin\", \"question\": \"\xe4\"}\n").unwrap();
    let (_, told) = failing(folder.path(), &["judge"]);
    assert!(told.contains("line 2 of rows.jsonl is not UTF-8"), "{told}");
}

#[test]
fn rows_are_not_overwritten_by_their_results() {
    let folder = folder(&candidates()[..2]);
    // Without the end of its last line, as an output that was being written.
    let rows = fs::read_to_string(folder.path().join("rows.jsonl")).unwrap();
    fs::write(folder.path().join("rows.jsonl"), rows.trim_end()).unwrap();
    for (command, output) in [("judge", "./rows.jsonl"), ("prefer", "rows.jsonl")] {
        let arguments = [command, "--input", "rows.jsonl", "--output", output];
        let run = Command::new(binary()).args(arguments).current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.code() == Some(1) && told.contains("rows.jsonl is read, and cannot"), "{told}");
        assert_eq!(fs::read_to_string(folder.path().join("rows.jsonl")).unwrap(), rows.trim_end());
    }
    assert!(!folder.path().join("rows.jsonl.left-out.jsonl").exists());
}

#[test]
fn a_row_with_other_content_is_not_taken_for_the_one_that_was_done() {
    let mut rows = [candidates()[0].clone(), candidates()[3].clone()];
    let folder = folder(&rows);
    let write = |rows: &[Value]| {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(folder.path().join("rows.jsonl"), lines).unwrap();
    };
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    failing(folder.path(), &["prefer", "--method", "pointwise"]);
    let files = ["out.jsonl", "out.jsonl.left-out.jsonl"];
    let before = files.map(read);
    // The next round has other responses to the same questions.
    rows[0]["responses"] = json!(["Blue.", "The circle is orange."]);
    write(&rows);
    let (_, told) = failing(folder.path(), &["prefer", "--method", "pointwise"]);
    assert!(told.contains("out.jsonl has a result of another row with the id \"one\""), "{told}");
    assert_eq!(files.map(read), before, "a run that is refused changes nothing");
    // What has no effect may change, and a row that failed may be another.
    rows[0] = candidates()[0].clone();
    rows[0]["note"] = json!("checked");
    rows[1] = candidates()[0].clone();
    rows[1]["id"] = json!("lost");
    write(&rows);
    let summary = gavel(folder.path(), &["prefer", "--method", "pointwise"]);
    assert_eq!((figure(&summary, "rows done before"), figure(&summary, "rows done ")), (1.0, 1.0));
}

#[test]
fn two_runs_do_not_write_one_output() {
    let folder = folder(&candidates()[..1]);
    let other = fs::File::create(folder.path().join("out.jsonl")).unwrap();
    other.lock().unwrap();
    let (_, told) = failing(folder.path(), &["prefer", "--method", "pointwise"]);
    assert!(told.contains("another run is writing out.jsonl"), "{told}");
    other.unlock().unwrap();
    gavel(folder.path(), &["prefer", "--method", "pointwise"]);
    assert_eq!(lines(folder.path(), "out.jsonl").len(), 1);
}

#[test]
fn rows_that_failed_are_tried_again_and_are_done_once() {
    let row = |id: &str, image: &str| json!({ "id": id, "question": "What is it?", "image": image, "response": "A circle." });
    let folder = folder(&[row("one", "scene.png"), row("two", "later.png")]);
    for _ in 0..2 {
        let (_, told) = failing(folder.path(), &["judge", "--score-only"]);
        assert!(told.contains("rows failed; the reasons are in out.jsonl.left-out.jsonl"), "{told}");
        let left = lines(folder.path(), "out.jsonl.left-out.jsonl");
        assert!(left.len() == 1 && left[0]["id"] == "two", "{left:?}");
    }
    fs::copy(folder.path().join("scene.png"), folder.path().join("later.png")).unwrap();
    let summary = gavel(folder.path(), &["judge", "--score-only"]);
    assert_eq!((figure(&summary, "rows done before"), figure(&summary, "rows done ")), (1.0, 1.0));
    let ids: Vec<Value> = lines(folder.path(), "out.jsonl").iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, ["one", "two"]);
    assert!(lines(folder.path(), "out.jsonl.left-out.jsonl").is_empty());
}

#[test]
fn rows_say_how_they_are_judged_and_what_is_not_used_is_told() {
    let row = |id: &str, more: Value| {
        let mut row = json!({ "id": id, "question": "What is it?", "image": "scene.png", "response": "A circle.", "meta": 1, "model": "m" });
        if more.get("responses").is_some() {
            row.as_object_mut().unwrap().remove("response");
        }
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let scale = json!({ "min": 0, "max": 1 });
    let rows = [
        row("plain", json!({ "rubric": null })),
        row("named", json!({ "rubric": "accuracy" })),
        row("own", json!({ "criteria": "Is it short?", "scale": scale })),
        row("read", json!({ "mode": "score", "rubrik": "accuracy" })),
        row("both", json!({ "responses": ["A circle.", "A square."], "order": "both", "rubric": "better" })),
        row("labelled", json!({ "score": 1, "scale": scale })),
        row("more", json!({ "samples": 3, "rubrik": "accuracy" })),
    ];
    let folder = folder(&rows);
    let run = run(folder.path(), &["judge", "--rubric", "completeness"]);
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{told}");
    let lines = lines(folder.path(), "out.jsonl");
    let of = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap();
    for (id, rubric) in [
        ("plain", "completeness"),
        ("named", "accuracy"),
        ("own", "inline"),
        ("read", "completeness"),
        ("both", "better"),
        ("labelled", "completeness"),
        ("more", "completeness"),
    ] {
        assert_eq!(of(id)["rubric"], rubric, "{id}");
    }
    assert_eq!(of("own")["scale"]["max"], 1.0);
    assert_ne!(of("labelled")["scale"]["max"], 1.0, "a label's scale is not that of the verdict");
    assert_eq!(of("read")["justification"], "");
    assert_eq!(of("both")["orders"].as_array().unwrap().len(), 2);
    for words in ["\"rubrik\"", "\"rubric\" may be meant", "\"samples\""] {
        assert_eq!(told.matches(words).count(), 1, "{words} in {told}");
    }
    for silent in ["\"meta\"", "\"model\"", "\"score\"", "\"scale\""] {
        assert!(!told.contains(silent), "{silent} in {told}");
    }

    let of_prefer = crate::folder(&[json!({ "id": "a", "question": "What is it?", "image": "scene.png",
        "responses": ["A circle.", "A square."], "criteria": "Is it short?", "scale": scale, "mode": "score" })]);
    let run = crate::run(of_prefer.path(), &["prefer", "--method", "pointwise", "--rubric", "no-such"]);
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success() && told.contains("\"mode\", which rows have from line 1 on"), "{told}");
}

#[test]
fn a_line_that_is_no_json_is_told_by_line_and_column() {
    let folder = folder(&candidates()[..1]);
    let mut text = fs::read_to_string(folder.path().join("rows.jsonl")).unwrap();
    text.push_str("\nnot json\n");
    fs::write(folder.path().join("rows.jsonl"), text).unwrap();
    let (_, told) = failing(folder.path(), &["prefer"]);
    assert!(told.contains("line 3 of rows.jsonl, column 2: ") && !told.contains("line 1"), "{told}");
}
