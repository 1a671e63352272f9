//! The disk is full, read-only, slow, or fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use gavel_tests::{Response, Server, binary, tool, wait_until};
use serde_json::{Value, json};

use crate::{
    case,
    interposed::{Fault, Faults},
    model, row, short,
};

fn dropped(server: &Server) -> u64 {
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("gavel_judging_log_dropped_total "));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn the_disk_of_the_judging_log_is_full() {
    let full = Server::with_options(&["--judging-log", "/dev/full"]);
    full.ok("/judge", &case());
    wait_until("the line is counted as dropped", || dropped(&full) == 1);
    full.ok("/judge", &case());

    // Room for a few lines and a part of one: what was begun is taken back, and the file stays one that can be exported.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let long = |letter: &str| {
        let mut body = case();
        body["response"] = format!("It is red. {}", letter.repeat(600)).into();
        body
    };
    let options = ["--judging-log", log.to_str().unwrap()];
    let server = Server::limited("trap '' XFSZ; ulimit -f 12", &options);
    let letters = ["a ", "b ", "c ", "d ", "e ", "f ", "g ", "h ", "i ", "j "];
    letters.iter().for_each(|letter| drop(server.ok("/judge", &long(letter))));
    let whole = || fs::read_to_string(&log).unwrap().lines().count() as u64;
    wait_until("all are written or dropped", || whole() + dropped(&server) == 10);
    let text = fs::read_to_string(&log).unwrap();
    let kept = whole();
    assert!(text.ends_with('\n') && (1..10).contains(&kept), "{kept} lines: {text}");
    drop(server);
    // When there is room again, it goes on behind the last whole line.
    let server = Server::with_options(&options);
    server.ok("/judge", &long("k "));
    wait_until("another line is there", || whole() == kept + 1);
    let export = Command::new(binary())
        .args(["export", "log.jsonl", "--output", "train.json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    row(
        "F-11",
        "the disk of the judging log is full",
        "verdicts are given, lines are dropped and counted, no half line stays",
    );
}

/// Keeping a file works as `status` says, and judging works whatever becomes of that.
fn keeps(server: &Server, status: u16) {
    let answer = server.send_form("one", &[("purpose", b"user_data"), ("file", &[b'x'; 40_000])]);
    let retry = answer.header("retry-after").is_some();
    assert_eq!((answer.status, retry), (status, status == 503), "{}", answer.text());
    server.ok("/v1/chat/completions", &short());
    assert_eq!(server.get("/readyz").status, 200);
}

/// What is kept is there whole, and a batch of some lines comes to its end.
fn works(server: &Server, kept: &[String]) {
    for id in kept {
        let content = server.keyed("one", ("GET", &format!("/v1/files/{id}/content")), &Value::Null).bytes();
        assert!(content == b"kept before", "{} bytes", content.len());
    }
    let id = server.begin_batch("one", ("/v1/chat/completions", "24h"), &vec![short(); 20]);
    let batch = server.ended_batch("one", &id);
    assert_eq!(batch["request_counts"], json!({ "total": 20, "completed": 20, "failed": 0 }));
    assert_eq!(server.lines("one", &batch["output_file_id"]).len(), 20);
}

/// A line of a batch.
fn line(index: usize) -> Value {
    json!({ "custom_id": index.to_string(), "method": "POST", "url": "/v1/chat/completions", "body": short() })
}

fn begin(server: &Server, input: &str) -> Response {
    let batch =
        json!({ "input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h" });
    server.keyed("one", ("POST", "/v1/batches"), &batch)
}

/// A server with a disk of its own of eight megabytes below `folder`, in a namespace that nobody else sees.
fn on_a_small_disk(folder: &Path) -> Option<Server> {
    let mut command = tool("unshare")?;
    let mount = format!("mount -t tmpfs -o size=8m tmpfs {0} && exec \"$0\" \"$@\"", folder.display());
    command.args(["--map-root-user", "--mount", "bash", "-c", &mount]).arg(binary());
    Some(Server::started_by(command, &["--model", &model(), "--data-dir", folder.to_str().unwrap()]))
}

#[test]
fn the_disk_of_files_and_batches_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = on_a_small_disk(folder.path()) else { return };
    let seen = PathBuf::from(format!("/proc/{}/root", server.process_id()));
    let disk = seen.join(folder.path().strip_prefix("/").unwrap());
    let kept = [server.keep("one", "user_data", b"kept before")];
    let input: String = (0..200).map(|index| format!("{}\n", line(index))).collect();
    let input = server.keep("one", "batch", input.as_bytes());
    let running = begin(&server, &input).json()["id"].as_str().unwrap().to_owned();
    fs::write(disk.join("ballast"), vec![0; 16 << 20]).unwrap_err();
    keeps(&server, 503);
    fs::remove_file(disk.join("ballast")).unwrap();
    assert_eq!(server.ended_batch("one", &running)["request_counts"]["completed"], 200, "it waited for room");
    works(&server, &kept);
    row(
        "F-11",
        "the disk of files and batches is full",
        "503 `storage_unavailable`, judging goes on, a batch waits for room; then all is there and whole",
    );
}

