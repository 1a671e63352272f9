//! Signals: the server is told to stop, is killed, or is stopped for a while.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use gavel_tests::{Response, Server, read_from, wait_until};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{case, chat, head, long, model, random, rests, row};

const CHAT: &str = "/v1/chat/completions";

/// How a request ended, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With all of its answer.
    Done,
    /// With an event that tells of an error.
    Error,
    /// With a status that says when to come again.
    Refused,
    /// It was sent too slowly, and was told so.
    Late,
}

/// Reads an answer to its end, of which there must be exactly one.
fn end(response: Response) -> End {
    if response.status == 408 {
        return End::Late;
    }
    if response.status != 200 {
        assert_eq!((response.status, response.header("retry-after").is_some()), (503, true));
        assert_eq!(response.json()["code"], "draining");
        return End::Refused;
    }
    let mut ends = Vec::new();
    for event in response.events() {
        // A stream of OpenAI's has this as its last event, also behind an error.
        if event.data == "[DONE]" {
            if ends.is_empty() {
                ends.push(End::Done);
            }
            continue;
        }
        assert_eq!(ends, [], "something follows the end");
        if event.json().get("error").is_some() {
            assert_eq!(event.json()["error"]["code"], "draining");
            ends.push(End::Error);
        }
    }
    assert_eq!(ends.len(), 1, "an answer without an end");
    ends[0]
}

#[test]
fn it_is_told_to_stop_with_nothing_to_do() {
    let server = random(&[]);
    rests(&server);
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.wait());
    assert!(start.elapsed() < Duration::from_secs(30));
    row(
        "F-01",
        "SIGTERM while nothing is to be done",
        &format!("exit 0 after {} ms", start.elapsed().as_millis()),
    );
}

/// Streams run, others wait, others are being sent; then no more is taken, and what has not ended in time is told so.
fn crowd(timeout_s: &str) -> Vec<End> {
    const REQUESTS: usize = 264;
    let options = ["--max-sequences", "88", "--max-waiting", "400", "--shutdown-timeout-s", timeout_s];
    let server = random(&options);
    let address = server.address().to_owned();
    let body = |index: usize| chat(&format!("Say {index}."), 1000).to_string();
    let sending: Vec<(TcpStream, String)> = (0..10)
        .map(|index| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
            let whole = head(body(index).len()) + &body(index);
            let (first, rest) = whole.split_at(whole.len() - 9);
            stream.write_all(first.as_bytes()).unwrap();
            (stream, rest.to_owned())
        })
        .collect();
    let ends = thread::scope(|scope| {
        let asking: Vec<_> = (0..REQUESTS)
            .map(|index| {
                let (server, body) = (&server, chat(&format!("Go on, {index}."), 1000));
                scope.spawn(move || end(server.post(CHAT, &body)))
            })
            .collect();
        wait_until("many run and many wait", || {
            server.engine("running") >= 60 && server.engine("waiting") >= 100
        });
        let told = Instant::now();
        server.signal("TERM");
        wait_until("it is no longer ready", || server.get("/readyz").status == 503);
        row(
            "F-02",
            "SIGTERM in a crowd: `/readyz`",
            &format!("503 within {} ms", told.elapsed().as_millis()),
        );
        let refused = server.post("/judge", &case());
        assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("draining")));
        assert_eq!(server.get("/livez").status, 200);
        // A half of those who were sending go on, the others never do.
        let sent = sending.into_iter().enumerate().map(|(index, (mut stream, rest))| {
            if index % 2 == 0 {
                stream.write_all(rest.as_bytes()).unwrap();
            }
            scope.spawn(move || end(read_from(stream)))
        });
        let sent: Vec<_> = sent.collect();
        let ends: Vec<End> = asking.into_iter().chain(sent).map(|asked| asked.join().unwrap()).collect();
        let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
        row(
            "F-02",
            &format!("of {} requests, some still being sent, with {timeout_s} s to end", ends.len()),
            &format!(
                "{} end with `[DONE]`, {} with an error event, {} with 503, {} with 408; none without an end, after {} ms",
                count(End::Done),
                count(End::Error),
                count(End::Refused),
                count(End::Late),
                told.elapsed().as_millis()
            ),
        );
        ends
    });
    assert!(server.wait(), "it ended well");
    ends
}

#[test]
fn it_is_told_to_stop_in_a_crowd() {
    // With time for some, and for all but those who never send the rest.
    let some = crowd("4");
    assert!(some.iter().any(|end| *end != End::Done), "it had time for all");
    if long() {
        let all = crowd("120");
        assert_eq!(all.iter().filter(|end| **end != End::Done).count(), 5);
    }
}

#[test]
fn it_is_told_to_stop_twice() {
    let server = random(&["--shutdown-timeout-s", "600"]);
    let running = server.post(CHAT, &chat("Go on.", 30_000));
    wait_until("it runs", || server.engine("running") == 1);
    server.signal("TERM");
    wait_until("new requests are refused", || server.post("/judge", &case()).status == 503);
    let start = Instant::now();
    server.signal("INT");
    assert_eq!(end(running), End::Error);
    assert!(server.wait());
    assert!(start.elapsed() < Duration::from_secs(60), "far sooner than what was allowed to run");
    row(
        "F-03",
        "SIGTERM, then SIGINT, while a stream runs",
        &format!("an error event, exit 0 after {} ms", start.elapsed().as_millis()),
    );
}

fn completed(batch: &Value) -> u64 {
    batch["request_counts"]["completed"].as_u64().unwrap()
}

