//! Answers in the forms that programs look for: whatever the critic would like to say, each program's own pattern finds one
//! verdict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::BTreeMap, fs, path::Path};

use gavel_tests::{Response, Server};
use regex::Regex;
use serde_json::{Value, json};

/// A form as its file has it.
struct Form {
    name: String,
    fingerprint: String,
}

fn forms() -> Vec<Form> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/forms");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let table: toml::Table = toml::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let fingerprint = table["fingerprint"].as_array().unwrap();
        let texts: Vec<&str> = fingerprint.iter().map(|text| text.as_str().unwrap()).collect();
        Form { name: table["name"].as_str().unwrap().to_owned(), fingerprint: texts.join("\n\n") }
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

fn body(prompt: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": prompt }], "max_tokens": 40 })
}

fn ask(server: &Server, body: &Value, form: Option<&str>) -> Response {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(form.map(|form| ("x-gavel-form", form)));
    let response = server.send("POST", "/v1/chat/completions", &headers, body.to_string().as_bytes());
    assert_eq!(response.status, 200);
    response
}

fn content(body: &Value) -> String {
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// How each program reads an answer; what is found must be found once.
fn patterns() -> BTreeMap<&'static str, &'static str> {
    [
        ("trl-pairwise", r"\A[01]\z"),
        ("alpaca-eval-weighted", r"\A[mM]\z"),
        ("alpaca-eval-cot", r"[mM]\z"),
        (
            "alpaca-eval-ranking",
            r"\A\[\{'model': 'model_[12]', 'rank': 1\}, \{'model': 'model_[12]', 'rank': 2\}\]\z",
        ),
        ("mm-vet", r"\A(0\.[0-9]|1\.0)\z"),
        ("llava-bench", r"\A(10|[1-9]) (10|[1-9])\n"),
        ("lmms-eval-binary", r"\A[01]\z"),
        ("lmms-eval-binary-words", r"\A(yes|no)\z"),
        ("lmms-eval-solution", r"\A(Yes|No)\z"),
        ("mmhal", r"(?i)rating: [0-6]"),
        ("video-correctness", r"\A\{'pred': '(yes|no)', 'score': [0-5]\}\z"),
        ("video-score", r"\A\{'score': [0-5]\}\z"),
        ("arena-hard", r"\[\[([AB<>=]+)\]\]"),
        ("mt-bench-pair", r"\[\[[ABC]\]\]"),
        ("reward-bench-pair", r"\[\[[AB]\]\]"),
        ("mt-bench-single", r"\[\[(\d+\.?\d*)\]\]"),
        ("prometheus-absolute", r"\[RESULT\] [1-5]\z"),
        ("prometheus-relative", r"\[RESULT\] [AB]\z"),
        ("prometheus-eval-relative", r"\[RESULT\] [AB]\z"),
        ("vl-reward-bench", r"(?:Overall Judgment|Therefore)\s*.*\s*-*\s*Answer\s*(\d+)\s*is\s*better"),
        ("inspect-graded", r"GRADE\s*:\s*[CI]\z"),
        ("inspect-graded-partial", r"GRADE\s*:\s*[CPI]\z"),
        ("reward-bench-rating", r"\b([1-9]|10)\b\s*\z"),
        ("nemo-gym-equivalence", r"\[\[A!?=B\]\]"),
        ("ms-swift-genrm", r"Reward:\s*(0\.[0-9]|1\.0)\z"),
        ("ms-swift-prm", r"Reward:\s*-?(0\.[0-9]|1\.0)\*\*\z"),
        ("deepeval-geval-4", r#"\A\{"reason": ".*", "score": (10|[0-9])\}\z"#),
        ("deepeval-geval", r#"\A\{"score": (10|[0-9]), "reason": ".*"\}\z"#),
    ]
    .into()
}

fn check(server: &Server) {
    let mut patterns = patterns();
    for Form { name, fingerprint } in forms() {
        let pattern = patterns.remove(name.as_str()).unwrap_or_else(|| panic!("no pattern for {name}"));
        let pattern = Regex::new(&format!("(?s){pattern}")).unwrap();
        for temperature in [0.0, 1.5] {
            let mut body = body(&format!("Here is a task.\n{fingerprint}\nThe answer was: red."));
            body["temperature"] = json!(temperature);
            body["seed"] = json!(7);
            let response = ask(server, &body, None);
            assert_eq!(response.header("x-gavel-form"), Some(name.as_str()));
            let text = content(&response.json());
            assert_eq!(pattern.find_iter(&text).count(), 1, "{name}: {text:?}");
            if name.starts_with("deepeval-geval") {
                let read: Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
                assert!(read["score"].is_u64() && read["reason"].is_string());
            }
            // The same, streamed.
            body["stream"] = json!(true);
            let streamed: String = ask(server, &body, None)
                .events()
                .filter(|event| event.data != "[DONE]")
                .filter_map(|event| {
                    event.json()["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
                })
                .collect();
            assert_eq!(streamed, text, "{name}");
        }
    }
    assert!(patterns.is_empty(), "these have no file: {patterns:?}");
}

#[test]
fn every_form_is_told_by_its_prompt_and_kept_by_a_critic_that_writes_anything() {
    check(&Server::random());
}

#[test]
fn every_form_is_kept_by_the_small_critic() {
    check(&Server::with_options(&[]));
}

#[test]
fn plain_chat_and_requests_that_say_so_are_left_alone() {
    let server = Server::with_options(&[]);
    let plain = ask(&server, &body("What colour is the circle?"), None);
    assert_eq!(plain.header("x-gavel-form"), None);
    let trl = forms().into_iter().find(|form| form.name == "trl-pairwise").unwrap();
    let off = ask(&server, &body(&trl.fingerprint), Some("off"));
    assert_eq!(off.header("x-gavel-form"), None);
    assert!(content(&off.json()).len() > 1);
    let named = ask(&server, &body("What colour is the circle?"), Some("trl-pairwise"));
    assert_eq!(named.header("x-gavel-form"), Some("trl-pairwise"));
    assert!(["0", "1"].contains(&content(&named.json()).as_str()));
    let headers = [("content-type", "application/json"), ("x-gavel-form", "no-such")];
    let unknown = server.send("POST", "/v1/chat/completions", &headers, body("?").to_string().as_bytes());
    assert_eq!((unknown.status, unknown.json()["code"].as_str()), (400, Some("unknown_form")));
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("gavel_form_answers_total{form=\"trl-pairwise\"} 1"), "{metrics}");
}

/// What is judged comes from whoever wants a good verdict.
#[test]
fn a_judged_answer_does_not_choose_the_form() {
    let server = Server::random();
    let fingerprints: BTreeMap<String, String> =
        forms().into_iter().map(|form| (form.name, form.fingerprint)).collect();
    let told = |messages: Value| {
        let body = json!({ "messages": messages, "max_tokens": 8 });
        ask(&server, &body, None).header("x-gavel-form").map(str::to_owned)
    };
    let user = |text: String| json!({ "role": "user", "content": text });
    let opening = |name: &str| match name {
        "llava-bench" => "[Question]\nWhat is it?\n[Assistant 1]\n",
        "trl-pairwise" | "alpaca-eval-weighted" => {
            "I require a leaderboard for various large language models.\n## Model Outputs\n"
        }
        "inspect-graded" => "You are assessing a submitted answer on a given task based on a criterion.\n",
        "video-score" => "Please evaluate the following video-based question-answer pair:\n",
        other => panic!("{other} gives its instructions first"),
    };
    let after = ["llava-bench", "trl-pairwise", "alpaca-eval-weighted", "inspect-graded", "video-score"];
    for (injected, text) in &fingerprints {
        let answer = format!("The answer: It is red. {text}");
        let system = json!({ "role": "system", "content": fingerprints["reward-bench-pair"] });
        let asked = json!([user(answer.clone()), system]);
        assert_eq!(told(asked).as_deref(), Some("reward-bench-pair"), "a turn of the system: {injected}");
        let asked = json!([user(format!("{}\n{answer}", fingerprints["mm-vet"]))]);
        assert_eq!(told(asked).as_deref(), Some("mm-vet"), "instructions first: {injected}");
        for name in after {
            let asked = json!([user(format!("{}{answer}\n{}", opening(name), fingerprints[name]))]);
            assert_eq!(told(asked).as_deref(), Some(name), "instructions last: {injected}");
        }
    }
    let judged = json!([
        user("Is it red?".to_owned()),
        { "role": "assistant", "content": fingerprints["mm-vet"] },
        user("Say yes or no.".to_owned()),
    ]);
    assert_eq!(told(judged), None, "a turn of the assistant is no instruction");
}

#[test]
fn forms_can_be_off_for_a_server() {
    let server = Server::with_options(&["--forms", "off"]);
    let trl = forms().into_iter().find(|form| form.name == "trl-pairwise").unwrap();
    assert_eq!(ask(&server, &body(&trl.fingerprint), None).header("x-gavel-form"), None);
    assert_eq!(
        ask(&server, &body(&trl.fingerprint), Some("auto")).header("x-gavel-form"),
        Some("trl-pairwise")
    );
}

#[test]
fn the_probabilities_of_what_can_be_chosen_are_told() {
    let server = Server::with_options(&[]);
    let form = forms().into_iter().find(|form| form.name == "alpaca-eval-weighted").unwrap();
    let mut body = body(&form.fingerprint);
    body["max_tokens"] = json!(1);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(5);
    let answer = ask(&server, &body, None).json();
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 1);
    let top = tokens[0]["top_logprobs"].as_array().unwrap();
    let names: Vec<&str> = top.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert!(names == ["m", "M"] || names == ["M", "m"], "{names:?}");
    assert_eq!(tokens[0]["token"], names[0]);
    assert!(top[0]["logprob"].as_f64() >= top[1]["logprob"].as_f64());
    assert_eq!(tokens[0]["logprob"], top[0]["logprob"]);
}
