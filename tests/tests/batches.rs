//! `/v1/files` and `/v1/batches` on the built server: what is stored, what is refused, and what survives a killed
//! server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::BTreeSet, path::Path, process::Command};

use gavel_tests::{Keys, Server, picture, python, reference, uncounted, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHAT: &str = "/v1/chat/completions";
const KEY: &str = "one";

/// A server with the random checkpoint that stores files in `folder`.
fn server(folder: &TempDir, options: &[&str]) -> Server {
    let model = reference().join("models/tiny56").to_string_lossy().into_owned();
    let folder = folder.path().to_string_lossy().into_owned();
    Server::with_options(&[&["--model", &model, "--data-dir", &folder], options].concat())
}

/// A conversation whose answer has exactly `tokens` tokens.
fn chat(index: usize, tokens: usize) -> Value {
    json!({
        "messages": [{ "role": "user", "content": format!("Say {index}.") }],
        "max_tokens": tokens,
        "ignore_eos": true,
    })
}

fn completed(batch: &Value) -> u64 {
    batch["request_counts"]["completed"].as_u64().unwrap()
}

/// The ids of lines; checks that each occurs once.
fn ids(lines: &[Value]) -> BTreeSet<usize> {
    let ids: BTreeSet<usize> =
        lines.iter().map(|line| line["custom_id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "a line is there twice");
    ids
}

#[test]
fn the_official_python_package_keeps_files_and_runs_batches() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/openai_batches.py");
    let output = Command::new(python())
        .arg(script)
        .arg(format!("http://{}/v1", server.address()))
        .arg(reference().join("images/tiny56-square-0.png"))
        .output()
        .expect("the interpreter starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.ends_with("all well\n"), "{said}");
}

#[test]
fn a_key_without_quota_does_not_stop_the_batches_of_others() {
    let keys = Keys::new(&[("poor", "requests_per_minute = 2"), ("other", "")]);
    let folder = tempfile::tempdir().unwrap();
    let server = keys.server(&["--data-dir", &folder.path().to_string_lossy(), "--batch-concurrency", "2"]);
    let bodies: Vec<Value> = (0..6).map(|index| chat(index, 2)).collect();
    // Uploading and creating use up its quota.
    let waiting = server.begin_batch(keys.key("poor"), (CHAT, "24h"), &bodies);
    let free = server.begin_batch(keys.key("other"), (CHAT, "24h"), &bodies);
    let ended = server.ended_batch(keys.key("other"), &free);
    assert_eq!((&ended["status"], completed(&ended)), (&json!("completed"), 6), "{ended}");
    // Cancelling costs nothing, even while the batch's own lines use up the quota.
    let path = format!("/v1/batches/{waiting}/cancel");
    let response = server.keyed(keys.key("poor"), ("POST", &path), &Value::Null);
    assert_eq!(response.status, 200);
    let ended = server.ended_batch(keys.key("poor"), &waiting);
    assert_eq!(ended["status"], "cancelled", "{ended}");
}

#[test]
fn a_line_that_exceeds_a_whole_quota_fails() {
    let keys = Keys::new(&[("poor", "tokens_per_minute = 20")]);
    let folder = tempfile::tempdir().unwrap();
    let server = keys.server(&["--data-dir", &folder.path().to_string_lossy()]);
    let batch = server.begin_batch(keys.key("poor"), (CHAT, "24h"), &[chat(0, 300)]);
    let ended = server.ended_batch(keys.key("poor"), &batch);
    assert_eq!(ended["request_counts"]["failed"], 1, "{ended}");
    let lines = server.lines(keys.key("poor"), &ended["error_file_id"]);
    assert_eq!(lines[0]["response"]["status_code"], 429, "{lines:?}");
}

#[test]
fn tokens_of_all_parts_of_an_answer_count() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_options(&["--data-dir", &folder.path().to_string_lossy()]);
    let case = json!({ "question": "What is it?", "response": "A cat." });
    let several =
        json!({ "question": "What is it?", "response": "A cat.", "rubrics": ["helpfulness", "helpfulness"] });
    let one = server.ok("/judge", &case)["usage"]["prompt_tokens"].as_i64().unwrap();
    let reward = json!({ "question": "What is it?", "responses": ["A cat.", "A dog."] });
    let rewarded = server.ok("/reward", &reward)["usage"]["prompt_tokens"].as_i64().unwrap();
    let prompts = json!({ "prompts": [reward.clone(), reward] });
    for (endpoint, body, tokens) in [("/judge", several, 2 * one), ("/reward", prompts, 2 * rewarded)] {
        let batch = server.begin_batch("none", (endpoint, "24h"), &[body]);
        let ended = server.ended_batch("none", &batch);
        assert_eq!(ended["usage"]["input_tokens"], tokens, "{ended}");
    }
}

#[test]
fn azures_clients_leave_out_a_part_of_a_route() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    for (endpoint, url) in [("/chat/completions", "/chat/completions"), (CHAT, "/chat/completions")] {
        let line = json!({ "custom_id": "0", "method": "POST", "url": url, "body": chat(0, 2) });
        let input = server.keep("none", "batch", line.to_string().as_bytes());
        let batch = json!({ "input_file_id": input, "endpoint": endpoint, "completion_window": "24h" });
        let begun = server.keyed("none", ("POST", "/openai/batches?api-version=1"), &batch).json();
        assert_eq!(begun["endpoint"], endpoint, "{begun}");
        let ended = server.ended_batch("none", begun["id"].as_str().unwrap());
        assert_eq!((completed(&ended), &ended["endpoint"]), (1, &json!(endpoint)), "{ended}");
    }
}

#[test]
fn a_batch_goes_on_where_it_stood_however_often_the_server_is_killed() {
    const LINES: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let bodies: Vec<Value> = (0..LINES).map(|index| chat(index, 120)).collect();
    let mut server = self::server(&folder, &[]);
    let id = server.begin_batch(KEY, (CHAT, "24h"), &bodies);
    let mut before = 0;
    for _ in 0..3 {
        wait_until("some more lines are answered", || completed(&server.batch(KEY, &id)) >= before + 8);
        before = completed(&server.batch(KEY, &id));
        assert!(before < LINES as u64, "it was killed in the midst of the batch");
        drop(server); // with a signal that cannot be caught
        server = self::server(&folder, &[]);
        let after = server.batch(KEY, &id);
        assert!(completed(&after) >= before && after["status"] == "in_progress", "{after}");
    }
    let batch = server.ended_batch(KEY, &id);
    assert_eq!(batch["status"], "completed");
    assert_eq!(batch["request_counts"], json!({ "total": LINES, "completed": LINES, "failed": 0 }));
    let answers = server.lines(KEY, &batch["output_file_id"]);
    assert_eq!(ids(&answers), (0..LINES).collect());
    assert!(batch["error_file_id"].is_null());
    let written: u64 = answers
        .iter()
        .map(|line| line["response"]["body"]["usage"]["completion_tokens"].as_u64().unwrap())
        .sum();
    assert_eq!((&batch["usage"]["output_tokens"], written), (&json!(written), LINES as u64 * 120));
    // Lines that were answered before the kill were not run again.
    let metrics = server.get("/metrics").text();
    let name = r#"gavel_batch_lines_total{outcome="completed"} "#;
    let counted: u64 = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!(counted <= LINES as u64 - before, "{counted} lines after {before}");
    assert!(metrics.contains(r#"gavel_batches{state="completed"} 1"#) && metrics.contains("gavel_files 2"));
    // A line has the same answer as a request.
    assert_eq!(
        uncounted(answers[7]["response"]["body"]["choices"].clone()),
        uncounted(server.ok(CHAT, &bodies[7])["choices"].clone())
    );
}

#[test]
fn a_server_that_is_told_to_stop_finishes_lines_and_keeps_them() {
    const LINES: usize = 120;
    let folder = tempfile::tempdir().unwrap();
    let bodies: Vec<Value> = (0..LINES).map(|index| chat(index, 120)).collect();
    let server = self::server(&folder, &["--batch-concurrency", "4"]);
    let id = server.begin_batch(KEY, (CHAT, "24h"), &bodies);
    wait_until("some lines are answered", || completed(&server.batch(KEY, &id)) >= 8);
    let before = completed(&server.batch(KEY, &id));
    assert!(before < LINES as u64 - 4, "it is told so in the midst of the batch");
    server.signal("TERM");
    assert!(server.wait(), "the server ended well");
    let server = self::server(&folder, &[]);
    let batch = server.ended_batch(KEY, &id);
    assert_eq!((&batch["status"], completed(&batch)), (&json!("completed"), LINES as u64));
    assert_eq!(ids(&server.lines(KEY, &batch["output_file_id"])), (0..LINES).collect());
}

#[test]
fn lines_give_way_to_those_who_wait_for_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    // With one sequence at a time, a request that arrives after sixteen lines would be answered after them in plain
    // order.
    let server = server(&folder, &["--max-sequences", "1"]);
    let bodies: Vec<Value> = (0..300).map(|index| chat(index, 100)).collect();
    let id = server.begin_batch(KEY, (CHAT, "24h"), &bodies);
    wait_until("lines run", || completed(&server.batch(KEY, &id)) > 0);
    let overtaken = (0..5).map(|index| {
        let before = completed(&server.batch(KEY, &id));
        server.ok(CHAT, &chat(1000 + index, 100));
        completed(&server.batch(KEY, &id)) - before
    });
    let fewest = overtaken.min().unwrap();
    assert!(fewest < 6, "{fewest} lines were answered first");
    assert_eq!(server.keyed(KEY, ("POST", &format!("/v1/batches/{id}/cancel")), &Value::Null).status, 200);
}

#[test]
fn a_batch_that_is_stopped_stops_soon_and_keeps_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--batch-concurrency", "2"]);
    // Two short lines, and others that would take too long for the test.
    let mut bodies = vec![chat(0, 2), chat(1, 2)];
    bodies.extend((2..20).map(|index| chat(index, 30_000)));
    let id = server.begin_batch(KEY, (CHAT, "24h"), &bodies);
    wait_until("two lines are answered and others run", || {
        completed(&server.batch(KEY, &id)) == 2 && server.engine("running") == 2
    });
    let cancel = format!("/v1/batches/{id}/cancel");
    // As the official packages do it: the content type of JSON, and no body.
    let response = server.keyed(KEY, ("POST", &cancel), &Value::Null);
    assert_eq!(response.status, 200);
    assert_eq!(server.keyed("two", ("POST", &cancel), &Value::Null).status, 404);
    wait_until("it is stopped", || server.batch(KEY, &id)["status"] == "cancelled");
    wait_until("nothing runs any more", || server.engine("running") == 0);
    let batch = server.batch(KEY, &id);
    assert!(
        batch["cancelling_at"].is_u64() && batch["cancelled_at"].is_u64() && batch["completed_at"].is_null()
    );
    assert_eq!(ids(&server.lines(KEY, &batch["output_file_id"])), BTreeSet::from([0, 1]));
    assert!(batch["error_file_id"].is_null());
}

#[test]
fn lines_whose_time_is_over_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--batch-concurrency", "2"]);
    let mut bodies = vec![chat(0, 2)];
    bodies.extend((1..5).map(|index| chat(index, 30_000)));
    let id = server.begin_batch(KEY, (CHAT, "2s"), &bodies);
    wait_until("its time is over", || server.batch(KEY, &id)["status"] == "expired");
    let batch = server.batch(KEY, &id);
    assert!(batch["expired_at"].as_u64() >= batch["expires_at"].as_u64(), "{batch}");
    assert_eq!(batch["request_counts"], json!({ "total": 5, "completed": 1, "failed": 4 }));
    let errors = server.lines(KEY, &batch["error_file_id"]);
    assert_eq!(ids(&errors), (1..5).collect());
    for line in errors {
        let response = &line["response"];
        assert!(line["error"].is_null() && response["status_code"] == 504, "{line}");
        assert_eq!(response["body"]["error"]["code"], "batch_expired");
    }
    assert_eq!(ids(&server.lines(KEY, &batch["output_file_id"])), BTreeSet::from([0]));
}

