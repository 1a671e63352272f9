//! A server of images that does all that is bad, beside one that nobody may ask: what the server under test fetches from.

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

/// Whom URLs name, each as `host:port`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// The server under test.
    pub(crate) server: String,
    /// Who has images.
    pub(crate) origin: String,
    /// Who must not be asked.
    pub(crate) inside: String,
    /// Where nobody listens.
    pub(crate) closed: String,
}

/// How long somebody who was left alone waits for the other side to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a fetch may go on when its request is over.
const ENDING: Duration = Duration::from_secs(2);
/// The most images that are fetched at a time from one host.
const MOST: usize = 4;
/// How long an image takes that comes a moment later.
const LATER: Duration = Duration::from_millis(100);
/// The longest head that is read.
const LONGEST_HEAD: u64 = 64 << 10;

/// Both servers, until they are dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) places: Places,
    addresses: [SocketAddr; 2],
    seen: Arc<Seen>,
}

/// What they were asked.
#[derive(Debug, Default)]
struct Seen {
    ended: AtomicBool,
    fetched: AtomicUsize,
    /// Connections to the origin that are open.
    open: AtomicUsize,
    /// Those whose image comes a moment later.
    later: AtomicUsize,
    inside: AtomicUsize,
    /// What was wrong with requests. Held to add to it or to take it.
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
    /// Begins.
    ///
    /// # Errors
    /// When there is no port for it.
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
            // A thread each: some are never answered. Whoever asks may leave at any time.
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

    /// How often the origin was asked since this was last called.
    pub(crate) fn fetched(&self) -> usize {
        self.seen.fetched.swap(0, SeqCst)
    }

    /// What the server under test did wrong since this was last asked.
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

    /// An option of a server with the places put in.
    pub(crate) fn put_in(&self, option: &str) -> String {
        let Places { origin, inside, closed, .. } = &self.places;
        option.replace("{origin}", origin).replace("{inside}", inside).replace("{closed}", closed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.seen.ended.store(true, SeqCst);
        for address in self.addresses {
            let _ = TcpStream::connect(address); // wakes who waits for somebody
        }
    }
}

/// Reads a request, and answers as its path says.
fn serve(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
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
        // Before it is answered, so that the next one is never counted beside it.
        seen.later.fetch_sub(1, SeqCst);
    }
    answer::answer(stream, target)
}

/// What a request has that it must not have: whatever a client said, and what is not asked for.
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
