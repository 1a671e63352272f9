//! A request that ends the engine, whenever it is run.

use std::{path::Path, thread};

use gavel_tests::{Server, send_raw, wait_until};
use serde_json::{Value, json};

use crate::{
    chat,
    interposed::{Fault, Faults},
    model, rests, row, short,
};

const SIGABRT: i64 = 6;

const CHAT: &str = "/v1/chat/completions";

/// What is at fault.
fn poison() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Die." }], "max_tokens": 2 })
}

fn start(faults: &Faults, folder: &Path) -> Server {
    faults.server(&["--model", &model(), "--data-dir", folder.to_str().unwrap()])
}

/// A request with a body.
fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// Lets the engine die over `poison` once, with `neighbours` beside it.
fn die((faults, folder): (&Faults, &Path), death: i64, neighbours: usize) -> Option<i32> {
    let running = start(faults, folder);
    let server = &running;
    thread::scope(|scope| {
        let neighbour = |index| {
            let request = request(CHAT, &chat(&format!("Go on, {index}."), 30_000));
            scope.spawn(move || send_raw(server.address(), request.as_bytes()))
        };
        // Each is there as long as its answer is held.
        let _held: Vec<_> = (0..neighbours).map(neighbour).collect();
        wait_until("they run", || server.engine("running") == neighbours as u64);
        faults.set(Fault::Death, death);
        // Nobody answers where the process is gone at once.
        let told = send_raw(server.address(), request(CHAT, &poison()).as_bytes());
        assert!(told.is_none_or(|response| response.status == 500));
    });
    faults.set(Fault::Death, 0);
    running.exit_code()
}

/// It is refused, wherever it comes from, and nothing else is.
fn is_kept_out(server: &Server) {
    let refused = server.post(CHAT, &poison());
    let headers = [refused.header("x-should-retry"), refused.header("retry-after")];
    assert_eq!(headers, [Some("false"), None]);
    assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!("quarantined")));
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains(r#"gavel_refusals_total{reason="quarantined",key="none"} 1"#), "{metrics}");
    let batch = server.begin_batch("", (CHAT, "24h"), &[short(), poison()]);
    let ended = server.ended_batch("", &batch);
    assert_eq!(ended["request_counts"], json!({ "total": 2, "completed": 1, "failed": 1 }));
    let failed = server.lines("", &ended["error_file_id"]).remove(0);
    assert_eq!(failed["response"]["body"]["code"], "quarantined", "{failed}");
    rests(server);
}

#[test]
fn what_the_engine_dies_of_twice_is_kept_out() {
    for (death, code, what) in [(SIGABRT, None, "aborts"), (1, Some(70), "panics")] {
        let (faults, folder) = (Faults::new(), tempfile::tempdir().unwrap());
        let both = (&faults, folder.path());
        assert_eq!(die(both, death, 3), code, "{what}");
        assert_eq!(die(both, death, 0), code, "{what}");
        let server = start(&faults, folder.path());
        is_kept_out(&server);
        drop(server);
        // The next process knows it, too.
        is_kept_out(&start(&faults, folder.path()));
        row(
            "F-15",
            &format!("the process {what} over a request, at first beside three others"),
            "after the second time 400 `quarantined`, also as a line of a batch; others are answered",
        );
    }
}

#[test]
fn who_is_killed_from_outside_blames_nobody() {
    let (faults, folder) = (Faults::new(), tempfile::tempdir().unwrap());
    for _ in 0..3 {
        let server = start(&faults, folder.path());
        let mut events = server.post(CHAT, &chat("Go on.", 30_000)).events();
        assert!(events.next().is_some());
        server.signal("KILL");
        assert_eq!(server.exit_code(), None);
    }
    let server = start(&faults, folder.path());
    let mut events = server.post(CHAT, &chat("Go on.", 30)).events();
    assert!(events.next().is_some());
    row("F-15", "three SIGKILLs while the same request runs", "it runs again: nothing is blamed for those");
}
