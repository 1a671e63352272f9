//! The server under abuse, the keys of its clients, and its own limits.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    client::Server,
    error::BenchError,
    extent::Extent,
    live::{Access, Figures, MARK, sample_image},
};

/// Clients per source address: fewer than the server accepts from one.
const FROM_ONE_ADDRESS: usize = 900;

/// The server's timeouts that clients run into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For receiving a request head.
    pub(crate) head: Duration,
    /// For a body that hardly progresses.
    pub(crate) body: Duration,
    /// Between two requests on a connection.
    pub(crate) idle: Duration,
    /// For a client to accept data, or to acknowledge anything.
    pub(crate) peer: Duration,
}

impl Limits {
    /// The server's defaults. A body that hardly progresses is refused for its rate.
    pub(crate) const USUAL: Self = Self {
        head: Duration::from_secs(10),
        body: Duration::from_secs(5),
        idle: Duration::from_secs(75),
        peer: Duration::from_secs(30),
    };
    /// Short ones, which give the same behaviour within seconds.
    const SHORT: Self = Self {
        head: Duration::from_secs(1),
        body: Duration::from_secs(2),
        // Much longer than `peer`, so that the two can be distinguished on a busy machine.
        idle: Duration::from_secs(10),
        peer: Duration::from_secs(3),
    };

    pub(crate) fn of(extent: Extent) -> Self {
        extent.choose(Self::USUAL, Self::SHORT)
    }

    /// The options of `gavel serve` that set them.
    pub(crate) fn options(self) -> Vec<String> {
        let told = |name: &str, limit: Duration| [format!("--{name}"), limit.as_secs_f64().to_string()];
        let pairs = [
            told("head-timeout-s", self.head),
            told("keep-alive-s", self.idle),
            told("peer-timeout-s", self.peer),
        ];
        let mut options = pairs.concat();
        if self.body < Self::USUAL.body {
            options.extend(told("body-timeout-s", self.body));
            options.extend(["--wrong-keys-per-minute", "60"].map(str::to_owned));
        }
        options
    }
}

/// The keys of a started server: one of the honest clients, which may read the metrics, and three more.
#[derive(Debug)]
pub(crate) struct KeysFile {
    file: NamedTempFile,
    honest: String,
    crowd: String,
    flooder: String,
    neighbour: String,
}