#[test]
fn an_input_that_is_no_list_of_requests_fails_whole_and_names_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--max-batch-lines", "3"]);
    let line = |id: &str, url: &str| {
        json!({ "custom_id": id, "method": "POST", "url": url, "body": {} }).to_string()
    };
    let begin = |text: &[u8]| {
        let input = server.keep(KEY, "batch", text);
        let batch = json!({ "input_file_id": input, "endpoint": CHAT, "completion_window": "24h" });
        let id = server.keyed(KEY, ("POST", "/v1/batches"), &batch).json()["id"].as_str().unwrap().to_owned();
        server.ended_batch(KEY, &id)
    };
    let failed = begin(format!("{}\nno json\n\n{}\n", line("a", CHAT), line("b", "/judge")).as_bytes());
    assert_eq!((&failed["status"], failed["failed_at"].is_u64()), (&json!("failed"), true));
    assert_eq!(failed["errors"]["object"], "list");
    let told = failed["errors"]["data"].as_array().unwrap();
    let told: Vec<_> =
        told.iter().map(|error| (error["line"].as_i64(), error["code"].as_str().unwrap())).collect();
    assert_eq!(told, [(Some(2), "invalid_json_line"), (Some(4), "mismatched_url")]);
    assert_eq!(failed["request_counts"]["completed"], 0);
    let code = |batch: &Value| batch["errors"]["data"][0]["code"].as_str().unwrap().to_owned();
    assert_eq!(code(&begin(b"\n")), "empty_file");
    let list = begin(format!("[\"1\", \"POST\", \"{CHAT}\", {{}}]\n").as_bytes());
    assert_eq!(code(&list), "invalid_json_line");
    let message = list["errors"]["data"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("an object is wanted, not a list."), "{message}");
    let four: String = (0..4).map(|index| line(&index.to_string(), CHAT) + "\n").collect();
    let failed = begin(four.as_bytes());
    assert_eq!(code(&failed), "too_many_lines");
    assert!(failed["errors"]["data"][0]["message"].as_str().unwrap().contains("--max-batch-lines"));

    // A byte order mark, carriage returns and a missing newline at the end are accepted; each body is refused by
    // itself.
    let text = format!("\u{feff}{}\r\n{}", line("0", CHAT), line("1", CHAT));
    let batch = begin(text.as_bytes());
    assert_eq!(batch["request_counts"], json!({ "total": 2, "completed": 0, "failed": 2 }));
    let errors = server.lines(KEY, &batch["error_file_id"]);
    assert!(errors.iter().all(|line| line["response"]["status_code"] == 400), "{errors:?}");
}

