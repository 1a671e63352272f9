//! Access by key: once there are keys, no route admits a request without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use gavel_tests::{Keys, Server, binary, send_raw};
use regex::Regex;
use serde_json::{Value, json};

/// The routes that need no key.
const PROBES: [&str; 6] = ["/ready", "/livez", "/readyz", "/startupz", "/ping", "/healthz"];

/// Every route with its method: those of the API document, and the aliases in the sources of the dialects.
fn routes() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document: Value =
        serde_json::from_str(&fs::read_to_string(root.join("openapi/gavel.json")).unwrap()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        routes
            .extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let before = routes.len();
    let dialects = root.join("crates/server/src/dialects");
    let source = |file: &str| fs::read_to_string(dialects.join(file)).unwrap();
    let (lists, posted) = (
        Regex::new(r"const (\w+): \[&str; \d+\] = \[([^;]*)\];").unwrap(),
        Regex::new(r#""(/[^"\s]*)", post\("#).unwrap(),
    );
    let quoted = Regex::new(r#""(/[^"\s]*)""#).unwrap();
    for list in lists.captures_iter(&source("openai/aliases.rs")) {
        if &list[1] == "STORAGE_BASES" {
            let files = quoted.captures_iter(&list[2]).map(|base| format!("{}/files", &base[1]));
            routes.extend(files.map(|path| ("POST".to_owned(), path)));
            continue;
        }
        let method = if ["MODELS", "MODEL", "REPOSITORY"].contains(&&list[1]) { "GET" } else { "POST" };
        routes.extend(quoted.captures_iter(&list[2]).map(|path| (method.to_owned(), path[1].to_owned())));
    }
    for file in ["scoring/mod.rs", "engines/mod.rs"] {
        let source = source(file);
        routes.extend(posted.captures_iter(&source).map(|path| ("POST".to_owned(), path[1].to_owned())));
    }
    let aliases = routes.len() - before;
    assert!(aliases > 20, "{aliases} aliases");
    // Other spellings of these paths.
    for path in
        ["//judge/", "/v1/v1/rerank", "/v1/chat/completions/v1//responses", "/v1/chat/completions/files"]
    {
        routes.push(("POST".to_owned(), path.to_owned()));
    }
    routes.push(("GET".to_owned(), "/metrics".to_owned()));
    routes
}

#[test]
fn every_route_wants_a_key() {
    let keys = Keys::new(&[("a", "")]);
    let server = keys.server(&[]);
    let key = keys.key("a");
    let (upper, longer) = (key.to_uppercase(), format!("{key}x"));
    let wrong = ["", "x", &key[..key.len() - 1], &longer, &upper].map(|key| format!("Bearer {key}"));
    let parameter = Regex::new(r"\{\w+\}").unwrap();
    let mut asked = 0;
    for (method, path) in routes() {
        let path = parameter.replace_all(&path, "x").into_owned();
        let open = PROBES.contains(&path.as_str());
        let without = server.send(&method, &path, &[], b"");
        if open {
            assert_eq!(without.status, 200, "{path}");
            continue;
        }
        assert_eq!(
            (without.status, without.header("www-authenticate")),
            (401, Some("Bearer")),
            "{method} {path}"
        );
        assert_eq!(without.json()["error"]["code"], "invalid_api_key");
        for bearer in &wrong {
            let refused = server.send(&method, &path, &[("authorization", bearer)], b"");
            assert_eq!(refused.status, 401, "{method} {path}");
        }
        asked += 1;
    }
    assert!(asked > 40, "{asked} routes");
    // The page and the document are public: they are the same in every copy of the program.
    for path in ["/", "/docs", "/page/page.js", "/openapi.json"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    // Extra slashes lead to the route, which wants its key.
    for path in ["//judge", "/judge/"] {
        assert_eq!(server.get(path).status, 401, "{path}");
        assert_eq!(keys.get(&server, "a", path).status, 405, "{path}");
    }
    // For an unknown path a key makes no difference, and another spelling of a path does not lead to its route.
    for path in ["/nothing", "/JUDGE", "/%6audge", "/judge;x", "/../judge", "/reload", "/drain"] {
        assert_eq!(server.get(path).status, 404, "{path}");
        assert_eq!(keys.get(&server, "a", path).status, 404, "{path}");
    }
    assert_eq!(keys.get(&server, "a", "/health").json()["engine"]["steps"], 0, "nobody was let in");
}

#[test]
fn a_key_is_taken_as_clients_send_it_and_not_otherwise() {
    let keys = Keys::new(&[("a", ""), ("b", "")]);
    let server = keys.server(&[]);
    let (a, b) = (keys.key("a"), keys.key("b"));
    let status = |headers: &[(&str, &str)]| server.send("GET", "/v1/models", headers, b"").status;
    let bearer = |scheme: &str| format!("{scheme} {a}");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(status(&[("authorization", &bearer(scheme))]), 200, "{scheme}");
    }
    assert_eq!(status(&[("api-key", a)]), 200);
    assert_eq!(status(&[("x-api-key", b)]), 200);
    assert_eq!(status(&[("authorization", &bearer("Bearer")), ("api-key", a)]), 200);
    for headers in [
        &[("authorization", bearer("Basic"))][..],
        &[("authorization", a.to_owned())],
        &[("authorization", bearer("Bearer")), ("api-key", b.to_owned())],
        &[("authorization", bearer("Bearer")), ("authorization", format!("Bearer {b}"))],
        &[("authorization", format!("Bearer {a} {a}"))],
        &[("authorization", format!("Bearer {}", "x".repeat(20_000)))],
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(status(&headers), 401, "{headers:?}");
    }
    assert_eq!(server.get(&format!("/v1/models?api_key={a}")).status, 401, "a URL is written into logs");
    // A host header that looks like a public path does not bypass the key.
    let trick = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost/livez?\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(send_raw(server.address(), trick).unwrap().status, 401);
}

#[test]
fn a_key_may_stand_in_the_configuration_file_and_is_shown_nowhere() {
    let keys = Keys::new(&[("a", "")]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gavel.toml");
    let entry = fs::read_to_string(keys.path()).unwrap();
    fs::write(&path, format!("[server]\nmemo_entries = 3\n\n{entry}")).unwrap();
    let path = path.to_string_lossy().into_owned();
    let server = Server::with_options(&["--config", &path]);
    assert_eq!((server.get("/health").status, keys.get(&server, "a", "/health").status), (401, 200));
    let digest = entry.split('"').nth(3).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(!text.contains(digest) && !text.contains(keys.key("a")), "{text}");
        (output.status.code(), text)
    };
    let (code, text) = run(&["config", "check", &path]);
    assert!(code == Some(0) && text.contains("has no errors (") && text.contains(" 1 keys)"), "{text}");
    let (code, text) = run(&["serve", "--config", &path, "--print-config"]);
    assert!(code == Some(0) && text.contains("memo_entries = 3 # file"), "{text}");
    // A key in the place of its digest is reported by its line, and not printed.
    fs::write(&path, format!("[server]\nport = 0\n{}", entry.replace(digest, keys.key("a")))).unwrap();
    for arguments in [&["config", "check", &*path][..], &["serve", "--config", &path]] {
        let (code, text) = run(arguments);
        assert!(code == Some(78) && text.contains("gavel.toml:5: keys.sha256"), "{text}");
    }
}

#[test]
fn other_machines_are_served_with_keys_or_when_that_is_said_aloud() {
    let refused =
        Command::new(binary()).args(["serve", "--host", "0.0.0.0", "--port", "0"]).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(text.contains("gavel key new") && text.contains("--insecure-no-auth"), "{text}");
    let keys = Keys::new(&[("a", "")]);
    let path = keys.path().to_string_lossy().into_owned();
    // The settings of a container.
    for setting in [("GAVEL_INSECURE_NO_AUTH", "true"), ("GAVEL_KEYS_FILE", &*path)] {
        let mut serving = Command::new(binary())
            .args(["serve", "--host", "0.0.0.0", "--port", "0"])
            .envs([setting])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = serving.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        serving.kill().unwrap();
        serving.wait().unwrap();
        assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
    }
}

/// A server that was told of a file of keys is never open to all, wherever it listens.
#[test]
fn a_file_without_keys_is_refused_on_this_machine_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    for (text, path) in [("", &*path), ("keys = []\n", &*path), ("", Path::new("/dev/null"))] {
        fs::write(path, text).unwrap();
        for host in ["127.0.0.1", "0.0.0.0"] {
            let mut serve = Command::new(binary());
            serve
                .args(["serve", "--host", host, "--port", "0", "--insecure-no-auth", "--keys-file"])
                .arg(path);
            // If it started all the same, it would print its address and serve until it is killed.
            let mut serving = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            let output = serving.stdout.take().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
            if !line.is_empty() {
                serving.kill().unwrap();
            }
            let ended = serving.wait_with_output().unwrap();
            let told = String::from_utf8(ended.stderr).unwrap();
            assert_eq!((&*line, ended.status.code()), ("", Some(78)), "{told}");
            assert!(told.contains("has no keys") && told.contains("gavel key new"), "{told}");
        }
    }
}

#[test]
fn work_on_a_server_shows_its_key() {
    let keys = Keys::new(&[("a", "")]);
    let server = keys.server(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("cases.jsonl"), folder.path().join("verdicts.jsonl"));
    fs::write(&input, json!({ "question": "What?", "response": "A star." }).to_string()).unwrap();
    let judge = |key: &str| {
        let url = format!("http://{}", server.address());
        Command::new(binary())
            .args(["judge", "--score-only", "--url", &url, "--input"])
            .args([&input, Path::new("--output"), &output])
            .env("GAVEL_API_KEY", key)
            .output()
            .unwrap()
    };
    let refused = judge("wrong");
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("Incorrect API key"), "{text}");
    let done = judge(keys.key("a"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), 1);
}

