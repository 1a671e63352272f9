//! The engine does not come back from a step.

use std::{
    thread,
    time::{Duration, Instant},
};

use gavel_tests::Server;
use serde_json::json;

use crate::{
    case, chat,
    interposed::{Fault, Faults},
    long, model, rests, row,
};

/// Waits longer than for anything that a machine does by itself.
fn wait_long(what: &str, most_s: u64, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(most_s), "it did not come true that {what}");
        thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

fn status(server: &Server, path: &str) -> u16 {
    server.get(path).status
}

fn stalled(fault: Fault) {
    let faults = Faults::new();
    let server = faults.server(&["--model", &model(), "--request-timeout-s", "3"]);
    rests(&server);
    let mut events = server.post("/v1/chat/completions", &chat("Go on.", 30_000)).events();
    assert!(events.next().is_some());
    faults.set(fault, 1);
    let start = Instant::now();
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let answer = server.post("/judge", &case());
            (answer.status, answer.json()["code"].clone(), start.elapsed())
        });
        let stream = scope.spawn(move || {
            let told = events.find(|event| event.data.contains("\"error\"")).unwrap().json();
            told["error"]["code"].clone()
        });
        let noticed = wait_long("it is not ready", 30, || status(&server, "/readyz") == 503);
        assert_eq!(status(&server, "/livez"), 200);
        assert_eq!(stream.join().unwrap(), "deadline_exceeded");
        let (status_code, code, told) = late.join().unwrap();
        assert_eq!((status_code, code), (504, json!("deadline_exceeded")));
        assert!(told < Duration::from_secs(20), "its time was 3 s, and it was told after {told:?}");
        row(
            "F-05",
            &format!("the engine does not come back ({fault:?})"),
            &format!(
                "not ready after {:.1} s, 504 to a request with 3 s after {:.1} s, `/livez` 200",
                noticed.as_secs_f64(),
                told.as_secs_f64()
            ),
        );
    });
    if long() {
        let start = Instant::now();
        let mut lived = true;
        wait_long("it says that it does not live, or ends", 90, || {
            lived = std::net::TcpStream::connect(server.address()).is_ok();
            !lived
        });
        let code = server.exit_code();
        assert_eq!(code, Some(70));
        row("F-05", "it goes on for a minute", &format!("exit 70, {} s later", start.elapsed().as_secs()));
    } else {
        faults.set(fault, 0);
        wait_long("it is ready again", 30, || status(&server, "/readyz") == 200);
        rests(&server);
        row("F-05", "it comes back after all", "ready again, every block is back");
    }
}

#[test]
fn the_engine_sleeps() {
    stalled(Fault::Stall);
}

#[test]
fn the_engine_turns_in_a_circle() {
    if long() {
        stalled(Fault::Spin);
    }
}
