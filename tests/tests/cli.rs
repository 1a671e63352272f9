//! The command line of the built binary.

use std::{io::Write, net::TcpListener, process::Command, thread};

use gavel_tests::{Server, binary, reference, run_steered, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn judge_prints_the_justification_and_then_the_verdict() {
    let image = reference().join("images/tiny56-square-0.png");
    let arguments = ["--image", &image.to_string_lossy(), "--question", "What is it?", "--max-tokens", "20"];
    let one = run_steered("judge", &[&arguments[..], &["--response", "A cat."]].concat());
    assert!(one.status.success(), "{}", text(&one.stderr));
    let output = text(&one.stdout);
    let (justification, verdict) = output.trim_end().rsplit_once("\n\n").unwrap();
    assert!(!justification.is_empty());
    assert_eq!(verdict, "Score: 7 (from 1 to 10, rubric helpfulness)");

    let responses = ["--response", "A cat.", "--response", "A dog.", "--rubric", "more-accurate"];
    let two = run_steered("judge", &[&arguments[..], &responses].concat());
    assert!(text(&two.stdout).ends_with("Better: second (rubric more-accurate)\n"), "{}", text(&two.stderr));
}

#[test]
fn one_case_is_judged_without_reasons() {
    let case = ["--question", "What is it?", "--response", "A cat.", "--score-only"];
    let here = run_steered("judge", &case);
    assert!(here.status.success(), "{}", text(&here.stderr));
    assert!(text(&here.stdout).starts_with("Score: "), "{}", text(&here.stdout));
    let server = Server::steered();
    let url = format!("http://{}", server.address());
    let there = Command::new(binary()).args(["judge", "--url", &url]).args(case).output().unwrap();
    assert_eq!(text(&there.stdout), text(&here.stdout), "{}", text(&there.stderr));
}

#[test]
fn what_judge_lacks_is_told_with_what_helps() {
    let run = |arguments: &[&str]| {
        let run = Command::new(binary()).arg("judge").args(arguments).output().unwrap();
        assert!(!run.status.success());
        text(&run.stderr)
    };
    let nothing = run(&[]);
    assert!(nothing.contains("--question") && nothing.contains("--input FILE --output FILE"), "{nothing}");
    let rubric = run(&["--question", "What is it?", "--response", "A cat.", "--rubric", "nope"]);
    assert!(
        rubric.contains("no rubric named \"nope\"") && rubric.contains("`gavel rubric list`"),
        "{rubric}"
    );
}

#[test]
fn weights_are_kept_as_the_options_say() {
    let case = ["--question", "What is it?", "--response", "A cat.", "--max-tokens", "8"];
    let judged = |options: &[&str]| run_steered("judge", &[&case[..], options].concat());
    let wide = text(&judged(&["--weights", "f32"]).stdout);
    assert_eq!(text(&judged(&[]).stdout), wide);
    for form in ["q8", "q4"] {
        let output = judged(&["--quantize", form]);
        assert!(text(&output.stdout).contains("Score: 7"), "{form}: {}", text(&output.stderr));
        let refused = judged(&["--quantize", form, "--precision", "bf16"]);
        assert!(!refused.status.success() && text(&refused.stderr).contains("--precision"));
    }
}

#[test]
fn what_fails_says_why_and_ends_with_a_failure() {
    let missing = ["--question", "What?", "--response", "x", "--image", "/no/such/image.png"];
    let many = ["--question", "?", "--response", "a", "--response", "b", "--response", "c"];
    let rubric = ["--question", "?", "--response", "a", "--rubric", "no-such"];
    for (arguments, word) in
        [(&missing[..], "/no/such/image.png"), (&many, "3 responses"), (&rubric, "no-such")]
    {
        let output = run_steered("judge", arguments);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "only verdicts are printed");
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_string_lossy().into_owned();
    for command in ["serve", "inspect"] {
        let model: &[&str] = if command == "serve" { &["--model", &empty] } else { &[&empty] };
        let output = Command::new(binary()).arg(command).args(model).output().unwrap();
        assert!(!output.status.success(), "{command}");
        assert!(text(&output.stderr).contains("config.json"), "{}", text(&output.stderr));
    }
}

#[test]
fn inspect_tells_what_a_checkpoint_is() {
    let model = reference().join("models/tiny56");
    let output = Command::new(binary()).arg("inspect").arg(model).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = text(&output.stdout);
    for word in ["LLaVA-OneVision", "32768", "MiB", "in f32", "in q8", "in q4"] {
        assert!(output.contains(word), "{word} in {output}");
    }
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_does() {
    let server = Server::random();
    let body = serde_json::json!({
        "messages": [{ "role": "user", "content": "Go on." }],
        "max_tokens": 200,
        "ignore_eos": true,
        "stream": true,
    });
    let mut events = server.post("/v1/chat/completions", &body).events();
    assert!(events.next().is_some());
    server.signal("TERM");
    wait_until("nobody is let in", || std::net::TcpStream::connect(server.address()).is_err());
    let last = events.last().unwrap();
    assert_eq!(last.data, "[DONE]", "the stream came to its end");
    assert!(server.wait(), "the server ended well");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let server = Server::random();
    let port = server.address().rsplit_once(':').unwrap().1;
    let output = Command::new(binary()).args(["serve", "--port", port]).output().unwrap();
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("cannot listen on 127.0.0.1:") && told.contains("another with --port"), "{told}");
}

#[test]
fn one_case_is_judged_by_the_server_that_is_named() {
    let server = Server::steered();
    let url = format!("http://{}", server.address());
    let image = reference().join("images/tiny56-square-0.png");
    let case = ["--image", &image.to_string_lossy(), "--question", "What is it?", "--max-tokens", "20"];
    let there = |url: &str, arguments: &[&str]| {
        let arguments = [&["judge", "--url", url][..], &case, arguments].concat();
        Command::new(binary()).args(arguments).output().unwrap()
    };
    for responses in [&["--response", "A cat."][..], &["--response", "A cat.", "--response", "A dog."]] {
        let (there, here) = (there(&url, responses), run_steered("judge", &[&case[..], responses].concat()));
        assert!(there.status.success(), "{}", text(&there.stderr));
        assert_eq!(text(&there.stdout), text(&here.stdout));
    }
    assert!(server.engine("steps") > 0);
    let refused = there(&url, &["--response", "A cat.", "--rubric", "no-such"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("the server refuses: ") && refused.stdout.is_empty());
    let gone = there("http://127.0.0.1:9", &["--response", "A cat."]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("none of the servers can be reached: 127.0.0.1:9"));
}

#[test]
fn a_path_that_is_no_folder_is_not_asked_for_at_the_hub() {
    let file = reference().join("models/tiny56/config.json");
    for (model, words) in [
        (file.to_string_lossy().into_owned(), "is a file"),
        ("./no/such".into(), "there is no such folder: ./no/such"),
        ("~/no-such".into(), "there is no such folder: ~/no-such"),
        ("/no/such".into(), "there is no such folder: /no/such"),
    ] {
        // Nothing listens at this address, so that a request to the hub would fail with another message.
        let arguments = ["inspect", &model, "--hub-endpoint", "http://127.0.0.1:9"];
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert!(!output.status.success() && text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}

#[test]
fn a_probe_finds_its_way_and_says_when_a_port_does_not_speak_http() {
    let server = Server::random();
    let probe = |port: &str, path: &str| {
        Command::new(binary()).args(["probe", "--port", port, "--path", path]).output().unwrap()
    };
    let port = server.address().rsplit_once(':').unwrap().1;
    assert!(probe(port, "livez").status.success());
    let absent = text(&probe("9", "/readyz").stderr);
    assert!(absent.contains("no server listens on 127.0.0.1:9"), "{absent}");
    // The answers of servers that expect TLS to a plain request: an alert, or a closed connection.
    for answer in [&b"\x15\x03\x01\x00\x02\x02\x46"[..], b""] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let serving = thread::spawn(move || listener.accept().unwrap().0.write_all(answer).unwrap());
        let refused = probe(&port, "/readyz");
        serving.join().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("may speak TLS"), "{}", text(&refused.stderr));
    }
}

#[test]
fn who_reads_no_further_ends_the_program_without_a_word() {
    for arguments in [&["serve", "--print-config"][..], &["rubric", "list"], &["inspect"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary()).args(arguments).env_clear().stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}
