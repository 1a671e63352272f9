//! What goes wrong around the server, and what it does then. `.ci/faults` prints a row for each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use gavel_tests::{Server, binary, reference, wait_until};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

/// A row of the table: what went wrong and what was seen.
#[expect(clippy::print_stdout, reason = "the table is what the command prints")]
fn row(fault: &str, seen: &str) {
    println!("| {fault} | {seen} |");
}

fn model() -> String {
    reference().join("models/tiny56").to_string_lossy().into_owned()
}

fn random(options: &[&str]) -> Server {
    Server::with_options(&[&["--model", &model()], options].concat())
}

fn chat(text: &str, tokens: u64) -> Value {
    json!({
        "messages": [{ "role": "user", "content": text }],
        "max_tokens": tokens,
        "ignore_eos": true,
        "stream": true,
    })
}

fn short() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Hm?" }], "max_tokens": 2 })
}

fn case() -> Value {
    json!({ "question": "What colour is it?", "response": "It is red.", "memo": false })
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap().count()
}

/// Nothing runs or waits, every block is back, and it answers.
fn rests(server: &Server) {
    // A request that was sent a moment ago may only begin now.
    wait_until("nothing runs and every block is back", || {
        let still = ["running", "waiting"].map(|figure| server.engine(figure));
        still == [0, 0] && server.engine("free_blocks") == server.engine("total_blocks")
    });
    assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[test]
fn a_client_leaves_at_any_place() {
    let server = random(&["--max-sequences", "1"]);
    server.post("/v1/chat/completions", &short()).text();
    let before = descriptors(&server);
    let body = chat("Go on.", 30_000).to_string();
    let whole = head(body.len()) + &body;
    // In the head, at its end, in the body, and when all was sent but no answer was read.
    for length in [0, 1, 20, head(body.len()).len(), whole.len() - 1, whole.len()] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(&whole.as_bytes()[..length]).unwrap();
    }
    rests(&server);
    // While it waits in line, and as the answer's head and first bytes come.
    let mut running = server.post("/v1/chat/completions", &chat("First.", 30_000)).events();
    assert!(running.next().is_some());
    let waiting = server.post("/v1/chat/completions", &chat("Second.", 30_000));
    wait_until("one waits", || server.engine("waiting") == 1);
    drop(waiting);
    wait_until("nobody waits", || server.engine("waiting") == 0);
    drop(running);
    rests(&server);
    wait_until("every connection is closed", || descriptors(&server) <= before);
    assert!(server.engine("tokens") < 30_000);
    row(
        "a client leaves: in the head, in the body, in line, while it is answered",
        "its work ends, every block and descriptor comes back",
    );
}