#[test]
fn our_own_routes_take_lines_with_images_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--data-dir", &folder.path().to_string_lossy()];
    let server = Server::with_options(&options);
    let image = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, picture()).unwrap();
    let id = server.keep(KEY, "vision", &image);
    let case = |image: &str| json!({ "question": "What colour is the circle?", "images": [image], "response": "Orange.", "mode": "score" });
    let batch =
        server.begin_batch(KEY, ("/judge", "1h"), &[case(&id), case("file-unknown"), case(&picture())]);
    let batch = server.ended_batch(KEY, &batch);
    let answers = server.lines(KEY, &batch["output_file_id"]);
    assert_eq!(ids(&answers), BTreeSet::from([0, 2]));
    let judged = server.ok("/judge", &case(&picture()));
    for answer in answers {
        assert_eq!(answer["response"]["body"]["score"], judged["score"]);
        assert_eq!(answer["response"]["body"]["distribution"], judged["distribution"]);
    }
    let errors = server.lines(KEY, &batch["error_file_id"]);
    assert_eq!(errors[0]["response"]["body"]["error"]["code"], "unknown_image");

    // An image of another key is unknown, in a batch as in a request.
    let batch = server.begin_batch("two", ("/judge", "1h"), &[case(&id)]);
    assert_eq!(server.ended_batch("two", &batch)["request_counts"]["failed"], 1);
    let reward = json!({ "question": "What is it?", "images": [id], "responses": ["A circle.", "A cat."] });
    let batch = server.begin_batch(KEY, ("/reward", "1h"), &[reward]);
    let batch = server.ended_batch(KEY, &batch);
    let answers = server.lines(KEY, &batch["output_file_id"]);
    assert_eq!(answers[0]["response"]["body"]["rewards"].as_array().unwrap().len(), 2);
    assert!(batch["usage"]["input_tokens"].as_u64() > Some(0));
}