#[test]
fn a_key_that_has_expired_is_none() {
    let keys = Keys::new(&[("old", "expires = 2020-01-01"), ("new", "expires = 2999-12-31T23:59:59Z")]);
    let server = keys.server(&[]);
    assert_eq!(keys.get(&server, "old", "/v1/models").status, 401);
    assert_eq!(keys.get(&server, "new", "/v1/models").status, 200);
}

#[test]
fn who_shows_many_wrong_keys_is_told_to_wait_and_the_right_key_is_taken() {
    let keys = Keys::new(&[("a", "")]);
    let server = keys.server(&["--wrong-keys-per-minute", "3"]);
    let wrong = || server.send("GET", "/v1/models", &[("authorization", "Bearer gavel-wrong")], b"");
    for _ in 0..3 {
        assert_eq!(wrong().status, 401);
    }
    let told = wrong();
    assert_eq!((told.status, told.header("connection")), (429, Some("close")));
    assert!((1..=20).contains(&told.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(told.json()["error"]["code"], "too_many_wrong_keys");
    assert_eq!(keys.get(&server, "a", "/v1/models").status, 200);
    assert_eq!(server.get("/v1/models").status, 401, "who shows no key guesses none");
}

#[test]
fn a_key_has_a_form_for_its_chat_answers() {
    let entries = [("named", "forms = \"trl-pairwise\""), ("off", "forms = \"off\""), ("plain", "")];
    let keys = Keys::new(&entries);
    let server = keys.server(&[]);
    let chat = json!({ "messages": [{ "role": "user", "content": "Which?" }], "max_tokens": 4 });
    let form = |name: &str| {
        let answer = keys.post(&server, name, ("/v1/chat/completions", &chat));
        answer.header("x-gavel-form").map(str::to_owned)
    };
    assert_eq!(entries.map(|(name, _)| form(name)), [Some("trl-pairwise".to_owned()), None, None]);
    let bearer = format!("Bearer {}", keys.key("named"));
    let headers =
        [("content-type", "application/json"), ("authorization", &*bearer), ("x-gavel-form", "off")];
    let off = server.send("POST", "/v1/chat/completions", &headers, chat.to_string().as_bytes());
    assert_eq!((off.status, off.header("x-gavel-form")), (200, None), "the request goes before");
}

#[test]
fn what_is_kept_for_one_key_serves_no_other_and_a_salt_divides_further() {
    let keys = Keys::new(&[("a", ""), ("b", "")]);
    let server = keys.server(&[]);
    let case =
        json!({ "question": "What is in this picture of several shapes and words?", "response": "A star." });
    let judge = |name: &str, salt: &str| {
        let bearer = format!("Bearer {}", keys.key(name));
        let headers =
            [("content-type", "application/json"), ("authorization", &*bearer), ("x-gavel-cache-salt", salt)];
        let answer = server.send("POST", "/judge", &headers, case.to_string().as_bytes()).json();
        (answer["usage"]["cached_tokens"].as_u64().unwrap() > 0, answer["receipt"]["memo"] == json!(true))
    };
    assert_eq!(judge("a", ""), (false, false));
    assert_eq!(judge("a", ""), (true, true), "one key finds its own again");
    for (name, salt) in [("b", ""), ("b", "a"), ("a", "x"), ("a", "b")] {
        assert_eq!(judge(name, salt), (false, false), "{name} with salt {salt:?}");
        assert_eq!(judge(name, salt), (true, true), "{name} with salt {salt:?}, again");
    }
    // Chat requests may have the salt in their body, as with other servers.
    let cached = |salt: &str| {
        let text = "What is in this picture of several shapes and words? ".repeat(9);
        let chat =
            json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 1, "cache_salt": salt });
        let answer = keys.post(&server, "a", ("/v1/chat/completions", &chat)).json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached("x"), 0);
    assert!(cached("x") > 0);
    assert_eq!(cached("y"), 0);
}