#[test]
fn the_disk_of_files_and_batches_is_full_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = tool("unshare") else { return };
    let script = format!(
        "mount -t tmpfs -o size=100k tmpfs {0} && ! head -c 200k /dev/zero > {0}/ballast && \
         exec \"$0\" serve --port 0 --data-dir {0}/data",
        folder.path().display()
    );
    let output =
        command.args(["--map-root-user", "--mount", "bash", "-c", &script]).arg(binary()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(69) && told.contains("files and batches cannot be kept"), "{told}");
    row("F-11", "the disk of files and batches is full at the start", "exit 69 and why: it is tried again");
}

#[test]
fn the_disk_of_files_and_batches_fails_or_is_slow() {
    const EIO: i64 = 5;
    const EROFS: i64 = 30;
    let (faults, folder) = (Faults::new(), tempfile::tempdir().unwrap());
    let server = faults.server(&["--model", &model(), "--data-dir", folder.path().to_str().unwrap()]);
    let kept = [server.keep("one", "user_data", b"kept before")];
    let input = server.keep("one", "batch", format!("{}\n", line(0)).as_bytes());
    for (fault, number, what) in [
        (Fault::WriteError, EIO, "writing to it fails (EIO)"),
        (Fault::WriteError, EROFS, "it is read-only (EROFS)"),
        (Fault::SyncError, EIO, "what was written cannot be made sure (EIO)"),
    ] {
        faults.set(fault, number);
        keeps(&server, 503);
        let refused = begin(&server, &input);
        assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("storage_unavailable")));
        faults.set(fault, 0);
        works(&server, &kept);
        row("F-11", what, "503 `storage_unavailable`, judging goes on; then all is there and whole");
    }
    faults.set(Fault::SyncMilliseconds, 1500);
    std::thread::scope(|scope| {
        let start = Instant::now();
        let keeping = scope.spawn(|| server.keep("one", "user_data", b"kept before"));
        let mut judged = 0;
        while !keeping.is_finished() {
            server.ok("/v1/chat/completions", &short());
            judged += 1;
        }
        assert!(judged > 1 && start.elapsed() > Duration::from_secs(1));
        row("F-11", "each fsync takes 1.5 s", &format!("{judged} answers while one file was kept"));
    });
    faults.set(Fault::SyncMilliseconds, 0);
    works(&server, &kept);
}

#[test]
fn another_server_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--model", &model(), "--data-dir", folder.path().to_str().unwrap()];
    let server = Server::with_options(&options);
    let kept = [server.keep("one", "user_data", b"kept before")];
    let second = Command::new(binary()).args(["serve", "--port", "0"]).args(options).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(
        second.status.code() == Some(75) && told.contains("another process"),
        "{:?} {told}",
        second.status
    );
    works(&server, &kept);
    row("F-22", "a second server with the same folder", "exit 75 and why; the first goes on");
}

#[test]
fn a_batch_that_is_asked_for_again_is_begun_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--model", &model(), "--data-dir", folder.path().to_str().unwrap()];
    let mut server = Server::with_options(&options);
    let input = server.keep("one", "batch", format!("{}\n", line(0)).as_bytes());
    let other = server.keep("one", "batch", format!("{}\n", line(1)).as_bytes());
    let begin = |server: &Server, owner: &str, input: &str, key: &str| {
        let body =
            json!({ "input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h" });
        let owner = format!("Bearer {owner}");
        let headers =
            [("content-type", "application/json"), ("authorization", &*owner), ("idempotency-key", key)];
        server.send("POST", "/v1/batches", &headers, body.to_string().as_bytes())
    };
    let first = begin(&server, "one", &input, "a").json();
    // At once, as a proxy does that sends what it believes lost.
    std::thread::scope(|scope| {
        let again: Vec<_> =
            (0..8).map(|_| scope.spawn(|| begin(&server, "one", &input, "b").json())).collect();
        let ids: Vec<Value> = again.into_iter().map(|asked| asked.join().unwrap()["id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && ids[0].is_string() && ids[0] != first["id"]), "{ids:?}");
    });
    server.signal("KILL");
    drop(server);
    server = Server::with_options(&options);
    assert_eq!(begin(&server, "one", &input, "a").json()["id"], first["id"]);
    let reused = begin(&server, "one", &other, "a");
    assert_eq!((reused.status, reused.json()["code"].clone()), (409, json!("idempotency_key_reused")));
    assert_eq!(begin(&server, "another", &input, "a").status, 400, "a key is its owner's, and so is a file");
    assert_eq!(begin(&server, "one", &input, "").status, 400);
    let list = server.keyed("one", ("GET", "/v1/batches"), &Value::Null).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    row(
        "F-24",
        "a batch is asked for again by the same `Idempotency-Key`: eight times at once, and after a SIGKILL",
        "it is begun once, and its id comes back; another request by that key gets 409",
    );
}
