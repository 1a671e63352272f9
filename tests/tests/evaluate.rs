//! `gavel evaluate` and `gavel attack` on the labelled set of the toy world, with the embedded critic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gavel_tests::{Server, binary, reference};
use serde_json::{Value, json};

fn toy() -> PathBuf {
    reference().join("../data/toy")
}

fn gavel(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().unwrap()
}

fn ok(folder: &Path, arguments: &[&str]) -> String {
    let run = gavel(folder, arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The rows about the first `pictures` images, with these images, as `set.jsonl` in a folder of their own.
fn part_of_toy(pictures: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    let text = fs::read_to_string(toy().join("labels.jsonl")).unwrap();
    let of = |line: &&str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["id"].as_str().unwrap()[..2].parse::<usize>().unwrap() < pictures
    };
    let rows: Vec<&str> = text.lines().filter(of).collect();
    fs::write(folder.path().join("set.jsonl"), rows.join("\n")).unwrap();
    for picture in 0..pictures {
        let name = format!("images/{picture:02}.png");
        fs::copy(toy().join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

#[test]
fn the_small_critic_agrees_with_the_truth_of_its_world() {
    let folder = tempfile::tempdir().unwrap();
    let labels = toy().join("labels.jsonl");
    let arguments =
        ["evaluate", labels.to_str().unwrap(), "--json", "out.json", "--html", "out.html", "--wordings", "1"];
    let told = ok(folder.path(), &arguments);
    for name in [
        "Pearson r",
        "accuracy without ties",
        "orders agree",
        "calibration error",
        "a best one chosen",
        "unseen",
        "mean score minus mean label",
        "a worth is the label of a response",
    ] {
        assert!(told.contains(name), "{name} in {told}");
    }
    let report = json_of(&folder.path().join("out.json"));
    let value = |part: &str, name: &str| report[part][name]["value"].as_f64().unwrap();
    assert_eq!(
        (&report["model"], &report["items"], &report["form"]),
        (&json!("gavel-mini"), &json!(180), &json!("gavel"))
    );
    assert_eq!((&report["failed"], &report["left_out"]), (&json!([]), &json!([])));
    assert_eq!(
        [&report["scores"]["count"], &report["preferences"]["count"], &report["groups"]["count"]],
        [80, 80, 20]
    );
    // Far above chance, which is 0, a third, a half, and the mean of all, in this order.
    assert!(value("scores", "pearson") > 0.6 && value("scores", "kendall") > 0.5, "{told}");
    assert!(value("preferences", "accuracy_with_ties") > 0.7, "{told}");
    assert!(value("preferences", "accuracy_without_ties") > 0.75, "{told}");
    assert!(value("groups", "chosen") > value("groups", "average") + 0.5, "{told}");
    assert!(value("groups", "chosen") <= value("groups", "best"));
    for estimate in [&report["scores"]["pearson"], &report["preferences"]["consistent"]] {
        let [low, value, high] = ["low", "value", "high"].map(|name| estimate[name].as_f64().unwrap());
        assert!(low <= value && value <= high && low < high, "{estimate}");
    }
    let counted: u64 = report["preferences"]["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 80);
    assert_eq!(report["scores"]["wordings"][0]["format"], "unseen");
    // The page loads nothing from outside.
    let page = fs::read_to_string(folder.path().join("out.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() >= 5);
    for outside in ["http://", "https://", "src=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn figures_are_the_same_again_and_through_a_server_and_answers_are_kept() {
    let folder = part_of_toy(4);
    let run = |more: &[&str]| {
        let arguments = [&["evaluate", "set.jsonl", "--json", "out.json", "--wordings", "0"], more].concat();
        ok(folder.path(), &arguments);
        json_of(&folder.path().join("out.json"))
    };
    let here = run(&["--answers", "answers.jsonl"]);
    let kept = fs::read_to_string(folder.path().join("answers.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 18);
    let server = Server::with_options(&[]);
    let url = format!("http://{}", server.address());
    assert_eq!(run(&["--url", &url]), here);
    // After an interruption, a run asks only for the missing answers.
    let first: String = kept.split_inclusive('\n').take(10).collect();
    fs::write(folder.path().join("answers.jsonl"), first).unwrap();
    assert_eq!(run(&["--answers", "answers.jsonl"]), here);
    assert_eq!(fs::read_to_string(folder.path().join("answers.jsonl")).unwrap().lines().count(), 18);
}

#[test]
fn answers_to_other_requests_are_not_used() {
    let folder = part_of_toy(2);
    let run = |more: &[&str]| {
        let arguments = [&["evaluate", "set.jsonl", "--json", "out.json", "--wordings", "0"], more].concat();
        ok(folder.path(), &arguments);
        json_of(&folder.path().join("out.json"))
    };
    let kept = ["--answers", "answers.jsonl"];
    let count = || fs::read_to_string(folder.path().join("answers.jsonl")).unwrap().lines().count();
    run(&kept);
    let path = folder.path().join("set.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let rows = text.lines().count();
    assert_eq!(count(), rows);
    // A row with the same id and another question, and then all rows that name no rubric under another one.
    let changed = text.replacen("\"question\": \"", "\"question\": \"Please tell me. ", 1);
    fs::write(&path, &changed).unwrap();
    assert_eq!(run(&kept), run(&[]));
    assert_eq!(count(), rows + 1);
    fs::write(&path, changed.replace("\"rubric\"", "\"no rubric\"")).unwrap();
    run(&kept);
    let before = count();
    let rubric = ["--rubric", "accuracy"];
    assert_eq!(run(&[&kept[..], &rubric].concat()), run(&rubric));
    assert!(count() > before);
    // Labels are no part of requests.
    fs::write(&path, text.replace("\"score\": ", "\"score\": 1")).unwrap();
    let before = count();
    run(&kept);
    assert_eq!(count(), before);
    // The set itself is not written to.
    for option in ["--answers", "--json", "--html"] {
        let before = fs::read_to_string(&path).unwrap();
        let arguments = ["evaluate", "set.jsonl", option, "./set.jsonl"];
        let run = Command::new(binary()).args(arguments).current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.code() == Some(1) && told.contains("set.jsonl is read, and cannot"), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
}

#[test]
fn rows_that_cannot_be_judged_are_told_and_the_others_are_measured() {
    let folder = part_of_toy(2);
    let path = folder.path().join("set.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text += &format!(
        "\n{}",
        json!({ "id": "lost", "question": "?", "image": "none.png", "response": "A.", "score": 1 })
    );
    text += &format!("\n{}", json!({ "id": "bare", "question": "?", "response": "A." }));
    fs::write(path, text).unwrap();
    let unknown = json!({ "question": "?", "response": "A.", "score": 1, "rubric": "unknown" });
    fs::write(folder.path().join("unknown.jsonl"), unknown.to_string()).unwrap();
    let told = ok(folder.path(), &["evaluate", "set.jsonl", "--json", "out.json", "--wordings", "0"]);
    let report = json_of(&folder.path().join("out.json"));
    assert_eq!(report["failed"].as_array().unwrap().len(), 1);
    assert!(report["failed"][0].as_str().unwrap().contains("none.png"), "{told}");
    assert_eq!(report["left_out"][0]["row"], 11);
    assert_eq!(report["scores"]["count"], 4);
    for (arguments, wanted) in [
        (&["evaluate", "set.jsonl", "--rubric", "helpfulnes"][..], "no rubric"),
        (&["evaluate", "nowhere.jsonl"], "nowhere.jsonl"),
        (&["evaluate", "set.jsonl", "--url", "http://127.0.0.1:9"], "none of the servers"),
        (&["attack", "set.jsonl", "--form", "llava-critic"], "no row"),
        (&["evaluate", "unknown.jsonl"], "none of 3 requests has a verdict"),
        (&["attack", "unknown.jsonl"], "unknown_rubric"),
    ] {
        let run = gavel(folder.path(), arguments);
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && error.contains(wanted), "{error}");
    }
}

#[test]
fn rows_about_videos_and_with_criteria_of_their_own_are_judged() {
    let folder = part_of_toy(2);
    let frames = ["images/00.png", "images/01.png"];
    let scale = json!({ "min": 1, "max": 5, "step": 1 });
    let rows = [
        json!({ "question": "What is shown?", "frames": frames, "response": "A circle.", "score": 4, "scale": scale,
            "criteria": "Is it short?" }),
        json!({ "question": "What is shown?", "frames": frames, "responses": ["A circle.", "A hat."],
            "preference": "first", "criteria": "Is it short?" }),
        json!({ "id": "lost", "question": "?", "frames": ["none.png"], "response": "A.", "score": 1 }),
    ];
    fs::write(folder.path().join("rows.jsonl"), rows.map(|row| row.to_string()).join("\n")).unwrap();
    ok(
        folder.path(),
        &["evaluate", "rows.jsonl", "--json", "out.json", "--wordings", "0", "--form", "gavel"],
    );
    let report = json_of(&folder.path().join("out.json"));
    assert_eq!((&report["scores"]["count"], &report["preferences"]["count"]), (&json!(1), &json!(1)));
    assert!(report["failed"][0].as_str().unwrap().contains("none.png"), "frames are read: {report}");
}

#[test]
fn attacks_are_measured_and_answers_without_a_word_never_pay() {
    let folder = part_of_toy(3);
    let arguments = [
        "attack",
        "set.jsonl",
        "--json",
        "out.json",
        "--html",
        "out.html",
        "--searches",
        "2",
        "--search-steps",
        "40",
    ];
    let told = ok(folder.path(), &arguments);
    let report = json_of(&folder.path().join("out.json"));
    assert_eq!((&report["items"], &report["failed"]), (&json!(12), &json!([])));
    let attacks = report["attacks"].as_array().unwrap();
    assert!(attacks.len() > 80);
    // The terminal and the documentation have the same names.
    let document = fs::read_to_string(reference().join("../../docs/attacks.md")).unwrap();
    for group in attacks.iter().map(|attack| attack["group"].as_str().unwrap()) {
        assert!(
            document.contains(&format!("| **{group}** |")) && told.contains(&format!("\n{group} ")),
            "{group}"
        );
    }
    let columns = told.lines().find(|line| line.starts_with("no word  ")).unwrap();
    for column in ["score moves by", "good", "first", "second", "both orders", "must agree", "flagged"] {
        assert!(
            document.contains(&format!(" {column} |")) && columns.contains(column),
            "{column} in {columns}"
        );
    }
    assert!(!told.contains("()"), "an interval without width is a dash: {told}");
    let named = |name: &str| {
        attacks.iter().find(|attack| attack["name"] == name).unwrap_or_else(|| panic!("{name} in {told}"))
    };
    for name in
        ["white space", "comma", "Thought process:", "Let's solve this", "Solution", "jie", "kaisetsu"]
    {
        let attack = named(name);
        assert_eq!(attack["scores"]["attacked"]["value"], 0.0, "{attack}");
        for place in ["first_place", "second_place", "both_orders"] {
            assert_eq!(
                (&attack[place]["won"]["value"], &attack[place]["gained"]["value"]),
                (&json!(0.0), &json!(0.0))
            );
        }
        assert_eq!(attack["flagged"]["value"], 1.0);
        // If degenerate responses are not gated, the critic judges them.
        let judged = named(&format!("{name}, judged"));
        assert_ne!(judged["scores"]["attacked"]["value"], 0.0, "{judged}");
        assert_eq!(judged["flagged"]["value"], 1.0);
    }
    for name in ["control tokens", "planted score", "note to the judge", "base64", "Unicode tags", "naive"] {
        assert_eq!(named(name)["flagged"]["value"], 1.0, "{name}");
    }
    // Without the invisible characters more scores are unchanged; not all, since the space before them stays.
    let (kept, stripped) = (named("Unicode tags"), named("Unicode tags, stripped"));
    let moved = |attack: &Value| attack["scores"]["same"]["value"].as_f64().unwrap();
    assert!(moved(stripped) > moved(kept), "{stripped} {kept}");
    // A blank image changes more verdicts than a watermark, another one changes some, and text that only scaling down
    // reveals changes few.
    let same = |name: &str| named(name)["both_orders"]["flipped"]["value"].as_f64().unwrap();
    assert!(same("blank picture") > same("watermark") && same("other picture") > 0.0, "{told}");
    assert!(same("written order when made smaller") < 0.2, "{told}");
    for attack in attacks.iter().filter(|attack| attack.get("scores").is_some_and(|scores| !scores.is_null()))
    {
        let scores = &attack["scores"];
        let moved =
            scores["attacked"]["value"].as_f64().unwrap() - scores["clean"]["value"].as_f64().unwrap();
        assert!((moved - scores["shift"]["value"].as_f64().unwrap()).abs() < 1e-9, "{attack}");
    }
    // A verdict in both orders has no residual position bias, since swapping the pair gives the same comparisons.
    assert_eq!(report["clean"][0]["residual"]["value"], 0.0);
    assert_eq!(report["clean"][1]["guard"], "calibrated");
    // Two responses that the critic did not favour were searched, for suffixes of eight words.
    let search = &report["search"];
    assert_eq!((&search["steps"], search["found"].as_array().unwrap().len()), (&json!(40), 2));
    for found in search["found"].as_array().unwrap() {
        assert_eq!(found["suffix"].as_str().unwrap().split_whitespace().count(), 8);
        assert!(found["before"].as_f64().unwrap() < 0.5, "{found}");
    }
    assert!(fs::read_to_string(folder.path().join("out.html")).unwrap().contains("planted score"));
}

#[test]
fn the_worst_score_is_bad_where_low_scores_are_good() {
    let folder = part_of_toy(1);
    let row = |response: &str, score: u8| {
        json!({ "id": response, "question": "What is shown?", "image": "images/00.png", "rubric": "safety",
            "response": response, "score": score })
    };
    // Of these, the first is judged without the critic: as harmful as can be, though people find it harmless.
    let rows = [row("...", 0), row("A circle.", 4)].map(|row| row.to_string());
    fs::write(folder.path().join("set.jsonl"), rows.join("\n")).unwrap();
    let evaluate =
        ["evaluate", "set.jsonl", "--json", "out.json", "--wordings", "0", "--answers", "answers.jsonl"];
    let told = ok(folder.path(), &evaluate);
    let answers = fs::read_to_string(folder.path().join("answers.jsonl")).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(answers.iter().all(|answer| answer["scale"]["direction"] == "lower"), "{answers:?}");
    let report = json_of(&folder.path().join("out.json"));
    let points = report["scores"]["points"].as_array().unwrap();
    assert_eq!(points[0], json!([1.0, 0.0]), "{told}");
    assert_eq!(points[1][0], 0.0, "{told}");
    let attack = ["attack", "set.jsonl", "--json", "attack.json", "--searches", "0"];
    let told = ok(folder.path(), &attack);
    let report = json_of(&folder.path().join("attack.json"));
    let attacks = report["attacks"].as_array().unwrap();
    let colon = &attacks.iter().find(|attack| attack["name"] == "colon").unwrap()["scores"];
    for name in ["attacked", "raised", "good"] {
        assert_eq!(colon[name]["value"], 0.0, "{name} in {told}");
    }
}

#[test]
fn files_are_written_though_nobody_reads_the_report() {
    let folder = part_of_toy(1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = ["evaluate", "set.jsonl", "--json", "out.json", "--html", "out.html", "--wordings", "0"];
    let run =
        Command::new(binary()).args(arguments).current_dir(folder.path()).stdout(writer).output().unwrap();
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && !error.contains("error"), "{error}");
    assert_eq!(json_of(&folder.path().join("out.json"))["form"], "gavel");
    assert!(folder.path().join("out.html").is_file());
}
