//! Runs every example of `docs/trainers.md`, and checks that the critic sees the images that it names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::{Server, picture, python};
use serde_json::{Value, json};

/// The address of the server in the document, and the names of the image there.
const ADDRESS: &str = "127.0.0.1:8080";
const ID: &str = "file-00000000000000000000000000000000";
const SHA256: &str = "SHA256";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The fenced blocks of the document: their languages and their texts.
fn blocks() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/trainers.md")).unwrap();
    let fenced = text.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap());
    fenced.map(|(mark, text)| (mark.to_owned(), text.to_owned())).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{said}\n{errors}");
    said.into_owned()
}

/// The rewards in an answer of any of these routes.
fn rewards(answer: &Value) -> Vec<f64> {
    let places = ["/rewards", "/scores", "/data/0/probs"];
    let found = places.iter().find_map(|place| answer.pointer(place)).unwrap_or(answer);
    serde_json::from_value(if found.is_number() { json!([found]) } else { found.clone() }).unwrap()
}

#[test]
fn every_example_runs_and_shows_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_options(&["--data-dir", &folder.path().to_string_lossy()]);
    let blocks = blocks();
    let marked =
        |mark: &'static str| blocks.iter().filter(move |(found, _)| found == mark).map(|(_, text)| text);

    let register = marked("sh").next().unwrap().replace(ADDRESS, server.address());
    let file: Value = serde_json::from_str(&run(Command::new("bash").args(["-ec", &register]))).unwrap();
    let (id, sha256) = (file["id"].as_str().unwrap(), file["sha256"].as_str().unwrap());
    for path in ["/v1/files", "/v1/files/", "/files/", "/openai/v1/files/"] {
        assert_eq!(server.get(path).json()["data"][0]["id"], id, "{path}");
    }
    assert_eq!(server.get(&format!("/v1/files/{id}/")).json()["sha256"], sha256);

    let ask = |head: &str, body: &str| {
        let path = head.strip_prefix("POST ").unwrap();
        server.ok(path, &serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}")))
    };
    let inline = format!("data:image/png;base64,{}", picture());
    let mut asked = 0;
    for block in marked("http") {
        let (head, body) = block.split_once("\n\n").unwrap();
        let named = rewards(&ask(head, &body.replace(ID, id).replace(SHA256, sha256)));
        let marks = [format!("<image:{ID}>"), format!("<image:{SHA256}>")];
        let sent =
            marks.iter().fold(body.to_owned(), |body, mark| body.replace(mark, &inline)).replace(ID, &inline);
        assert_eq!(named, rewards(&ask(head, &sent)), "{block}");
        // Another image has another reward, which shows that the critic saw this one.
        let other = BASE64_STANDARD.decode(gavel_tests::image("geo384-square_336-0.png")).unwrap();
        let other = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(other));
        assert_ne!(named, rewards(&ask(head, &sent.replace(&inline, &other))), "{block}");
        asked += 1;
    }
    assert_eq!(asked, 4);

    let mut printed = marked("python").map(|block| {
        let script = block.replace(ADDRESS, server.address()).replace(ID, id);
        run(Command::new(python()).args(["-c", &script]))
    });
    let row: Value = serde_json::from_str(&printed.next().unwrap()).unwrap();
    let body = json!({ "prompt": row["prompt"], "response": "The circle is orange.", "label": row["label"] });
    let reward: f64 = printed.next().unwrap().trim().parse().unwrap();
    // Parsers of JSON differ in the last digit.
    assert!((server.ok("/rm", &body).as_f64().unwrap() - reward).abs() < 1e-12);
    assert_eq!(printed.next(), None);
    assert!(marked("sh").count() == 1 && marked("console").count() == 1);
}
