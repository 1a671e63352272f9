//! The administration listener, requests for other hosts, and reloaded files.

use std::process::Command;

use gavel_tests::{Keys, Server, binary, free_port, send, send_raw, wait_until};
use serde_json::{Value, json};

#[test]
fn figures_reloads_and_stopping_have_a_listener_of_their_own() {
    let keys = Keys::new(&[("a", "")]);
    let port = free_port().to_string();
    let server = keys.server(&["--admin-address", &port]);
    let admin = format!("127.0.0.1:{port}");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| send(&admin, (method, path), headers, b"");
    assert!(ask("GET", "/metrics", &[]).text().contains("gavel_connections_open"));
    let figures = keys.get(&server, "a", "/metrics");
    assert_eq!((figures.status, figures.json()["code"].clone()), (404, json!("not_found")));
    let reloaded = ask("POST", "/reload", &[]);
    assert_eq!(
        (reloaded.status, reloaded.json()),
        (200, json!({ "keys": 1, "certificates": false, "rubrics": null }))
    );
    // Requests of web pages are refused, whatever their origin.
    for (name, value) in [("origin", "http://127.0.0.1"), ("origin", "http://evil.example")] {
        assert_eq!(ask("POST", "/drain", &[(name, value)]).status, 403);
    }
    let evil = b"POST /drain HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(send_raw(&admin, evil).unwrap().status, 421);
    assert_eq!(ask("GET", "/readyz", &[]).status, 200);
    for path in ["/judge", "/v1/models", "/health"] {
        let told = ask("GET", path, &[]);
        assert_eq!(
            (told.status, &told.json()["code"]),
            (404, &json!("not_found")),
            "{path} is not administration"
        );
    }
    for (method, path) in [("GET", "/reload"), ("POST", "/metrics"), ("POST", "/livez")] {
        let told = ask(method, path, &[]);
        assert_eq!(
            (told.status, &told.json()["code"]),
            (405, &json!("method_not_allowed")),
            "{method} {path}"
        );
    }
    // Answers have the same headers as on the main port, refusals too.
    for (method, path) in [("GET", "/metrics"), ("GET", "/readyz"), ("GET", "/judge"), ("GET", "/reload")] {
        let told = ask(method, path, &[("x-request-id", "mine")]);
        for (name, value) in
            [("x-request-id", "mine"), ("x-content-type-options", "nosniff"), ("cache-control", "no-store")]
        {
            assert_eq!(told.header(name), Some(value), "{name} of {method} {path}");
        }
    }
    assert_eq!(ask("POST", "/drain", &[]).status, 202);
    assert!(server.wait(), "it ended well");
}

#[test]
fn an_admin_listener_for_other_machines_wants_an_admin_key() {
    let keys = Keys::new(&[("a", "")]);
    let path = keys.path().to_string_lossy().into_owned();
    let options = ["serve", "--port", "0", "--keys-file", &path, "--admin-address", "0.0.0.0:0"];
    let refused = Command::new(binary()).args(options).output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("admin = true"), "{told}");
    let keys = Keys::new(&[("a", ""), ("admin", "admin = true")]);
    let address = format!("0.0.0.0:{}", free_port());
    let _server = keys.server(&["--admin-address", &address]);
    let here = address.replace("0.0.0.0", "127.0.0.1");
    let status = |name: Option<&str>| {
        let bearer = name.map(|name| format!("Bearer {}", keys.key(name)));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        send(&here, ("GET", "/metrics"), &headers, b"").status
    };
    assert_eq!([None, Some("a"), Some("admin")].map(status), [401, 403, 200]);
    // Without it nobody could reload the keys any more.
    let text = std::fs::read_to_string(keys.path()).unwrap();
    keys.put(&text.replace("admin = true", ""));
    let bearer = format!("Bearer {}", keys.key("admin"));
    let reload = || send(&here, ("POST", "/reload"), &[("authorization", &bearer)], b"");
    let refused = reload();
    let (code, told) = (refused.status, refused.text());
    assert!(code == 422 && told.contains("admin = true"), "{code} {told}");
    assert_eq!(status(Some("admin")), 200);
    keys.put(&text);
    assert_eq!(reload().status, 200);
}

