//! Bulk work on several servers: nothing is lost when one is killed or refuses work, and unreachable ones are reported.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use gavel_tests::{Server, binary, reference, uncounted, wait_until};
use serde_json::{Value, json};

const ROWS: usize = 160;

/// A folder with rows about the images of the toy world.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for picture in 0..16 {
        let from = reference().join(format!("../data/toy/images/{picture:02}.png"));
        fs::copy(from, folder.path().join(format!("{picture:02}.png"))).unwrap();
    }
    let row = |index: usize| {
        json!({ "id": format!("row-{index}"), "question": "What is in the image?", "image": format!("{:02}.png", index % 16),
            "response": format!("There are {index} circles.") })
    };
    let rows: String = (0..ROWS).map(|index| format!("{}\n", row(index))).collect();
    fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    folder
}

fn command(folder: &Path, output: &str, servers: &[&Server]) -> Command {
    let mut command = Command::new(binary());
    command.args(["judge", "--input", "rows.jsonl", "--output", output]).current_dir(folder);
    for server in servers {
        command.args(["--url", &format!("http://{}", server.address())]);
    }
    command
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Verdicts without the members that depend on the server that gave them.
fn verdicts(lines: Vec<Value>) -> BTreeSet<String> {
    let without_receipt = |mut line: Value| {
        line.as_object_mut().unwrap().remove("receipt");
        uncounted(line).to_string()
    };
    lines.into_iter().map(without_receipt).collect()
}

#[test]
fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let folder = folder();
    let [stays, mut dies] = [Some(Server::with_options(&[])), Some(Server::with_options(&[]))];
    let stays = stays.unwrap();
    let mut run = command(folder.path(), "out.jsonl", &[&stays, dies.as_ref().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("some rows are done by both", || {
        let busy = dies.as_ref().is_some_and(|server| server.engine("steps") > 0);
        let done = lines(folder.path(), "out.jsonl").len();
        assert!(done < ROWS, "the run was over before the server could be killed");
        busy && done > 10
    });
    drop(dies.take());
    assert!(run.wait().unwrap().success());
    let found = lines(folder.path(), "out.jsonl");
    assert_eq!(found.len(), ROWS);
    let ids: BTreeSet<&str> = found.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), ROWS);
    assert_eq!(lines(folder.path(), "out.jsonl.left-out.jsonl").len(), 0);
    // The verdicts are the same as those of the critic in the process of the command.
    assert!(command(folder.path(), "here.jsonl", &[]).output().unwrap().status.success());
    assert_eq!(verdicts(found), verdicts(lines(folder.path(), "here.jsonl")));
}

#[test]
fn refusals_are_waited_for_and_both_servers_work() {
    let folder = folder();
    // The queue is so short that most requests are refused, with a time after which to retry.
    let small = ["--max-waiting", "8", "--max-sequences", "4"];
    let servers = [Server::with_options(&small), Server::with_options(&small)];
    let run = command(folder.path(), "out.jsonl", &[&servers[0], &servers[1]])
        .args(["--score-only"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(lines(folder.path(), "out.jsonl").len(), ROWS);
    assert_eq!(lines(folder.path(), "out.jsonl.left-out.jsonl").len(), 0);
    let told = String::from_utf8(run.stdout).unwrap();
    assert!(
        told.contains("rows done") && told.contains("rows each second") && told.contains("mean score"),
        "{told}"
    );
    assert!(servers.iter().all(|server| server.engine("steps") > 0));
}

#[test]
fn servers_with_different_critics_and_servers_that_are_gone_are_told() {
    let folder = folder();
    let servers = [Server::with_options(&[]), Server::steered()];
    let mixed = command(folder.path(), "out.jsonl", &[&servers[0], &servers[1]]).output().unwrap();
    let told = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert!(!mixed.status.success() && told.contains("different critics"), "{told}");
    let mut gone = command(folder.path(), "out.jsonl", &[]);
    let gone = gone.args(["--url", "http://127.0.0.1:9"]).output().unwrap();
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(!gone.status.success() && told.contains("none of the servers"), "{told}");
}
