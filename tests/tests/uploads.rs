//! Forms of `/v1/files` that no usual client sends: without an end, slow, cut off, or of another kind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use gavel_tests::{Response, Server, read_from, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// The beginning of a file, and a purpose with the end of the form.
const FILE: &str = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
const PURPOSE: &str = "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";
const END: &str = "--x--\r\n";

fn server(folder: &TempDir, options: &[&str]) -> Server {
    let folder = folder.path().to_string_lossy().into_owned();
    Server::with_options(&[&["--data-dir", &folder], options].concat())
}

/// A connection on which this beginning of a form was sent, which has a length of `whole` bytes.
fn begun(server: &Server, whole: usize, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: multipart/form-data; \
         boundary=x\r\ncontent-length: {whole}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(beginning).unwrap();
    stream
}

/// Sends a whole form.
fn send(server: &Server, form: &str) -> Response {
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    server.send("POST", "/v1/files", &headers, form.as_bytes())
}

/// The status, the code and the message of a refusal.
fn told(response: Response) -> (u16, String, String) {
    let (status, body) = (response.status, response.json());
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("message"))
}

#[test]
fn a_form_without_an_end_is_refused_before_it_takes_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    let long = "y".repeat(256 << 10);
    let beginnings = [
        long.clone(),
        format!("--x{}", " ".repeat(256 << 10)),
        format!("--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{long}"),
        format!("--x\r\n{}", "a: b\r\n".repeat(50_000)),
        format!("{FILE}abc\r\n--x\r\ncontent-type: {long}"),
    ];
    // Each is answered although most of it never comes.
    let answers: Vec<Response> = thread::scope(|scope| {
        let server = &server;
        let asked: Vec<_> = beginnings
            .iter()
            .map(|text| scope.spawn(move || read_from(begun(server, 512 << 20, text.as_bytes()))))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for answer in answers {
        let (status, code, message) = told(answer);
        assert_eq!((status, code.as_str()), (400, "invalid_form"), "{message}");
        assert!(message.contains("more than 64 KiB"), "{message}");
    }
    // What is within the bounds is read, also in front of the form.
    let form = format!("{}\r\n{FILE}{}\r\n{PURPOSE}{END}", "y".repeat(60 << 10), "z".repeat(1 << 20));
    let stored = send(&server, &form).json();
    assert_eq!(stored["bytes"], 1_048_576, "{stored}");
    assert_eq!(server.get("/metrics").figure("gavel_body_bytes"), 0.0);
}

#[test]
fn a_form_has_so_many_fields_and_each_that_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    let named = |bytes: usize| {
        let file = FILE.replace("\"a\"", &format!("\"{}\"", "n".repeat(bytes)));
        send(&server, &format!("{file}abc\r\n{PURPOSE}{END}"))
    };
    let stored = named(1024).json();
    assert_eq!(stored["filename"].as_str().map(str::len), Some(255), "{stored}");
    let (status, code, message) = told(named(1025));
    assert_eq!((status, code.as_str()), (400, "invalid_form"), "{message}");
    assert!(message.contains("more than 1024 bytes"), "{message}");

    let other = "--x\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\n1\r\n";
    let with_others = |count: usize| format!("{}{FILE}abc\r\n{PURPOSE}{END}", other.repeat(count));
    assert_eq!(send(&server, &with_others(30)).status, 200);
    let (status, code, message) = told(send(&server, &with_others(31)));
    assert_eq!((status, code.as_str()), (400, "invalid_form"), "{message}");
    assert!(message.contains("more than 32 fields"), "{message}");

    let seconds = "--x\r\ncontent-disposition: form-data; name=\"expires_after[seconds]\"\r\n\r\n3600\r\n";
    let twice = |field: &str| send(&server, &format!("{FILE}abc\r\n{PURPOSE}{field}{END}")).json();
    for (field, param) in [
        (PURPOSE, "purpose"),
        (&*format!("{FILE}abc\r\n"), "file"),
        (&*format!("{seconds}{seconds}"), "expires_after"),
    ] {
        let body = twice(field);
        let told = (body["code"].as_str(), body["error"]["param"].as_str());
        assert_eq!(told, (Some("invalid_request"), Some(param)), "{body}");
    }
    assert_eq!(twice(seconds)["status"], "processed");
}