#[test]
fn a_server_with_keys_is_open_to_nobody_without_one_whatever_else_is_said() {
    let keys = Keys::new(&[("admin", "admin = true")]);
    let port = free_port();
    let open = format!("0.0.0.0:{port}");
    let here = format!("127.0.0.1:{port}");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| send(&here, (method, path), headers, b"");
    {
        let server = keys.server(&["--insecure-no-auth", "--admin-address", &open]);
        assert_eq!(server.get("/v1/models").status, 401);
        for (method, path) in [("GET", "/metrics"), ("POST", "/reload"), ("POST", "/drain")] {
            assert_eq!(ask(method, path, &[]).status, 401, "{path}");
        }
        let bearer = format!("Bearer {}", keys.key("admin"));
        let figures = || ask("GET", "/metrics", &[("authorization", &bearer)]);
        assert_eq!(figures().status, 200);
        // Those of both listeners count.
        assert_eq!(figures().figure(r#"gavel_refusals_total{reason="unauthenticated",key="none"}"#), 4.0);
    }
    // One that gets keys while it runs is closed by them.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gavel.toml");
    std::fs::write(&file, "").unwrap();
    let options = ["--config", file.to_str().unwrap(), "--insecure-no-auth", "--admin-address", &open];
    let server = Server::with_options(&options);
    assert_eq!(ask("GET", "/metrics", &[]).status, 200);
    std::fs::copy(keys.path(), &file).unwrap();
    server.signal("HUP");
    wait_until("its keys are known", || ask("GET", "/metrics", &[]).status == 401);
}

#[test]
fn only_a_key_for_administration_reads_rubrics_again() {
    let keys = Keys::new(&[("a", ""), ("admin", "admin = true")]);
    let server = keys.server(&[]);
    let status = |name: &str| keys.post(&server, name, ("/rubrics/reload", &json!({}))).status;
    assert_eq!((status("a"), status("admin")), (403, 409), "409: it has no folder");
    // A request that causes no work uses no quota.
    let keys = Keys::new(&[("poor", "requests_per_minute = 1")]);
    let server = keys.server(&[]);
    let judged = |_| keys.post(&server, "poor", ("/judge", &json!({}))).status;
    assert_eq!([0, 1].map(judged), [400, 429]);
    assert_eq!(keys.post(&server, "poor", ("/rubrics/reload", &json!({}))).status, 403);
}

#[test]
fn without_keys_a_page_of_another_site_gets_nothing() {
    let server = Server::with_options(&["--allowed-hosts", "gavel.example.com,other.example.com"]);
    let ask = |host: &str, more: &str| {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        send_raw(server.address(), request.as_bytes()).unwrap()
    };
    for host in ["localhost", "127.0.0.1:1", "[::1]", "gavel", "gavel.example.com", "OTHER.example.com:1"] {
        let answer = ask(host, "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{host}");
    }
    for host in ["evil.example", "gavel.example.com.evil.example", "localhost/v1/models?"] {
        let refused = ask(host, "");
        assert_eq!(refused.status, 421, "{host}");
        assert_eq!(refused.json()["code"], "host_not_allowed");
    }
    assert_eq!(ask("localhost:8080", "origin: http://localhost:8080\r\n").status, 200);
    assert_eq!(ask("localhost:8080", "origin: http://evil.example\r\n").status, 421);
    assert_eq!(ask("localhost", "origin: null\r\n").status, 421);
    let preflight = b"OPTIONS /judge HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\naccess-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let preflight = send_raw(server.address(), preflight).unwrap();
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
}

#[test]
fn the_host_of_a_whole_uri_counts_too_and_one_origin_alone() {
    let server = Server::with_options(&["--allowed-hosts", "gavel.example.com"]);
    let status = |target: &str, headers: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        send_raw(server.address(), request.as_bytes()).unwrap().status
    };
    for (target, headers) in [
        ("http://localhost/v1/models", "host: localhost\r\n"),
        ("http://gavel.example.com/v1/models", "host: gavel.example.com\r\n"),
        ("/v1/models", "host: localhost\r\norigin: http://localhost\r\n"),
    ] {
        assert_eq!(status(target, headers), 200, "{target} {headers}");
    }
    for (target, headers) in [
        ("http://evil.example/v1/models", "host: localhost\r\n"),
        ("http://localhost/v1/models", "host: evil.example\r\n"),
        ("http://user@localhost/v1/models", "host: localhost\r\n"),
        ("/v1/models", "host: user@localhost\r\n"),
        ("/v1/models", "host: localhost\r\norigin: http://localhost\r\norigin: http://evil.example\r\n"),
        ("/v1/models", "host: localhost\r\norigin: http://localhost\r\norigin: http://localhost\r\n"),
    ] {
        assert_eq!(status(target, headers), 421, "{target} {headers}");
    }
    let judge =
        b"POST http://evil.example/judge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                  content-length: 2\r\nconnection: close\r\n\r\n{}";
    assert_eq!(send_raw(server.address(), judge).unwrap().status, 421);
}

#[test]
fn keys_are_read_again_on_a_signal_and_stay_when_the_file_is_wrong() {
    let mut keys = Keys::new(&[("a", "requests_per_minute = 100"), ("gone", "")]);
    let server = keys.server(&[]);
    let (old, gone) = (keys.key("a").to_owned(), keys.key("gone").to_owned());
    let status = |key: &str| {
        let bearer = format!("Bearer {key}");
        server.send("GET", "/v1/models", &[("authorization", &bearer)], b"").status
    };
    assert_eq!((status(&old), status(&gone)), (200, 200));
    keys.write(&[("a", "requests_per_minute = 100"), ("new", "")]);
    assert_eq!((status(&old), status(keys.key("new"))), (200, 401), "not before it is told");
    server.signal("HUP");
    wait_until("the new key is known", || status(keys.key("new")) == 200);
    assert_eq!((status(&old), status(&gone), status(keys.key("a"))), (401, 401, 200));
    let right = std::fs::read_to_string(keys.path()).unwrap();
    for wrong in ["", "[[keys]]\nid = \"x\"\n", "no TOML"] {
        keys.put(wrong);
        server.signal("HUP");
    }
    // Reloads run in order: when the third key is known, the invalid files were read before.
    let (third, entry) = {
        let more = Keys::new(&[("third", "")]);
        (more.key("third").to_owned(), std::fs::read_to_string(more.path()).unwrap())
    };
    keys.put(&(right + &entry));
    server.signal("HUP");
    wait_until("the third key is known", || status(&third) == 200);
    assert_eq!(status(keys.key("new")), 200);
}

#[test]
fn keys_are_read_again_when_their_file_has_changed() {
    let mut keys = Keys::new(&[("a", "")]);
    let server = keys.server(&[]);
    assert_eq!(keys.get(&server, "a", "/v1/models").status, 200);
    keys.write(&[("b", "")]);
    wait_until("the new key is known", || keys.get(&server, "b", "/v1/models").status == 200);
}

#[test]
fn an_address_that_the_machine_may_get_later_is_worth_another_start() {
    // Reserved for documentation, so that no machine has it.
    let options = ["serve", "--host", "192.0.2.1", "--port", "0", "--insecure-no-auth", "--log-format"];
    let told = |format: &str| {
        let output = Command::new(binary()).args(options).arg(format).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(69), "{told}");
        told.lines().last().unwrap().to_owned()
    };
    let why = "cannot listen on 192.0.2.1:0: ";
    assert!(told("pretty").starts_with(&format!("error: {why}")));
    // Programs that read the log find the reason, too.
    let line: Value = serde_json::from_str(&told("json")).unwrap();
    assert!(line["level"] == "ERROR" && line["message"].as_str().unwrap().starts_with(why), "{line}");
}