#[test]
fn bounds_of_files_are_kept_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--max-file-mib", "1", "--max-stored-mib", "2", "--max-files", "4"]);
    let large = vec![b'x'; 1 << 20];
    let refused = |fields: &[(&str, &[u8])]| {
        let response = server.send_form(KEY, fields);
        let (status, body) = (response.status, response.json());
        (status, body["code"].as_str().unwrap().to_owned(), body["message"].as_str().unwrap().to_owned())
    };
    let told = refused(&[("file", &[&large[..], b"x"].concat()), ("purpose", b"batch")]);
    assert!(told.0 == 413 && told.1 == "file_too_large" && told.2.contains("--max-file-mib"), "{told:?}");
    for fields in [
        &[("purpose", &b"batch"[..])][..],
        &[("file", b"x")],
        &[("file", b"x"), ("purpose", b"batch_output")],
    ] {
        assert_eq!(server.send_form(KEY, fields).status, 400);
    }
    // Fields may have any order; unknown ones are ignored.
    let response = server.send_form(KEY, &[("x", b"y"), ("file", &large), ("purpose", b"batch")]);
    assert_eq!(response.status, 200);
    let file = response.json();
    assert_eq!(
        (&file["bytes"], &file["filename"], &file["status"]),
        (&json!(1 << 20), &json!("a.jsonl"), &json!("processed"))
    );
    server.keep("two", "batch", &large);
    let told = refused(&[("purpose", b"batch"), ("file", b"x")]);
    assert!(told.0 == 413 && told.1 == "storage_full" && told.2.contains("--max-stored-mib"), "{told:?}");
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(server.keyed("two", ("DELETE", &path), &Value::Null).status, 404);
    assert_eq!(server.keyed(KEY, ("DELETE", &path), &Value::Null).json()["deleted"], true);
    for _ in 0..3 {
        server.keep(KEY, "batch", b"x");
    }
    let told = refused(&[("purpose", b"batch"), ("file", b"x")]);
    assert!(told.0 == 413 && told.1 == "too_many_files" && told.2.contains("--max-files"), "{told:?}");

    let response = server.keyed(KEY, ("POST", "/v1/files"), &json!({}));
    assert_eq!((response.status, response.json()["code"].as_str().unwrap()), (415, "unsupported_media_type"));
    for path in [
        "/v1/files?limit=0",
        "/v1/files?limit=x",
        "/v1/files?order=up",
        "/v1/files?after=file-0",
        "/v1/batches?limit=101",
    ] {
        assert_eq!(server.get(path).status, 400, "{path}");
    }
}