#[test]
fn a_body_that_is_no_form_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    let form = format!("{FILE}abc\r\n{PURPOSE}{END}");
    let send = |headers: &[(&str, &str)]| told(server.send("POST", "/v1/files", headers, form.as_bytes()));
    for kind in ["application/json", "multipart/mixed; boundary=x", "text/plain"] {
        let (status, code, _) = send(&[("content-type", kind)]);
        assert_eq!((status, code.as_str()), (415, "unsupported_media_type"), "{kind}");
    }
    assert_eq!(send(&[]).0, 415);
    let (status, code, _) = send(&[("content-type", "multipart/form-data")]);
    assert_eq!((status, code.as_str()), (400, "invalid_form"), "there is no boundary");
    let response = server.send(
        "POST",
        "/v1/files",
        &[("content-type", "multipart/form-data; boundary=\"x\"")],
        form.as_bytes(),
    );
    assert_eq!(response.status, 200);
}

/// Beginnings of a form that end in each of its parts.
fn beginnings() -> [String; 5] {
    [
        "yy".to_owned(),
        "--x\r\ncontent-disposition: form-".to_owned(),
        "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nba".to_owned(),
        format!("{FILE}abc"),
        format!("{FILE}abc\r\n{PURPOSE}--"),
    ]
}

#[test]
fn a_form_that_comes_too_slowly_is_answered_408() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--body-pause-s", "0.4"]);
    let waiting: Vec<TcpStream> =
        beginnings().iter().map(|text| begun(&server, 1000, text.as_bytes())).collect();
    for stream in waiting {
        let (status, code, message) = told(read_from(stream));
        assert_eq!((status, code.as_str()), (408, "request_timeout"), "{message}");
        assert!(message.contains("400ms (body_pause_s)"), "{message}");
    }
    assert_eq!(server.get("/metrics").figure("gavel_refusals_total{reason=\"slow_body\",key=\"none\"}"), 5.0);
}

#[test]
fn a_form_that_is_cut_off_is_told_from_one_that_is_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &[]);
    for text in beginnings() {
        let stream = begun(&server, 1000, text.as_bytes());
        stream.shutdown(Shutdown::Write).unwrap();
        let (status, code, message) = told(read_from(stream));
        assert_eq!((status, code.as_str()), (400, "incomplete_body"), "{text}: {message}");
        // All of the body came, and the form has no end.
        let (status, code, message) = told(send(&server, &text));
        assert_eq!((status, code.as_str()), (400, "invalid_form"), "{text}: {message}");
    }
}

#[test]
fn forms_share_the_memory_of_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, &["--max-bodies-mib", "1"]);
    let end = format!("\r\n{PURPOSE}{END}");
    let beginning = format!("{FILE}abc");
    let mut upload = begun(&server, beginning.len() + end.len(), beginning.as_bytes());
    wait_until("memory is taken for it", || {
        server.get("/metrics").figure("gavel_body_bytes") > 256.0 * 1024.0
    });
    upload.write_all(end.as_bytes()).unwrap();
    assert_eq!(read_from(upload).status, 200);
    wait_until("it is given back", || server.get("/metrics").figure("gavel_body_bytes") == 0.0);

    let case = serde_json::json!({ "question": "What?", "response": "A cat.", "mode": "score" }).to_string();
    let body = " ".repeat(900_000) + &case;
    let (first, last) = body.split_at(body.len() - 1);
    let mut judging = TcpStream::connect(server.address()).unwrap();
    judging.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /judge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{first}",
        body.len()
    );
    judging.write_all(head.as_bytes()).unwrap();
    wait_until("most of it is there", || server.get("/metrics").figure("gavel_body_bytes") >= 900_000.0);
    let refused = send(&server, &format!("{FILE}{}\r\n{PURPOSE}{END}", "z".repeat(1 << 20)));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    let body: Value = refused.json();
    assert_eq!(body["code"], "rate_limit_exceeded");
    assert!(body["message"].as_str().unwrap().contains("max_bodies_mib"), "{body}");
    judging.write_all(last.as_bytes()).unwrap();
    assert_eq!(read_from(judging).status, 200);
    assert_eq!(send(&server, &format!("{FILE}abc\r\n{PURPOSE}{END}")).status, 200);
}
