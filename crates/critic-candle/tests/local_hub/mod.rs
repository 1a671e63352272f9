//! A minimal model hub: one repository over HTTP, with configurable faults.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use sha2::{Digest, Sha256};

/// The one commit of the repository; branch `main` points at it.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = ".safetensors";

/// The faults of the hub.
#[derive(Default)]
pub(crate) struct Faults {
    /// The first response with a weight file ends after this many bytes.
    pub(crate) cut_after: Option<usize>,
    /// After that cut, requests for weights are refused until [`LocalHub::heal`].
    pub(crate) refuse_after_cut: bool,
    /// Every response is the whole file, whatever the requested range.
    pub(crate) ignore_ranges: bool,
    /// Weights are sent with one byte changed.
    pub(crate) damage: bool,
    /// Requests without this token are refused.
    pub(crate) token: Option<&'static str>,
    /// Files that are listed but do not exist.
    pub(crate) absent: Vec<&'static str>,
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// First byte of the requested range; `None` without a range.
    pub(crate) range: Option<usize>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Faults,
    requests: Vec<Request>,
    sent: HashMap<String, usize>,
    cut: bool,
    healed: bool,
}

/// The running hub. Large files are served from a second address, as by a real hub.
pub(crate) struct LocalHub {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl LocalHub {
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>, faults: Faults) -> Self {
        let state =
            State { files, faults, requests: vec![], sent: HashMap::new(), cut: false, healed: false };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // For a client, another name of the same machine is another host.
        let cdn = format!("http://localhost:{port}/cdn");
        let shared = Arc::clone(&state);
        // The threads end with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, cdn) = (Arc::clone(&shared), cdn.clone());
                thread::spawn(move || serve(stream.unwrap(), &cdn, &state));
            }
        });
        Self { endpoint: format!("http://127.0.0.1:{port}"), state }
    }

    /// Ends the refusals of [`Faults::refuse_after_cut`].
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().healed = true;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Bytes of `file` that were sent in all responses together.
    pub(crate) fn bytes_sent(&self, file: &str) -> usize {
        self.state.lock().unwrap().sent.get(file).copied().unwrap_or(0)
    }

    /// The start of the requested range of each request for the bytes of `file`.
    pub(crate) fn ranges(&self, file: &str) -> Vec<Option<usize>> {
        let wanted = |request: &Request| request.method == "GET" && request.path == format!("/cdn/{file}");
        self.requests().into_iter().filter(wanted).map(|request| request.range).collect()
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves one request, after which the connection is closed.
fn serve(stream: TcpStream, cdn: &str, state: &Mutex<State>) {
    let Some(request) = read(&stream) else { return };
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    let (head, body) = answer(&request, cdn, &mut state);
    let mut stream = stream;
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
    if request.method == "GET" {
        let _ = stream.write_all(&body);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request =
        Request { method: words.next()?, path: words.next()?, authorization: None, range: None };
    for line in lines {
        let line = line.ok()?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.authorization = Some(value.into());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                request.range = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
            }
            Some(_) => {}
            None => break,
        }
    }
    Some(request)
}

/// The status line with headers, and the body.
fn answer(request: &Request, cdn: &str, state: &mut State) -> (String, Vec<u8>) {
    let empty = |status: &str| (format!("{status}\r\nContent-Length: 0"), vec![]);
    if let Some(file) = request.path.strip_prefix("/cdn/") {
        return transfer(request, file, state);
    }
    let bearer = state.faults.token.map(|token| format!("Bearer {token}"));
    if bearer.is_some() && bearer != request.authorization {
        return empty(if request.authorization.is_none() { "401 Unauthorized" } else { "403 Forbidden" });
    }
    let revision = request.path.strip_prefix("/api/models/gavel/tiny/revision/");
    if revision.is_some_and(|revision| revision == "main" || revision == COMMIT) {
        let absent = state.faults.absent.iter().copied();
        let names = state.files.keys().map(String::as_str).chain(absent);
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings, "private": false }).to_string();
        return (format!("200 OK\r\nContent-Length: {}", body.len()), body.into_bytes());
    }
    let file = request.path.strip_prefix(&format!("/gavel/tiny/resolve/{COMMIT}/")).unwrap_or_default();
    let Some(bytes) = state.files.get(file) else { return empty("404 Not Found") };
    let commit = format!("x-repo-commit: {COMMIT}");
    if file.ends_with(WEIGHTS) {
        let (hash, size) = (sha256(bytes), bytes.len());
        let linked = format!("x-linked-etag: \"{hash}\"\r\nx-linked-size: {size}\r\nLocation: {cdn}/{file}");
        return empty(&format!("302 Found\r\n{commit}\r\n{linked}"));
    }
    let etag = &sha256(bytes)[..40];
    (format!("200 OK\r\n{commit}\r\nETag: W/\"{etag}\"\r\nContent-Length: {}", bytes.len()), bytes.clone())
}

/// The response with the bytes of a weight file, from the start of the requested range.
fn transfer(request: &Request, file: &str, state: &mut State) -> (String, Vec<u8>) {
    if state.faults.refuse_after_cut && state.cut && !state.healed {
        return ("403 Forbidden\r\nContent-Length: 0".into(), vec![]);
    }
    let start = request.range.filter(|_| !state.faults.ignore_ranges).unwrap_or(0);
    let whole = &state.files[file];
    let mut bytes = whole[start..].to_vec();
    let mut head = format!("200 OK\r\nContent-Length: {}", bytes.len());
    if start > 0 {
        let range = format!("Content-Range: bytes {start}-{}/{}", whole.len() - 1, whole.len());
        head = head.replace("200 OK", &format!("206 Partial Content\r\n{range}"));
    }
    if state.faults.damage {
        bytes[0] ^= 1;
    }
    if let Some(length) = state.faults.cut_after.filter(|_| !state.cut) {
        state.cut = true;
        bytes.truncate(length);
    }
    *state.sent.entry(file.into()).or_default() += bytes.len();
    (head, bytes)
}