#[test]
fn a_client_reads_nothing() {
    let server = random(&[]);
    let mut lazy: Vec<TcpStream> = (0..4)
        .map(|index| {
            let body = chat(&format!("Go on, {index}."), 3_000).to_string();
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all((head(body.len()) + &body).as_bytes()).unwrap();
            stream
        })
        .collect();
    wait_until("they run", || server.engine("running") == 4);
    // Others are served meanwhile, and the work ends though nobody reads.
    assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
    wait_until("all is written", || server.engine("running") == 0);
    let mut text = String::new();
    lazy[0].set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    while !text.contains("[DONE]") {
        let mut bytes = [0; 4096];
        let count = lazy[0].read(&mut bytes).unwrap();
        assert!(count > 0, "the connection ended early");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    drop(lazy);
    rests(&server);
    row(
        "a client reads nothing",
        "others are served, its text is written to the end and can be read for `peer_timeout_s`",
    );
}

#[test]
fn a_client_sends_slowly() {
    let server = random(&[]);
    let body = short().to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for piece in (head(body.len()) + &body).as_bytes().chunks(16) {
        stream.write_all(piece).unwrap();
        assert_eq!(server.get("/livez").status, 200);
    }
    let mut bytes = [0; 64];
    let count = stream.read(&mut bytes).unwrap();
    assert!(bytes[..count].starts_with(b"HTTP/1.1 200"));
    row("a client sends a few bytes at a time", "others are served between, and it is answered");
}

fn dropped(server: &Server) -> u64 {
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("gavel_judging_log_dropped_total "));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn the_disk_of_the_judging_log_is_full() {
    let full = Server::with_options(&["--judging-log", "/dev/full"]);
    full.ok("/judge", &case());
    wait_until("the line is counted as dropped", || dropped(&full) == 1);
    full.ok("/judge", &case());

    // Room for a few lines and a part of one: what was begun is taken back, and the file stays one that can be exported.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let long = |letter: &str| {
        let mut body = case();
        body["response"] = format!("It is red. {}", letter.repeat(600)).into();
        body
    };
    let options = ["--judging-log", log.to_str().unwrap()];
    let server = Server::limited("trap '' XFSZ; ulimit -f 12", &options);
    let letters = ["a ", "b ", "c ", "d ", "e ", "f ", "g ", "h ", "i ", "j "];
    letters.iter().for_each(|letter| drop(server.ok("/judge", &long(letter))));
    let whole = || fs::read_to_string(&log).unwrap().lines().count() as u64;
    wait_until("all are written or dropped", || whole() + dropped(&server) == 10);
    let text = fs::read_to_string(&log).unwrap();
    let kept = whole();
    assert!(text.ends_with('\n') && (1..10).contains(&kept), "{kept} lines: {text}");
    drop(server);
    // When there is room again, it goes on behind the last whole line.
    let server = Server::with_options(&options);
    server.ok("/judge", &long("k "));
    wait_until("another line is there", || whole() == kept + 1);
    let export = Command::new(binary())
        .args(["export", "log.jsonl", "--output", "train.json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    row(
        "the disk of the judging log is full",
        "verdicts are given, lines are dropped and counted, no half line stays",
    );
}

#[test]
fn it_is_killed_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let options = ["--judging-log", log.to_str().unwrap()];
    let mut wanted = None;
    for round in 0..4 {
        let server = Server::with_options(&options);
        let verdict = gavel_tests::uncounted(server.ok("/judge", &case()));
        assert_eq!(
            *wanted.get_or_insert_with(|| verdict.clone()),
            verdict,
            "the same verdict after each start"
        );
        wait_until("its line is there", || fs::read_to_string(&log).unwrap().lines().count() == round + 1);
        let _running = server.post("/v1/chat/completions", &chat("Go on.", 3_000));
        server.signal("KILL");
        assert!(!server.wait());
        // As if it had been killed while it wrote.
        fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"{\"time\":17").unwrap();
    }
    row(
        "SIGKILL while it answers, four times",
        "it starts again, judges the same, and cuts a half-written line of the log off",
    );
}

#[test]
fn the_rubrics_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let rubrics = folder.path().join("rubrics");
    fs::create_dir(&rubrics).unwrap();
    let text = fs::read_to_string(reference().join("../../config/rubrics/helpfulness.toml")).unwrap();
    fs::write(rubrics.join("mine.toml"), text.replace("\"helpfulness\"", "\"mine\"")).unwrap();
    let server = Server::with_options(&["--config-dir", folder.path().to_str().unwrap()]);
    let mut body = case();
    body["rubric"] = "mine".into();
    let before = server.ok("/judge", &body);
    fs::remove_dir_all(&rubrics).unwrap();
    let told = server.post("/rubrics/reload", &json!({}));
    assert!((400..600).contains(&told.status), "{}", told.status);
    assert_eq!(server.ok("/judge", &body)["score"], before["score"]);
    row(
        "the folder of rubrics is removed, and they are read again",
        "an error; those that were read stay in use",
    );
}

/// A copy of the reference checkpoint.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn weights(folder: &Path) -> PathBuf {
    folder.join("model.safetensors")
}

