//! The time of day jumps, as when a machine is set right or wrong.

use gavel_tests::{Keys, Server, wait_until};
use serde_json::{Value, json};

use crate::{
    case, chat,
    interposed::{Fault, Faults},
    row,
};

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

#[test]
fn the_time_of_day_jumps() {
    let faults = Faults::new();
    let keys = Keys::new(&[("few", "requests_per_minute = 5"), ("free", "")]);
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (keys.path(), folder.path().to_str().unwrap());
    let options = ["--keys-file", path.to_str().unwrap(), "--data-dir", data, "--file-expiry-h", "1"];
    let server = faults.server(&options);
    let body = json!({ "messages": [{ "role": "user", "content": "Hm?" }], "max_tokens": 2 });
    let ask = |server: &Server, name: &str| keys.post(server, name, ("/v1/chat/completions", &body)).status;
    // A quota that is used up; a file that is kept for an hour; a batch that has a day; a text that is being written.
    wait_until("its quota is used up", || ask(&server, "few") == 429);
    let key = keys.key("free");
    let file = server.keep(key, "user_data", b"kept for an hour");
    let batch = server.begin_batch(key, ("/v1/chat/completions", "24h"), &vec![body.clone(); 400]);
    let stream = keys.post(&server, "free", ("/v1/chat/completions", &chat("Go on.", 4_000)));
    let mut events = stream.events();
    assert!(events.next().is_some());
    let jumps = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS];
    let swinging = (0..20).map(|turn| if turn % 2 == 0 { HOUR } else { -HOUR });
    for jump in jumps.into_iter().chain(swinging).chain([0]) {
        faults.set(Fault::ClockSeconds, jump);
        let judged = keys.post(&server, "free", ("/judge", &case()));
        assert_eq!(judged.status, 200, "{jump}");
        assert!(events.next().is_some(), "{jump}: the text goes on");
        assert_eq!(ask(&server, "few"), 429, "{jump}: the quota does not come back");
        assert_eq!(server.get("/readyz").status, 200);
        let kept = server.keyed(key, ("GET", &format!("/v1/files/{file}/content")), &Value::Null);
        assert_eq!(kept.status, 200, "{jump}: the file is kept");
    }
    faults.set(Fault::ClockSeconds, TEN_YEARS);
    let ended = server.ended_batch(key, &batch);
    assert_eq!(ended["request_counts"]["completed"], 400, "{ended}");
    let list = server.keyed(key, ("GET", "/v1/files"), &Value::Null).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 3, "input, output and file: {list}");
    drop(events);
    server.signal("TERM");
    assert!(server.wait());
    row(
        "F-14",
        "the time of day jumps by an hour and by ten years, forth and back, and swings",
        "no quota comes back, no time is up, no file and no batch is too old",
    );
}