impl KeysFile {
    /// Generates keys and writes their file.
    ///
    /// # Errors
    /// [`BenchError::File`] when it cannot be written.
    pub(crate) fn new() -> Result<Self, BenchError> {
        let key = |_| format!("gavel-{:032x}", rand::rng().random::<u128>());
        let [honest, crowd, flooder, neighbour] = [(); 4].map(key);
        let mut file = NamedTempFile::new().map_err(BenchError::File)?;
        let entries = [
            ("honest", &honest, "admin = true"),
            // Nearly all of the many clients that stream answers are to be served.
            ("crowd", &crowd, "queue_share = 0.9"),
            ("flooder", &flooder, ""),
            ("neighbour", &neighbour, ""),
        ];
        for (id, key, more) in entries {
            let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(file, "[[keys]]\nid = \"{id}\"\nsha256 = \"{digest}\"\n{more}\n")
                .map_err(BenchError::File)?;
        }
        Ok(Self { file, honest, crowd, flooder, neighbour })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// The keys that clients use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keys<'a> {
    /// All use the same key, or none: a running server has its own keys.
    Given(Option<&'a str>),
    /// Each kind of clients has a key of its own.
    Made(&'a KeysFile),
}

/// A server and the keys of its clients.
#[derive(Debug)]
pub(crate) struct Scene {
    /// How honest clients send requests.
    pub(crate) access: Access,
    /// The key of large numbers of clients.
    pub(crate) crowd: Option<String>,
    /// The key of a flood.
    pub(crate) flooder: Option<String>,
    /// The key of the client next to a flood; `None` without keys of our own.
    pub(crate) neighbour: Option<String>,
    pub(crate) limits: Limits,
    /// A PNG image as base64.
    pub(crate) image: String,
    address: SocketAddr,
    pub(crate) extent: Extent,
    /// The keys file of a started server.
    keys: Option<PathBuf>,
}

impl Scene {
    /// The scene at a server, `host:port`.
    ///
    /// # Errors
    /// [`BenchError::Connect`] when the host cannot be resolved.
    pub(crate) fn of(host: &str, keys: Keys<'_>, limits: Limits, extent: Extent) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Connect { host: host.to_owned(), source };
        let address = host.to_socket_addrs().map_err(failed)?.next();
        let address = address.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let (key, made) = match keys {
            Keys::Given(key) => (key, None),
            Keys::Made(keys) => (Some(keys.honest.as_str()), Some(keys)),
        };
        let key = key.map(str::to_owned);
        Ok(Self {
            crowd: made.map(|keys| keys.crowd.clone()).or_else(|| key.clone()),
            flooder: made.map(|keys| keys.flooder.clone()).or_else(|| key.clone()),
            neighbour: made.map(|keys| keys.neighbour.clone()),
            access: Access { host: host.to_owned(), key },
            limits,
            image: sample_image()?,
            address,
            extent,
            keys: made.map(|keys| keys.path().to_owned()),
        })
    }

    /// A number of clients: a small one for a quick check of behaviour, a large one for measurements.
    pub(crate) fn count(&self, quick: usize, full: usize) -> usize {
        self.extent.choose(full, quick)
    }

    /// Rewrites the keys file with the same content, so that the server reloads it.
    ///
    /// # Errors
    /// The error of reading or writing the file.
    pub(crate) fn keys_again(&self) -> io::Result<()> {
        self.keys.as_ref().map_or(Ok(()), |path| fs::write(path, fs::read(path)?))
    }

    /// A duration in seconds: a short one for a quick check of behaviour, a long one for measurements.
    pub(crate) fn span(&self, quick: u64, full: u64) -> Duration {
        Duration::from_secs(self.count(quick as usize, full as usize) as u64)
    }

    /// The source address of client number `number`. On the loopback interface clients use several addresses,
    /// none of them that of the honest clients, so that the limit of connections per address does not affect
    /// these.
    pub(crate) fn source(&self, number: usize) -> Option<IpAddr> {
        let group = (number / FROM_ONE_ADDRESS) as u16;
        let [high, low] = (group + 1).to_be_bytes();
        let ours = self.address.is_ipv4() && self.address.ip().is_loopback();
        ours.then(|| Ipv4Addr::new(127, 1 + high, low, 1).into())
    }

    /// The number of the first client in a group with one source address.
    pub(crate) fn group(&self, group: usize) -> usize {
        group * FROM_ONE_ADDRESS
    }

    /// Opens a connection as client number `number`. With `window`, its receive buffer has this size in bytes.
    ///
    /// # Errors
    /// The error that the system returned.
    pub(crate) async fn connect(&self, number: usize, window: Option<u32>) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source(number) {
            socket.bind((source, 0).into())?;
        }
        if let Some(window) = window {
            socket.set_recv_buffer_size(window)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The server as client number `number` requests it with a key.
    pub(crate) fn server(&self, key: Option<&String>, number: usize) -> Server {
        Server::at(self.address).asked_by(key.cloned(), self.source(number))
    }

    /// The head of a valid request with a body of `length` bytes.
    pub(crate) fn head(&self, method: &str, path: &str, length: usize) -> String {
        let host = &self.access.host;
        let key = self.crowd.as_ref().map(|key| format!("authorization: Bearer {key}\r\n"));
        let key = key.unwrap_or_default();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{key}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    /// A whole request with this body.
    pub(crate) fn request(&self, path: &str, body: &str) -> String {
        self.head("POST", path, body.len()) + body
    }

    /// The body of a judgement that is new to the server if `number` is.
    pub(crate) fn judgement(&self, number: usize) -> String {
        self.judged_in("score", number)
    }

    /// The body of such a judgement that alternates between a score alone and one with reasons.
    pub(crate) fn mixed_judgement(&self, number: usize) -> String {
        self.judged_in(["score", "score_then_explain"][number % 2], number)
    }

    fn judged_in(&self, mode: &str, number: usize) -> String {
        json!({
            "question": format!("What colour is shape {number}, {MARK}?"),
            "images": [self.image],
            "response": "The circle is orange.",
            "mode": mode,
            "memo": false,
        })
        .to_string()
    }

    /// The body of a streamed chat of `tokens` tokens; each token has the probabilities of 20 others, so that
    /// answers are long.
    pub(crate) fn chat(&self, number: usize, tokens: usize) -> String {
        json!({
            "messages": [{ "role": "user", "content": format!("Say more about shape {number}, {MARK}.") }],
            "max_tokens": tokens,
            "ignore_eos": true,
            "logprobs": true,
            "top_logprobs": 20,
            "stream": true,
        })
        .to_string()
    }

    /// The value of a metric of the server.
    ///
    /// # Errors
    /// When the server does not report it.
    pub(crate) async fn figure(&self, name: &'static str) -> Result<f64, String> {
        let access = self.access.clone();
        let asked = tokio::task::spawn_blocking(move || Figures::ask(&access)?.needed(name)).await;
        asked.map_err(|error| error.to_string())?
    }
}
