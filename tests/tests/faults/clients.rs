//! Clients that leave, or read and send nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use gavel_tests::{Server, run_well, wait_until};

use crate::{chat, descriptors, head, model, random, rests, row, short};

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
        "",
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
        "",
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
    row("", "a client sends a few bytes at a time", "others are served between, and it is answered");
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    let most = run_well(Command::new("bash").args(["-c", "ulimit -Hn"]), b"");
    let server = Server::limited("ulimit -Sn 100", &["--model", &model()]);
    let figure = server.get("/metrics").figure("process_max_fds");
    assert_eq!(figure, most.trim().parse::<f64>().unwrap());
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
    row("", "no file descriptor is left", "it waits, and serves again when connections end");
}
