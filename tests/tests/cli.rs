//! The command line of the built binary.

use std::process::Command;

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
    assert!(text(&output.stderr).contains("cannot listen on 127.0.0.1:"), "{}", text(&output.stderr));
}