/// Writes the checkpoint's weights anew, one tensor being of `dtype` and filled with `bytes` again and again.
fn replace(folder: &Path, wanted: &str, (dtype, bytes): (Dtype, &[u8])) {
    let file = fs::read(weights(folder)).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let made: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            if name == wanted {
                let count: usize = shape.iter().product();
                (name, dtype, shape, bytes.repeat(count))
            } else {
                (name, view.dtype(), shape, view.data().to_vec())
            }
        })
        .collect();
    let views = made.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(weights(folder), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn serve(folder: &Path) -> Output {
    let start = Instant::now();
    let output = Command::new("timeout")
        .args(["--signal", "KILL", "60"])
        .arg(binary())
        .args(["serve", "--host", "127.0.0.1", "--port", "0", "--model"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(50), "it goes on");
    output
}

const NORM: &str = "language_model.model.norm.weight";

#[test]
fn the_checkpoint_is_damaged() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 9] = [
        ("empty weights", |folder| fs::write(weights(folder), b"").unwrap(), "model.safetensors"),
        (
            "weights cut in the middle",
            |folder| {
                let file = fs::read(weights(folder)).unwrap();
                fs::write(weights(folder), &file[..file.len() / 2]).unwrap();
            },
            "model.safetensors",
        ),
        (
            "a header of 2^64 - 1 bytes",
            |folder| {
                let mut file = fs::read(weights(folder)).unwrap();
                file[..8].fill(0xff);
                fs::write(weights(folder), file).unwrap();
            },
            "model.safetensors",
        ),
        (
            "weights that are not numbers",
            |folder| {
                replace(folder, NORM, (Dtype::F32, &f32::NAN.to_le_bytes()));
            },
            NORM,
        ),
        (
            "weights of a type that is not read",
            |folder| {
                replace(folder, NORM, (Dtype::I64, &[1, 0, 0, 0, 0, 0, 0, 0]));
            },
            NORM,
        ),
        ("no weights", |folder| fs::remove_file(weights(folder)).unwrap(), "model.safetensors"),
        (
            "a configuration that is cut",
            |folder| {
                let file = fs::read(folder.join("config.json")).unwrap();
                fs::write(folder.join("config.json"), &file[..file.len() / 2]).unwrap();
            },
            "config.json",
        ),
        (
            "layers without number",
            |folder| {
                let text = fs::read_to_string(folder.join("config.json")).unwrap();
                let mut config: Value = serde_json::from_str(&text).unwrap();
                config["text_config"]["num_hidden_layers"] = 1_000_000_000.into();
                fs::write(folder.join("config.json"), config.to_string()).unwrap();
            },
            "",
        ),
        (
            "a tokenizer that is no object",
            |folder| fs::write(folder.join("tokenizer.json"), b"[1]").unwrap(),
            "tokenizer.json",
        ),
    ];
    for (what, damage, named) in damages {
        let folder = copy();
        damage(folder.path());
        let output = serve(folder.path());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some_and(|code| code != 0), "{what}: {:?} {told}", output.status);
        assert!(told.contains(named) && !told.contains("panicked"), "{what}: {told}");
        row(
            &format!("a checkpoint with {what}"),
            &format!("it does not start, and tells why ({})", output.status),
        );
    }
}

#[test]
fn a_critic_that_computes_no_numbers_is_never_ready() {
    let folder = copy();
    // Finite weights, which the file's check lets pass, and sums beyond all numbers.
    replace(folder.path(), NORM, (Dtype::F32, &3e38f32.to_le_bytes()));
    let output = serve(folder.path());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?} {told}", output.status);
    assert!(told.contains("finite") && !told.contains("panicked"), "{told}");
    row("a critic whose numbers overflow", "it is tried before it is ready, and the server does not start");
}

#[test]
fn descriptors_run_out() {
    let server = Server::limited("ulimit -n 48", &["--model", &model()]);
    let mut held = Vec::new();
    // Those beyond the limit wait in the system's queue; none of them makes the server end.
    for _ in 0..80 {
        held.push(TcpStream::connect(server.address()).unwrap());
    }
    wait_until("no descriptor is left", || descriptors(&server) >= 47);
    drop(held);
    wait_until("they come back", || descriptors(&server) < 40);
    rests(&server);
    row("no file descriptor is left", "it waits, and serves again when connections end");
}

#[test]
fn it_is_stopped_and_goes_on() {
    let server = random(&[]);
    let mut events = server.post("/v1/chat/completions", &chat("Go on.", 20_000)).events();
    assert!(events.next().is_some());
    server.signal("STOP");
    let stat = || fs::read_to_string(format!("/proc/{}/stat", server.process_id())).unwrap();
    wait_until("it is stopped", || stat().contains(") T "));
    let held = TcpStream::connect(server.address()).unwrap();
    std::thread::sleep(Duration::from_secs(1)); // the fault itself: a pause as of a machine that is moved
    server.signal("CONT");
    assert!(events.next().is_some(), "the stream goes on");
    wait_until("it is ready", || server.get("/readyz").status == 200);
    drop((events, held));
    rests(&server);
    row("SIGSTOP, a second later SIGCONT", "streams go on, it is ready, nothing is lost");
}

#[test]
fn collectors_of_traces_are_down_or_deaf() {
    let gone = format!("http://127.0.0.1:{}", gavel_tests::free_port());
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", deaf.local_addr().unwrap());
    for (what, address) in [("is down", gone), ("never answers", deaf)] {
        let server = random(&["--otlp-endpoint", &address]);
        for _ in 0..3 {
            assert_eq!(server.post("/v1/chat/completions", &short()).status, 200);
        }
        rests(&server);
        server.signal("TERM");
        let start = Instant::now();
        assert!(server.wait());
        assert!(start.elapsed() < Duration::from_secs(30), "it waits for the collector");
        row(
            &format!("the collector of traces {what}"),
            "requests are answered, and the server ends when it is told to",
        );
    }
}
