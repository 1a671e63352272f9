//! Images that are fetched for clients: from allowed hosts only, once, and within limits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use gavel_tests::{Server, image, uncounted};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A server of good and bad images that counts connections and records the heads of requests.
struct Origin {
    address: String,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, heads) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (count, noted) = (connections.clone(), heads.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, SeqCst);
                let noted = noted.clone();
                // An error is ignored, since the client may leave at any time.
                thread::spawn(move || drop(serve(stream.unwrap(), &noted)));
            }
        });
        Self { address, connections, heads }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    noted.lock().unwrap().push(head.clone());
    let picture = BASE64_STANDARD.decode(image("tiny56-square-0.png")).unwrap();
    let length = picture.len();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let mut respond = |status: &str, headers: &str, body: &[u8]| {
        stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}\r\n").as_bytes())?;
        stream.write_all(body)
    };
    match path.split('?').next().unwrap_or_default() {
        "/picture" => respond("200 OK", &format!("content-length: {length}\r\n"), &picture),
        "/as-text" => {
            respond("200 OK", &format!("content-type: text/html\r\ncontent-length: {length}\r\n"), &picture)
        }
        "/moved" => respond("302 Found", "location: /picture\r\ncontent-length: 0\r\n", b""),
        "/moved-inside" => {
            respond("307 Temporary Redirect", "location: http://127.0.0.1/\r\ncontent-length: 0\r\n", b"")
        }
        "/missing" => respond("404 Not Found", &format!("content-length: {length}\r\n"), &picture),
        "/partial" => respond("206 Partial Content", &format!("content-length: {length}\r\n"), &picture),
        "/packed" => {
            respond("200 OK", &format!("content-encoding: gzip\r\ncontent-length: {length}\r\n"), &picture)
        }
        "/declared-large" => respond("200 OK", "content-length: 10737418240\r\n", &picture),
        "/cut" => respond("200 OK", &format!("content-length: {}\r\n", length + 1), &picture),
        "/endless" => {
            respond("200 OK", "", b"")?;
            let zeros = vec![0; 1 << 20];
            loop {
                stream.write_all(&zeros)?;
            }
        }
        "/many-headers" => respond("200 OK", &"x-a: b\r\n".repeat(300), &picture),
        "/slow" => {
            respond("200 OK", &format!("content-length: {length}\r\n"), b"")?;
            for byte in picture {
                stream.write_all(&[byte])?;
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        "/silent" => {
            // Waits until the other side gives up.
            reader.read_line(&mut String::new())?;
            Ok(())
        }
        other => panic!("{other} is asked for"),
    }
}

/// A server that may fetch images from these hosts.
fn fetching(hosts: &str) -> Server {
    let model = gavel_tests::reference().join("models/tiny56");
    Server::with_options(&["--model", &model.to_string_lossy(), "--allow-image-hosts", hosts])
}

fn asking(images: &[&str]) -> Value {
    let mut parts: Vec<Value> =
        images.iter().map(|image| json!({ "type": "image_url", "image_url": { "url": image } })).collect();
    parts.push(json!({ "type": "text", "text": "What is it?" }));
    json!({ "messages": [{ "role": "user", "content": parts }], "max_tokens": 4, "ignore_eos": true })
}

/// Checks that a request is refused with this code, and returns the error.
fn refused(server: &Server, (path, code): (&str, &str), body: &Value) -> Value {
    let response = server.post(path, body);
    let status = response.status;
    let error = response.json()["error"].clone();
    assert_eq!((status, &error["code"]), (400, &json!(code)), "{error}");
    error
}

/// Checks that a request is refused since its image could not be fetched, and returns the error.
fn failed(server: &Server, body: &Value) -> Value {
    refused(server, (CHAT, "failed_to_download_image"), body)
}

#[test]
fn nothing_is_fetched_by_default() {
    let (server, origin) = (Server::random(), Origin::start());
    let url = origin.url("picture");
    let label = json!({ "image": url });
    let transcript = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>";
    for (path, body, param) in [
        (CHAT, asking(&[&url]), "messages[0].content[0]"),
        (CHAT, json!({ "messages": [{ "role": "user", "content": "a" }], "images": [url] }), "images[0]"),
        (
            "/v1/responses",
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "image_url": url }] }] }),
            "input[0].content[0]",
        ),
        ("/judge", json!({ "question": "?", "response": "a", "images": [url] }), "images[0]"),
        ("/judge", json!({ "question": "?", "response": "a", "frames": [url] }), "frames[0]"),
        ("/reward", json!({ "question": "?", "responses": ["a", "b"], "images": [url] }), "images[0]"),
        ("/get_reward", json!({ "query": [transcript], "labels": [label] }), "labels[0]"),
        ("/rm", json!({ "prompt": "Q", "response": "A", "label": label }), "label"),
        ("/v1/decisions", json!({ "input": "a", "images": [url], "questions": [] }), "images[0]"),
        ("/rerank", json!({ "query": { "content": [{ "image": url }] }, "documents": ["a"] }), "query[0]"),
    ] {
        let error = refused(&server, (path, "invalid_image_url"), &body);
        assert_eq!(error["param"], param, "{path}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("This server fetches no images"), "{message}");
        assert!(message.contains("--allow-image-hosts"), "{message}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_image_of_an_allowed_host_is_seen_and_fetched_once_for_a_request() {
    let origin = Origin::start();
    let server = fetching(&origin.address);
    let inline = image("tiny56-square-0.png");
    let answer = |body: &Value| {
        let completion = server.ok(CHAT, body);
        (completion["choices"].clone(), uncounted(completion["usage"].clone()))
    };
    let url = origin.url("picture?signature=secret");
    assert_eq!(answer(&asking(&[url.as_str(); 3])), answer(&asking(&[inline.as_str(); 3])));
    assert_eq!(origin.connections(), 1);
    assert_eq!(answer(&asking(&[&origin.url("as-text")])), answer(&asking(&[&inline])));
    assert_eq!(origin.connections(), 2);
    answer(&asking(&[&url]));
    assert_eq!(origin.connections(), 3, "nothing is kept for another request");
    failed(&server, &asking(&[&origin.url("missing")]));
    let figures = server.get("/metrics").text();
    for line in [
        r#"gavel_image_fetch_total{outcome="fetched"} 3"#,
        r#"gavel_image_fetch_total{outcome="failed"} 1"#,
        "gavel_image_fetch_seconds_count 4",
    ] {
        assert!(figures.lines().any(|found| found == line), "{line} is not in\n{figures}");
    }
    let heads = origin.heads.lock().unwrap().concat().to_ascii_lowercase();
    assert!(
        heads.contains("user-agent: gavel/") && heads.contains(&format!("host: {}", origin.address)),
        "{heads}"
    );
    for never in ["authorization", "cookie", "referer", "accept-encoding", "x-request-id"] {
        assert!(!heads.contains(never), "{heads}");
    }
}

#[test]
fn every_interface_fetches_in_the_same_way() {
    let origin = Origin::start();
    let server = fetching(&origin.address);
    let (url, label) = (origin.url("picture"), json!({ "image": origin.url("picture") }));
    let transcript = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>";
    let content = json!([{ "type": "input_image", "image_url": url }, { "type": "input_text", "text": "?" }]);
    for (path, body) in [
        (
            "/v1/responses",
            json!({ "input": [{ "role": "user", "content": content }], "max_output_tokens": 2 }),
        ),
        ("/judge", json!({ "question": "?", "response": "a", "images": [url], "mode": "score" })),
        ("/reward", json!({ "question": "?", "responses": ["a", "b"], "images": [url] })),
        ("/get_reward", json!({ "query": [transcript], "labels": [label] })),
        ("/rm", json!({ "prompt": "Q", "response": "A", "label": label })),
        (
            "/rerank",
            json!({ "query": { "content": [{ "image": url }, { "text": "?" }] }, "documents": ["a"] }),
        ),
    ] {
        let before = origin.connections();
        server.ok(path, &body);
        assert_eq!(origin.connections(), before + 1, "{path}");
    }
    // A URL in a text is not fetched.
    let before = origin.connections();
    server.ok(
        CHAT,
        &json!({ "messages": [{ "role": "user", "content": format!("![]({url}) {url}") }], "max_tokens": 1 }),
    );
    let query = transcript.replace("What?", &format!("<img src=\"{url}\"> What?"));
    server.ok("/get_reward", &json!({ "query": [query] }));
    assert_eq!(origin.connections(), before);
}

#[test]
fn nothing_is_fetched_for_a_request_that_makes_no_sense() {
    let origin = Origin::start();
    let server = fetching(&origin.address);
    let mut body = asking(&[&origin.url("picture"), "file:///etc/passwd"]);
    assert_eq!(server.post(CHAT, &body).status, 400);
    body = asking(&[&origin.url("picture")]);
    body["temperature"] = json!(9);
    assert_eq!(server.post(CHAT, &body).status, 400);
    body = asking(&[&origin.url("picture"), "http://elsewhere.example/a.png"]);
    failed(&server, &body);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_url_with_white_space_around_it_is_not_fetched() {
    let origin = Origin::start();
    let server = fetching(&origin.address);
    let url = origin.url("picture");
    for written in [format!("\t{url}"), format!(" {url}"), format!("{url}\n"), format!("\u{a0}{url}")] {
        failed(&server, &asking(&[&written]));
    }
    assert_eq!(origin.connections(), 0);
    server.ok(CHAT, &asking(&[&url]));
}

#[test]
fn whatever_goes_wrong_is_told_in_one_way() {
    let (origin, inside) = (Origin::start(), Origin::start());
    let inside_port = inside.address.rsplit(':').next().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // A host name with a port is allowed at that port, but must still resolve to public addresses.
    let server = fetching(&format!("{},{closed},localhost:{inside_port},localhost", origin.address));
    let mut said = Vec::new();
    for url in [
        origin.url("moved"),
        origin.url("moved-inside"),
        origin.url("missing"),
        origin.url("partial"),
        origin.url("packed"),
        origin.url("declared-large"),
        origin.url("endless"),
        origin.url("cut"),
        origin.url("many-headers"),
        format!("http://{closed}/picture"),
        format!("http://localhost:{inside_port}/picture"),
        "http://localhost/picture".into(),
        inside.url("picture"),
        format!("http://user@{}/picture", origin.address),
        format!("https://{}/picture", origin.address),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://[::ffff:127.0.0.1]/".into(),
        "http://no-such-host.invalid/a.png".into(),
    ] {
        said.push(failed(&server, &asking(&[&url])));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0]["param"], "messages[0].content[0]");
    assert_eq!(inside.connections(), 0);
    let picture = origin.heads.lock().unwrap().iter().any(|head| head.starts_with("GET /picture"));
    assert!(!picture, "no redirect is followed");
    // An image that cannot be decoded has an error of its own.
    let error = server.post(CHAT, &asking(&["AAAA"])).json();
    assert_eq!(error["error"]["code"], "unsupported_image_media_type");
}

#[test]
fn an_image_that_does_not_come_is_given_up_and_holds_up_nobody_else() {
    let (slow, origin) = (Origin::start(), Origin::start());
    let server = fetching(&format!("{},{}", slow.address, origin.address));
    let start = Instant::now();
    thread::scope(|scope| {
        for path in ["slow", "silent"] {
            let (server, url) = (&server, slow.url(path));
            scope.spawn(move || failed(server, &asking(&[&url])));
        }
        gavel_tests::wait_until("both are waited for", || slow.connections() == 2);
        server.ok(CHAT, &asking(&[&origin.url("picture")]));
    });
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn a_request_waits_for_its_images_no_longer_than_its_time() {
    let slow = Origin::start();
    let server = fetching(&slow.address);
    let case = json!({ "question": "What is it?", "response": "A cat.", "images": [slow.url("silent")] });
    for (path, body) in [(CHAT, asking(&[&slow.url("silent")])), ("/judge", case)] {
        let headers = [("content-type", "application/json"), ("x-request-timeout-ms", "300")];
        let response = server.send("POST", path, &headers, body.to_string().as_bytes());
        assert_eq!((response.status, &response.json()["code"]), (504, &json!("deadline_exceeded")), "{path}");
    }
}

#[test]
fn no_proxy_of_the_environment_is_asked() {
    let (origin, proxy) = (Origin::start(), Origin::start());
    let model = gavel_tests::reference().join("models/tiny56");
    let model = model.to_string_lossy();
    let address = format!("http://{}", proxy.address);
    let variables = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, address.as_str()));
    let options = ["--model", &*model, "--allow-image-hosts", &origin.address];
    let server = Server::in_environment(&options, &variables);
    server.ok(CHAT, &asking(&[&origin.url("picture")]));
    assert_eq!((origin.connections(), proxy.connections()), (1, 0));
}
