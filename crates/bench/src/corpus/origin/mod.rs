//! A misbehaving image server, and one that must never be contacted: the hosts in URLs that the server under
//! test gets.

mod answer;

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// The hosts in URLs, each as `host:port`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// The server under test.
    pub(crate) server: String,
    /// The image server.
    pub(crate) origin: String,
    /// A server that must never be contacted.
    pub(crate) inside: String,
    /// A port without a listener.
    pub(crate) closed: String,
}

/// The read timeout of a connection that the other side leaves open.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long fetches may continue after their request has ended.
const ENDING: Duration = Duration::from_secs(2);
/// The highest permitted number of concurrent fetches from one host.
const MOST: usize = 4;
/// The delay of images below `/later`.
const LATER: Duration = Duration::from_millis(100);
/// The longest request head that is read, in bytes.
const LONGEST_HEAD: u64 = 64 << 10;

/// Both servers, which run until this is dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) places: Places,
    addresses: [SocketAddr; 2],
    seen: Arc<Seen>,
}

/// What the servers observed.
#[derive(Debug, Default)]
struct Seen {
    ended: AtomicBool,
    fetched: AtomicUsize,
    /// Open connections to the image server.
    open: AtomicUsize,
    /// Requests whose delayed image is pending.
    later: AtomicUsize,
    inside: AtomicUsize,
    /// Faults of requests. Locked to add to them or to take them.
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, problems: Vec<String>) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(problems);
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.wrong.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Origin {
    /// Starts both servers.
    ///
    /// # Errors
    /// When no port is available.
    pub(crate) fn start() -> io::Result<Self> {
        let seen = Arc::<Seen>::default();
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (origin, inside, closed) = (listen()?, listen()?, listen()?);
        let addresses = [origin.local_addr()?, inside.local_addr()?];
        let places = Places {
            server: String::new(),
            origin: addresses[0].to_string(),
            inside: addresses[1].to_string(),
            closed: closed.local_addr()?.to_string(),
        };
        let noted = seen.clone();
        Self::accept(origin, &seen, move |stream| {
            let noted = noted.clone();
            // A thread for each connection, since some are never answered. The client may disconnect at any
            // time.
            thread::spawn(move || {
                noted.open.fetch_add(1, SeqCst);
                let _ = serve(stream, &noted);
                noted.open.fetch_sub(1, SeqCst);
            });
        });
        let noted = seen.clone();
        Self::accept(inside, &seen, move |_| {
            noted.inside.fetch_add(1, SeqCst);
        });
        Ok(Self { places, addresses, seen })
    }

    fn accept(listener: TcpListener, seen: &Arc<Seen>, mut take: impl FnMut(TcpStream) + Send + 'static) {
        let seen = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.ended.load(SeqCst) {
                    break;
                }
                stream.into_iter().for_each(&mut take);
            }
        });
    }

    /// The number of requests to the image server since the last call.
    pub(crate) fn fetched(&self) -> usize {
        self.seen.fetched.swap(0, SeqCst)
    }

    /// The faults of the server under test since the last call.
    pub(crate) fn problems(&self) -> Vec<String> {
        let deadline = Instant::now() + ENDING;
        while self.seen.open.load(SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let mut found = self.seen.noted();
        let open = self.seen.open.load(SeqCst);
        if open > 0 {
            found.push(format!("{open} images are still fetched, and nobody waits for them"));
        }
        let inside = self.seen.inside.swap(0, SeqCst);
        if inside > 0 {
            found.push(format!("{inside} connections to where nobody may ask"));
        }
        found
    }

    /// An option of a server with the placeholders of hosts replaced.
    pub(crate) fn put_in(&self, option: &str) -> String {
        let Places { origin, inside, closed, .. } = &self.places;
        option.replace("{origin}", origin).replace("{inside}", inside).replace("{closed}", closed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.seen.ended.store(true, SeqCst);
        for address in self.addresses {
            let _ = TcpStream::connect(address); // ends the blocking accept
        }
    }
}

/// Reads a request, and answers according to its path.
fn serve(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = BufReader::new(stream.try_clone()?).take(LONGEST_HEAD);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    seen.fetched.fetch_add(1, SeqCst);
    seen.note(problems(&head));
    let target = head.split(' ').nth(1).unwrap_or_default();
    if target.starts_with("/later") {
        if seen.later.fetch_add(1, SeqCst) >= MOST {
            seen.note(vec![format!("more than {MOST} images at a time from one host")]);
        }
        thread::sleep(LATER);
        // Before the answer, so that the next request is never counted in addition to this one.
        seen.later.fetch_sub(1, SeqCst);
    }
    answer::answer(stream, target)
}

/// The faults of a request head: its form, headers that could pass on client data, and a wrong user agent.
fn problems(head: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lower = head.to_ascii_lowercase();
    if !head.lines().next().is_some_and(|line| line.starts_with("GET /") && line.ends_with(" HTTP/1.1")) {
        found.push(format!("an image is not asked for in HTTP/1.1: {head}"));
    }
    for name in ["authorization", "cookie", "referer", "accept-encoding", "x-request-id", "forwarded", "via"]
    {
        if lower.contains(&format!("\r\n{name}:")) {
            found.push(format!("an image is asked for with {name}"));
        }
    }
    if !lower.contains("\r\nuser-agent: gavel/") {
        found.push("an image is asked for by nobody".to_owned());
    }
    found
}