#[test]
fn a_server_without_a_folder_says_how_to_give_it_one() {
    let server = Server::random();
    for (method, path) in [
        ("GET", "/v1/files"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/batches/batch_1"),
        ("GET", "/openai/files"),
    ] {
        let response = server.keyed(KEY, (method, path), &json!({}));
        assert_eq!(response.status, 404, "{path}");
        let body = response.json();
        assert_eq!(body["error"]["code"], "no_data_dir");
        assert!(body["error"]["message"].as_str().unwrap().contains("--data-dir"), "{body}");
    }
    let response = server.send_form(KEY, &[("purpose", b"vision"), ("file", b"x")]);
    assert_eq!((response.status, response.json()["code"].as_str().unwrap()), (404, "no_data_dir"));
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = server(&folder, &[]);
    let second = Command::new(gavel_tests::binary())
        .args(["serve", "--port", "0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && told.contains("another process"), "{told}");
}

#[test]
fn one_of_several_keys_takes_its_part_of_the_room_and_no_more() {
    let keys = Keys::new(&[("a", ""), ("b", "stored_share = 0.5")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_string_lossy().into_owned();
    let server = keys.server(&["--data-dir", &folder, "--max-stored-mib", "4", "--max-files", "8"]);
    let send = |name: &str, content: &[u8]| {
        let response = server.send_form(keys.key(name), &[("purpose", b"batch"), ("file", content)]);
        (response.status, response.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let mebibyte = vec![b'x'; 1 << 20];
    assert_eq!(send("a", &mebibyte).0, 200);
    assert_eq!(send("a", b"x"), (413, "storage_full".to_owned()), "a quarter is one mebibyte");
    let too_large = [&mebibyte[..], &mebibyte, b"x"].concat();
    assert_eq!(send("b", &too_large), (413, "storage_full".to_owned()));
    for _ in 0..4 {
        assert_eq!(send("b", b"x").0, 200, "what was refused has left nothing");
    }
    assert_eq!(send("b", b"x"), (413, "too_many_files".to_owned()));
}