#[test]
fn it_is_killed_at_any_moment_and_started_again() {
    const LINES: usize = 4000;
    let kills = if long() { 200 } else { 8 };
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log.jsonl"));
    let options =
        ["--model", &model(), "--data-dir", data.to_str().unwrap(), "--judging-log", log.to_str().unwrap()];
    let body = |index: usize| json!({ "messages": [{ "role": "user", "content": format!("Say {index}.") }], "max_tokens": 8 });
    let bodies: Vec<Value> = (0..LINES).map(body).collect();
    let mut server = Server::with_options(&options);
    let mut ids = vec![server.begin_batch("one", (CHAT, "24h"), &bodies)];
    let mut moment = StdRng::seed_from_u64(3);
    let (mut before, mut in_the_midst) = (0, 0);
    for _ in 0..kills {
        let batch = server.batch("one", ids.last().unwrap());
        let now = completed(&batch);
        assert!(now >= before, "{now} lines are done of {before}");
        if batch["status"] == "completed" {
            ids.push(server.begin_batch("one", (CHAT, "24h"), &bodies));
            before = 0;
        } else {
            before = now;
        }
        let (_stream, _judging) = (server.post(CHAT, &chat("Go on.", 3_000)), server.post("/judge", &case()));
        thread::sleep(Duration::from_millis(moment.random_range(0..150))); // the moment of the fault
        in_the_midst += usize::from(server.engine("running") > 0);
        server.signal("KILL");
        assert_eq!(server.exit_code(), None);
        server = Server::with_options(&options);
    }
    assert!(in_the_midst > 0);
    for id in &ids {
        let batch = server.ended_batch("one", id);
        assert_eq!(batch["request_counts"], json!({ "total": LINES, "completed": LINES, "failed": 0 }));
        // Each line is JSON, or this fails.
        let lines = server.lines("one", &batch["output_file_id"]);
        let mut names: Vec<usize> =
            lines.iter().map(|line| line["custom_id"].as_str().unwrap().parse().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, (0..LINES).collect::<Vec<_>>(), "a line is missing or there twice");
    }
    drop(server);
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "a line of the log is cut");
    row(
        "F-03",
        &format!("SIGKILL {kills} times at any moment, {in_the_midst} of them while the engine ran"),
        &format!(
            "{} batches of {LINES} lines: each line there once, none cut, no lock left, ready again each time",
            ids.len()
        ),
    );
}

#[test]
fn it_judges_the_same_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let options = ["--judging-log", log.to_str().unwrap()];
    let mut wanted = None;
    for round in 0..4 {
        let server = Server::with_options(&options);
        let verdict = gavel_tests::uncounted(server.ok("/judge", &case()));
        assert_eq!(
            *wanted.get_or_insert_with(|| verdict.clone()),
            verdict,
            "the same verdict after each start"
        );
        wait_until("its line is there", || fs::read_to_string(&log).unwrap().lines().count() == round + 1);
        let _running = server.post("/v1/chat/completions", &chat("Go on.", 3_000));
        server.signal("KILL");
        assert!(!server.wait());
        // As if it had been killed while it wrote.
        fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"{\"time\":17").unwrap();
    }
    row(
        "F-03",
        "SIGKILL while it answers, four times",
        "it starts again, judges the same, and cuts a half-written line of the log off",
    );
}

#[test]
fn it_is_stopped_and_goes_on() {
    let server = random(&[]);
    let mut events = server.post("/v1/chat/completions", &chat("Go on.", 20_000)).events();
    assert!(events.next().is_some());
    server.signal("STOP");
    let stat = || fs::read_to_string(format!("/proc/{}/stat", server.process_id())).unwrap();
    wait_until("it is stopped", || stat().contains(") T "));
    let held = TcpStream::connect(server.address()).unwrap();
    thread::sleep(Duration::from_secs(1)); // the fault itself: a pause as of a machine that is moved
    server.signal("CONT");
    assert!(events.next().is_some(), "the stream goes on");
    wait_until("it is ready", || server.get("/readyz").status == 200);
    drop((events, held));
    rests(&server);
    row("F-13", "SIGSTOP, a second later SIGCONT", "streams go on, it is ready, nothing is lost");
}

#[test]
fn who_ran_out_of_time_while_it_was_stopped_is_told() {
    let pause = Duration::from_secs(if long() { 30 } else { 2 });
    let server = random(&["--request-timeout-s", "1", "--max-sequences", "1"]);
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|index| {
                let (server, ended) = (&server, &ended);
                scope.spawn(move || {
                    let mut body = chat(&format!("Go on, {index}."), 30_000);
                    body["stream"] = false.into();
                    let answer = server.post(CHAT, &body);
                    ended.fetch_add(1, Relaxed);
                    (answer.status, answer.json()["code"].clone())
                })
            })
            .collect();
        wait_until("one runs and three wait", || server.engine("waiting") == 3);
        server.signal("STOP");
        assert_eq!(ended.load(Relaxed), 0);
        thread::sleep(pause); // the fault itself
        server.signal("CONT");
        let start = Instant::now();
        for asked in asking {
            assert_eq!(asked.join().unwrap(), (504, json!("deadline_exceeded")));
        }
        wait_until("it is ready", || server.get("/readyz").status == 200);
        row(
            "F-13",
            &format!("SIGSTOP for {} s, which is longer than requests have", pause.as_secs()),
            &format!("504 to all, ready {} ms after SIGCONT", start.elapsed().as_millis()),
        );
    });
    rests(&server);
}