#[test]
fn no_request_suffers_while_keys_are_read_again() {
    let keys = Keys::new(&[("a", "requests_per_minute = 100000")]);
    let server = keys.server(&[]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..50).map(|_| keys.get(&server, "a", "/v1/models").status).collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..20 {
            server.signal("HUP");
        }
        asking.into_iter().flat_map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!((statuses.len(), statuses.iter().all(|status| *status == 200)), (200, true));
}

#[test]
fn what_is_wrong_with_a_file_is_told_and_nothing_secret_with_it() {
    let keys = Keys::new(&[("a", "")]);
    let port = free_port().to_string();
    let server = keys.server(&["--admin-address", &port]);
    let reload = || send(&format!("127.0.0.1:{port}"), ("POST", "/reload"), &[], b"");
    keys.put("[[keys]]\nid = \"a\"\nsha256 = \"gavel-secret\"\n");
    let answer = reload();
    let (status, text) = (answer.status, answer.text());
    assert!(status == 422 && text.contains("keys.toml:3: keys.sha256") && !text.contains("secret"), "{text}");
    keys.put("");
    let answer = reload();
    assert!(answer.status == 422 && answer.text().contains("no key would be left"));
    assert_eq!((keys.get(&server, "a", "/health").status, server.get("/health").status), (200, 401));
}
