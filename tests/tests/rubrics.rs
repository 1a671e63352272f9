//! Rubrics as files: checked and listed by the command line, listed and reloaded by a running server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{fs, path::Path, process::Command};

use gavel_tests::{Server, binary, reference};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder for `--config-dir` with these rubrics.
fn folder(rubrics: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rubrics")).unwrap();
    for (file, text) in rubrics {
        write(folder.path(), file, text);
    }
    folder
}

fn write(folder: &Path, file: &str, text: &str) {
    fs::write(folder.join("rubrics").join(file), text).unwrap();
}

fn rubric(name: &str, rest: &str) -> String {
    let head = format!(
        "name = {name:?}\nversion = 1\nkind = \"pointwise\"\nsummary = \"\"\ncriteria = \"Be right.\"\n"
    );
    format!("{head}{rest}\n[scale]\nmin = 0\nmax = 4\n")
}

fn gavel(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).arg("rubric").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn served(folder: &Path) -> Server {
    let model = reference().join("models/tiny56");
    Server::with_options(&["--model", &model.to_string_lossy(), "--config-dir", &folder.to_string_lossy()])
}

/// The rubric with this name in the list of a server.
fn listed(body: &Value, name: &str) -> Option<Value> {
    body["rubrics"].as_array().unwrap().iter().find(|rubric| rubric["name"] == name).cloned()
}

#[test]
fn check_tells_every_problem_and_list_every_rubric() {
    let (well, text) = gavel(&["check"]);
    assert!(well && text.contains(" critic profiles and ") && text.ends_with(" forms are valid\n"), "{text}");

    let folder = folder(&[("good.toml", &rubric("good", ""))]);
    let path = folder.path().to_string_lossy().into_owned();
    let profile = fs::read_to_string(reference().join("../../config/critics/gavel-mini.toml")).unwrap();
    let profile = profile.replacen("name = \"gavel-mini\"", "name = \"mine\"\nmatches = [\"ours\"]", 1);
    fs::create_dir(folder.path().join("critics")).unwrap();
    fs::write(folder.path().join("critics/mine.toml"), profile).unwrap();
    let (well, text) = gavel(&["check", &path]);
    assert!(
        well && text.ends_with("\nprofile mine: for checkpoints with one of these in the name: mine, ours\n"),
        "{text}"
    );
    let (well, text) = gavel(&["list", "--config-dir", &path]);
    assert!(well && text.contains("\ngood ") && text.contains("\nmm-vet "), "{text}");

    write(folder.path(), "odd.toml", &rubric("odd", "colour = 1"));
    write(folder.path(), "worse.toml", &rubric("worse", "fields = [\"smell\"]"));
    let (well, text) = gavel(&["check", &path]);
    assert!(!well);
    for word in ["odd.toml: colour: unknown field", "worse.toml: fields[0]: ", "2 problems"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert!(!gavel(&["check", "/no/such/folder"]).0);
}

#[test]
fn rubrics_are_read_again_all_or_none() {
    let folder = folder(&[("mine.toml", &rubric("mine", ""))]);
    let server = served(folder.path());
    assert!(listed(&server.get("/rubrics").json(), "mine").is_some());

    write(folder.path(), "other.toml", &rubric("other", "direction = \"lower\""));
    assert!(listed(&server.get("/rubrics").json(), "other").is_none(), "nothing is read unasked");
    let after = server.ok("/rubrics/reload", &json!({}));
    assert_eq!(listed(&after, "other").unwrap()["direction"], "lower");
    assert_eq!(server.get("/rubrics").json(), after);

    write(folder.path(), "new.toml", &rubric("new", ""));
    write(folder.path(), "other.toml", &rubric("other", "reading = \"guessed\""));
    let refused = server.post("/rubrics/reload", &json!({}));
    assert_eq!(refused.status, 422);
    let error = refused.json();
    assert_eq!(error["code"], "invalid_configuration");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("other.toml: reading: "), "{message}");
    assert_eq!(server.get("/rubrics").json(), after, "the old ones are in force, without the new one");

    fs::remove_file(folder.path().join("rubrics/other.toml")).unwrap();
    let last = server.ok("/rubrics/reload", &json!({}));
    assert!(listed(&last, "new").is_some() && listed(&last, "other").is_none());
}

