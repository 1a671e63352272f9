//! The pages for browsers: as they are served, and as a real Chromium shows them.

use std::{path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::{Server, picture, python, run_well, tool};
use serde_json::json;

const FILES: [(&str, &str); 13] = [
    ("/", "text/html"),
    ("/page/page.css", "text/css"),
    ("/page/page.js", "text/javascript"),
    ("/page/ask.js", "text/javascript"),
    ("/page/draw.js", "text/javascript"),
    ("/page/images.js", "text/javascript"),
    ("/page/program.js", "text/javascript"),
    ("/page/icon.svg", "image/svg+xml"),
    ("/page/scene.png", "image/png"),
    ("/docs", "text/html"),
    ("/docs/docs.js", "text/javascript"),
    ("/docs/swagger-ui-bundle.js", "text/javascript"),
    ("/docs/swagger-ui.css", "text/css"),
];

/// Runs checks of `python/page.py` against a server, if Chromium is installed.
fn drive(server: &Server, checks: &[&str]) {
    let Some(chromium) = tool("chromium") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/page.py");
    let url = format!("http://{}", server.address());
    let mut command = Command::new(python());
    let said = run_well(command.arg(script).arg(chromium.get_program()).arg(url).args(checks), b"");
    assert!(said.ends_with("all well\n"), "{said}");
}

#[test]
fn people_judge_in_a_browser() {
    // Without a memo every verdict is computed, so that the page shows its justification while it is written.
    drive(&Server::with_options(&["--memo-entries", "0"]), &[]);
}

#[test]
fn escape_ends_the_work_on_the_server() {
    // The cache has room for all requests at once.
    let server = Server::steered_with(&["--cache-mib", "256"]);
    // These other texts make each step slow enough to observe.
    let others: Vec<_> = (0..4)
        .map(|index| {
            let messages = json!([{ "role": "user", "content": format!("Go on, {index}.") }]);
            let endless = json!({ "messages": messages, "max_tokens": 8000, "ignore_eos": true, "stream": true, "n": 8, "temperature": 1.5 });
            let mut events = server.post("/v1/chat/completions", &endless).events();
            assert!(events.next().is_some());
            events
        })
        .collect();
    drive(&server, &["stop"]);
    drop(others);
}

#[test]
fn files_are_known_by_their_tags() {
    let server = Server::random();
    for (path, kind) in FILES {
        let response = server.get(path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("content-type").unwrap().starts_with(kind), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        let tag = response.header("etag").unwrap().to_owned();
        for (known, status) in [(tag.clone(), 304), (format!("\"a\", W/{tag}"), 304), ("\"a\"".into(), 200)] {
            let again = server.send("GET", path, &[("if-none-match", &known)], b"");
            assert_eq!((again.status, again.header("etag")), (status, Some(&*tag)), "{path} with {known}");
        }
    }
}

#[test]
fn pages_may_load_what_the_server_has_and_nothing_else() {
    let server = Server::random();
    for (path, kind) in FILES.into_iter().filter(|(_, kind)| *kind == "text/html") {
        let response = server.get(path);
        let policy = response.header("content-security-policy").unwrap().to_owned();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        let markup = response.text();
        assert!(
            !markup.contains("http") && !markup.contains("style="),
            "{path} is {kind} of this server alone"
        );
    }
}

#[test]
fn the_example_is_the_readme_s() {
    let server = Server::random();
    assert!(BASE64_STANDARD.encode(server.get("/page/scene.png").bytes()) == picture());
}

#[test]
fn chat_is_still_at_the_root() {
    let server = Server::random();
    let body = json!({ "messages": [{ "role": "user", "content": "Hello" }], "max_tokens": 2 });
    assert_eq!(server.ok("/", &body)["object"], "chat.completion");
    assert_eq!(server.send("DELETE", "/", &[], b"").status, 405);
}