#[test]
fn a_server_without_a_folder_has_nothing_to_read_again() {
    let refused = Server::random().post("/rubrics/reload", &json!({}));
    assert_eq!((refused.status, refused.json()["code"].clone()), (409, json!("no_config_dir")));
}

#[test]
fn the_list_tells_what_a_rubric_needs_and_gives() {
    let body = Server::random().get("/rubrics").json();
    let mmhal = listed(&body, "mmhal").unwrap();
    assert_eq!(mmhal["fields"], json!(["reference", "description"]));
    assert_eq!((&mmhal["answer"], &mmhal["direction"]), (&json!("rating"), &json!("higher")));
    assert_eq!(listed(&body, "factuality").unwrap()["reading"], "expected");
    let pairs = (1..=30).filter(|number| listed(&body, &format!("pairwise-{number:02}")).is_some());
    assert_eq!(pairs.count(), 30);
}

#[test]
fn what_is_lacking_or_empty_is_named_by_its_path() {
    let server = Server::random();
    let scale = json!({ "min": 1, "max": 0 });
    for (path, extra, code, param) in [
        ("/judge", json!({ "question": " ", "response": "a" }), "invalid_request", "question"),
        ("/judge", json!({ "responses": [] }), "invalid_request", "responses"),
        ("/judge", json!({ "response": "a", "rubric": "acuracy" }), "unknown_rubric", "rubric"),
        ("/judge", json!({ "response": "a", "rubric": "mm-vet" }), "missing_field", "reference"),
        (
            "/judge",
            json!({ "response": "a", "rubric": "mmhal", "reference": "b", "description": "" }),
            "missing_field",
            "description",
        ),
        (
            "/judge",
            json!({ "response": "a", "criteria": "x", "scale": scale }),
            "invalid_rubric",
            "scale.max",
        ),
        (
            "/judge",
            json!({ "response": "a", "rubric": { "criteria": "x", "scale": scale } }),
            "invalid_rubric",
            "rubric.scale.max",
        ),
        (
            "/judge",
            json!({ "response": "a", "criteria": "x", "mode": "score",
                "scale": { "min": 0, "max": 1e-6, "step": 1e-7 } }),
            "invalid_rubric",
            "scale",
        ),
        ("/judge", json!({}), "invalid_request", "response"),
        ("/judge", json!({ "responses": ["a", "b", "c"] }), "invalid_request", "responses"),
        (
            "/judge",
            json!({ "responses": ["a", "b", "c"], "rubric": "better" }),
            "invalid_request",
            "responses",
        ),
        ("/judge", json!({ "response": "a", "images": vec!["AAAA"; 257] }), "too_many_images", "images[256]"),
        (
            "/judge",
            json!({ "response": "a", "description": "b", "format": "GPU-pointwise" }),
            "unknown_format",
            "format",
        ),
        (
            "/reward",
            json!({ "responses": ["a", "b"], "method": "pointwise",
                "rubric": { "criteria": "x", "scale": scale } }),
            "invalid_rubric",
            "rubric.scale.max",
        ),
    ] {
        let mut body = json!({ "question": "What?" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let response = server.post(path, &body);
        let status = response.status;
        let error = response.json();
        let told = (status, &error["error"]["code"], &error["error"]["param"]);
        let expected = if code == "unknown_rubric" { 404 } else { 400 };
        assert_eq!(told, (expected, &json!(code), &json!(param)), "{body} gave {error}");
    }
    let prompts = json!({ "prompts": [{ "question": "", "responses": ["a", "b"] }] });
    assert_eq!(server.post("/reward", &prompts).json()["error"]["param"], "prompts[0].question");
    let unknown = server.post("/judge", &json!({ "question": "?", "response": "a", "rubric": "acuracy" }));
    assert!(unknown.json()["message"].as_str().unwrap().contains("accuracy"), "the nearest name is told");
}

#[test]
fn a_prompt_that_is_too_long_is_told_by_how_much_and_where() {
    let server = Server::random();
    let long = "one two three ".repeat(20_000);
    // So long that it cannot fit, whatever its tokens are: it is not read to its end, and the numbers are bounds.
    let longer = long.repeat(3);
    for (body, param, is_counted) in [
        (json!({ "question": "What?", "response": long }), "response", true),
        (json!({ "question": long, "response": "a" }), "question", true),
        (json!({ "question": "What?", "responses": ["a", long] }), "responses[1]", true),
        (json!({ "question": "What?", "response": "a", "reference": long }), "reference", true),
        (json!({ "question": "What?", "responses": ["a", "b"], "criteria": long }), "criteria", true),
        (
            json!({ "question": "What?", "responses": ["a", "b"], "rubric": { "criteria": long } }),
            "rubric.criteria",
            true,
        ),
        (json!({ "question": "What?", "response": longer }), "response", false),
    ] {
        let response = server.post("/judge", &body);
        assert_eq!(response.status, 400);
        let error = response.json();
        let told = (&error["code"], &error["error"]["param"]);
        assert_eq!(told, (&json!("context_length_exceeded"), &json!(param)));
        let message = error["message"].as_str().unwrap();
        for number in ["has at least ", "be at least "] {
            assert_eq!(message.contains(number), !is_counted, "{message}");
        }
        let numbers: Vec<u64> = message
            .split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        let [tokens, limit, over] = numbers[..] else { panic!("{message}") };
        assert!(limit == 32_768 && tokens > limit && over == tokens + 1 - limit, "{message}");
    }
}

#[test]
fn a_response_of_white_space_is_judged() {
    let body = json!({ "question": "What?", "response": " ", "mode": "score" });
    let verdict = Server::random().ok("/judge", &body);
    assert!(verdict["score"].is_number(), "{verdict}");
}

#[test]
fn two_scores_and_grades_reach_the_client() {
    let server = Server::random();
    let judged = |rubric: &str| {
        let body = json!({ "question": "What?", "responses": ["a", "b"], "rubric": rubric, "mode": "score" });
        server.ok("/judge", &body)
    };
    let pair = judged("llava-bench-pair");
    let score = |index: usize| pair["scores"][index].as_f64().unwrap();
    let wanted = match score(0).total_cmp(&score(1)) {
        std::cmp::Ordering::Greater => "first",
        std::cmp::Ordering::Less => "second",
        std::cmp::Ordering::Equal => "tie",
    };
    assert_eq!((&pair["preference"], &pair["kind"]), (&json!(wanted), &json!("pairwise")), "{pair}");
    assert_eq!(pair["distribution"]["probabilities"].as_array().unwrap().len(), 100);
    let grade = judged("wildvision-preference");
    assert_eq!(grade["strength"].is_string(), grade["preference"] != "tie", "{grade}");
    assert_eq!(grade["distribution"]["probabilities"].as_array().unwrap().len(), 5);
}

#[test]
fn an_expected_score_is_that_of_the_distribution() {
    let body = json!({ "question": "What?", "response": "a", "rubric": "factuality", "mode": "score" });
    let verdict = Server::random().ok("/judge", &body);
    assert_eq!(verdict["score"], verdict["distribution"]["expected_score"]);
}

#[test]
fn a_verdict_is_not_repeated_when_the_answer_is_read_in_another_way() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("critics/tiny56.toml");
    fs::create_dir(profile.parent().unwrap()).unwrap();
    let answered_by = |form: &str| {
        let text = format!(
            "name = \"tiny56\"\ndefault_pointwise = \"helpfulness\"\ndefault_pairwise = \"better\"\n\n\
             [[formats]]\nname = \"one\"\nkind = \"pointwise\"\nparts = [\"{{question}} {{response}} {{criteria}}\"]\n\
             reply = \"Score: 7\\n\"\nanswer = {form:?}\n\n\
             [[formats]]\nname = \"two\"\nkind = \"pairwise\"\nparts = [\"{{question}} {{criteria}} {{response_1}} {{response_2}}\"]\n\
             answer = \"better_line\"\n"
        );
        fs::write(&profile, text).unwrap();
    };
    answered_by("score_line");
    let server = served(folder.path());
    let body = json!({ "question": "What is it?", "response": "A circle.", "max_tokens": 4 });
    assert_eq!(server.ok("/judge", &body)["score"], 7.0);
    assert_eq!(server.ok("/judge", &body)["receipt"]["memo"], true);
    // The prompt is the same, but its reply has no line of this form, so that a remembered verdict would be wrong.
    answered_by("number_line");
    server.ok("/rubrics/reload", &json!({}));
    let told = server.post("/judge", &body);
    assert_eq!((told.status, &told.json()["error"]["code"]), (502, &json!("unparsable_verdict")));
}
