//! Downloads one file from the hub into the cache: resumes interrupted transfers, and verifies the announced size
//! and hash.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{ENDPOINT, HubError, HubOptions, Model, Store, Unanswered};

/// Timeout of connecting and of each read, after which a request is retried. A live transfer never pauses for this
/// long.
const SILENCE: Duration = Duration::from_secs(60);
/// Pauses before retries of a metadata request.
const ASKING_PAUSES_MS: &[u64] = &[500, 2_000];
/// Pauses before retries of a transfer; an attempt that brings new bytes resets the count.
const TRANSFER_PAUSES_MS: &[u64] = &[500, 2_000, 5_000, 10_000];
/// The most requests for a file's metadata, which follow redirects that stay on the hub.
const MAX_HOPS: usize = 5;
const COPY_BYTES: usize = 1 << 18;

/// The metadata of a file, requested before its transfer.
#[derive(Debug)]
struct Announced {
    /// SHA-256 of the bytes for a large file, another hash for a small one. The blob's name in the cache.
    etag: String,
    /// Bytes; `None` for a small file whose response is compressed.
    size: Option<u64>,
}

/// The hub's description of a revision, with its own key names.
#[derive(Deserialize)]
pub(super) struct RepoInfo {
    /// The commit of the revision.
    pub(super) sha: String,
    /// The files of the commit.
    pub(super) siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Deserialize)]
pub(super) struct Sibling {
    /// Its path in the repository.
    pub(super) rfilename: String,
}

/// A client of a hub for one repository.
pub(super) struct Hub {
    model: Model,
    endpoint: String,
    token: Option<String>,
    /// Follows redirects, and sends the token only to the same host.
    agent: ureq::Agent,
    /// Follows no redirects: the redirecting response has the size and hash.
    asking: ureq::Agent,
}

impl Hub {
    pub(super) fn new(model: &Model, options: &HubOptions) -> Result<Self, HubError> {
        let endpoint = options.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(HubError::Answer {
                url: endpoint,
                reason: "its address is not one of http or https".into(),
            });
        }
        // The token of an earlier login belongs to the public hub; a mirror gets only a token that was configured.
        let stored = || if endpoint == ENDPOINT { hf_hub::Cache::default().token() } else { None };
        let token = options.token.clone().filter(|token| !token.is_empty()).or_else(stored);
        let builder = || {
            ureq::builder()
                .try_proxy_from_env(true)
                .timeout_connect(SILENCE)
                .timeout_read(SILENCE)
                .user_agent(concat!("gavel/", env!("CARGO_PKG_VERSION")))
        };
        let agent = builder().redirect_auth_headers(ureq::RedirectAuthHeaders::SameHost).build();
        let asking = builder().redirects(0).build();
        Ok(Self { model: model.clone(), endpoint, token, agent, asking })
    }

    /// The commit of the revision, and its files.
    pub(super) fn info(&self) -> Result<RepoInfo, HubError> {
        let revision = self.model.revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.endpoint, self.model.id);
        let response = patiently(ASKING_PAUSES_MS, || match self.request(&self.agent, "GET", &url).call() {
            Err(ureq::Error::Status(404, _)) => Err(Trouble::Final(HubError::NotFound {
                model: self.model.id.clone(),
                revision: self.model.revision.clone(),
            })),
            outcome => outcome.map_err(|error| self.trouble(&url, error)),
        })?;
        let info: RepoInfo = response.into_json().map_err(|error| HubError::Answer {
            url: url.clone(),
            reason: format!("no list of files: {error}"),
        })?;
        if !is_file_name(&info.sha) {
            return Err(HubError::Answer { url, reason: format!("{:?} is no commit", info.sha) });
        }
        Ok(info)
    }

    /// Downloads `file` of `commit` into the cache and returns its path; `None` when the hub has no such file.
    pub(super) fn download(
        &self,
        file: &str,
        commit: &str,
        store: &Store,
    ) -> Result<Option<PathBuf>, HubError> {
        let pointer = store.snapshot(commit).join(file);
        if pointer.exists() {
            return Ok(Some(pointer)); // a commit never changes
        }
        let url = format!("{}/{}/resolve/{commit}/{file}", self.endpoint, self.model.id);
        let Some(announced) = self.announce(&url)? else { return Ok(None) };
        let blob = store.blob(&announced.etag);
        for path in [&blob, &pointer] {
            let folder = path.parent().unwrap_or(path);
            std::fs::create_dir_all(folder).map_err(|cause| HubError::cache(folder, cause))?;
        }
        // Two processes may download the same file; the second waits here and then finds it complete.
        let lock_path = with_ending(&blob, "lock");
        let lock = File::create(&lock_path).map_err(|cause| HubError::cache(&lock_path, cause))?;
        lock.lock().map_err(|cause| HubError::cache(&lock_path, cause))?;
        if !blob.exists() {
            self.transfer(file, &url, &announced, &blob)?;
        }
        link(&blob, &pointer).map_err(|cause| HubError::cache(&pointer, cause))?;
        Ok(Some(pointer))
    }

    /// Size and hash of the file at `url`; `None` when there is no such file.
    fn announce(&self, url: &str) -> Result<Option<Announced>, HubError> {
        let mut place = url.to_owned();
        for _ in 0..MAX_HOPS {
            let asked =
                patiently(ASKING_PAUSES_MS, || match self.request(&self.asking, "HEAD", &place).call() {
                    Err(ureq::Error::Status(404, _)) => Ok(None),
                    outcome => outcome.map(Some).map_err(|error| self.trouble(&place, error)),
                })?;
            let Some(response) = asked else { return Ok(None) };
            let header = |name: &str| response.header(name).map(str::to_owned);
            let redirected = (300..400).contains(&response.status());
            // The hub's own headers describe the file even in a redirect; the standard ones describe the response's
            // body.
            let etag = header("x-linked-etag").or_else(|| header("etag").filter(|_| !redirected));
            match (etag, header("location")) {
                (None, Some(location)) if redirected && location.starts_with('/') => {
                    place = format!("{}{location}", origin(&self.endpoint));
                }
                (None, _) => break,
                (Some(etag), _) => {
                    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
                    if !is_file_name(&etag) {
                        break;
                    }
                    let length = header("content-length").filter(|_| !redirected);
                    let size = header("x-linked-size").or(length).and_then(|size| size.parse().ok());
                    return Ok(Some(Announced { etag, size }));
                }
            }
        }
        Err(HubError::Answer { url: url.into(), reason: "it announces no usable ETag".into() })
    }

    /// Downloads the blob. Bytes of an earlier attempt are kept, unless the complete file does not match its hash.
    ///
    /// # Errors
    /// [`HubError::Damaged`] when the hash does not match twice, and those of [`Self::fill`].
    fn transfer(&self, file: &str, url: &str, announced: &Announced, blob: &Path) -> Result<(), HubError> {
        let part = with_ending(blob, "part");
        let failed = |cause| HubError::cache(&part, cause);
        for _ in 0..2 {
            self.fill(file, url, announced.size, &part)?;
            if matches(&part, &announced.etag).map_err(failed)? {
                return std::fs::rename(&part, blob).map_err(failed);
            }
            std::fs::remove_file(&part).map_err(failed)?;
        }
        Err(HubError::Damaged { model: self.model.id.clone(), file: file.into() })
    }

    /// Requests the bytes that the file `part` lacks until it is complete.
    ///
    /// # Errors
    /// [`HubError::Unreachable`] when retries are exhausted, [`HubError::Cache`] when the file cannot be written.
    fn fill(&self, file: &str, url: &str, size: Option<u64>, part: &Path) -> Result<(), HubError> {
        let mut sink = OpenOptions::new()
            .append(true)
            .create(true)
            .open(part)
            .map_err(|cause| HubError::cache(part, cause))?;
        let bar = bar(file, size);
        tracing::info!(model = self.model.id, file, bytes = size, "downloading");
        let mut most = 0;
        patiently(TRANSFER_PAUSES_MS, || {
            let here = |cause| Trouble::Final(HubError::cache(part, cause));
            let mut have = sink.metadata().map_err(here)?.len();
            if size.is_none_or(|size| have > size) {
                // Without a size, it is unknown whether the bytes are a part of the file. Start again.
                sink.set_len(0).map_err(here)?;
                have = 0;
            }
            if Some(have) == size {
                return Ok(());
            }
            let mut request = self.request(&self.agent, "GET", url);
            if have > 0 {
                request = request.set("Range", &format!("bytes={have}-"));
            }
            let response = request.call().map_err(|error| self.trouble(url, error))?;
            if response.status() != 206 && have > 0 {
                sink.set_len(0).map_err(here)?; // the range was ignored: the response is the whole file
                have = 0;
            }
            bar.set_position(have);
            let copied = copy(&mut response.into_reader(), &mut sink, &bar).map_err(here)?;
            let now = have + copied.bytes;
            let cut = copied.cut.or_else(|| size.filter(|size| now < *size).map(|_| Unanswered::Short));
            match cut {
                Some(_) if now > most => {
                    most = now;
                    Err(Trouble::Progress)
                }
                Some(cause) => Err(Trouble::Passing(HubError::Unreachable { url: url.into(), cause })),
                None => Ok(()),
            }
        })?;
        bar.finish();
        Ok(())
    }

    fn request(&self, agent: &ureq::Agent, method: &str, url: &str) -> ureq::Request {
        // Compressed transfers could be neither counted nor resumed.
        let request = agent.request(method, url).set("Accept-Encoding", "identity");
        match &self.token {
            Some(token) => request.set("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// Classifies an error: whether a retry may help, and the error to report.
    fn trouble(&self, url: &str, error: ureq::Error) -> Trouble {
        let url = url.to_owned();
        let model = self.model.id.clone();
        match error {
            ureq::Error::Status(401 | 403, _) if self.token.is_none() => {
                Trouble::Final(HubError::TokenRequired { model })
            }
            ureq::Error::Status(401 | 403, _) => Trouble::Final(HubError::AccessDenied { model }),
            ureq::Error::Status(status @ (408 | 429 | 500..), _) => {
                Trouble::Passing(HubError::Unreachable { url, cause: Unanswered::Status(status) })
            }
            ureq::Error::Status(status, _) => {
                Trouble::Final(HubError::Answer { url, reason: format!("it answers with status {status}") })
            }
            ureq::Error::Transport(cause) => {
                Trouble::Passing(HubError::Unreachable { url, cause: Unanswered::Transport(Box::new(cause)) })
            }
        }
    }
}

/// Why an attempt failed.
enum Trouble {
    /// A retry cannot help.
    Final(HubError),
    /// A retry may help.
    Passing(HubError),
    /// The connection broke after new bytes arrived; a retry will continue from there.
    Progress,
}

/// Calls `attempt` until it succeeds, fails for good, or has failed once more than there are pauses.
fn patiently<T>(pauses_ms: &[u64], mut attempt: impl FnMut() -> Result<T, Trouble>) -> Result<T, HubError> {
    let mut pauses = pauses_ms.iter();
    loop {
        let pause = match attempt() {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Progress) => {
                pauses = pauses_ms.iter();
                pauses_ms.first()
            }
            Err(Trouble::Passing(error)) => Some(pauses.next().ok_or(error)?),
        };
        thread::sleep(Duration::from_millis(pause.copied().unwrap_or_default()));
    }
}

/// The result of a copy: the bytes written, and the error of the source, if it failed.
struct Copied {
    bytes: u64,
    cut: Option<Unanswered>,
}

/// Copies until the source ends or fails; only a failure of the sink is an error.
fn copy(source: &mut dyn Read, sink: &mut File, bar: &ProgressBar) -> io::Result<Copied> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(Copied { bytes, cut: None }),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Copied { bytes, cut: Some(Unanswered::Broken(error)) }),
        };
        sink.write_all(&buffer[..count])?;
        bytes += count as u64;
        bar.inc(count as u64);
    }
}

/// Whether the file has the SHA-256 in its ETag; true for an ETag of another length, which is not a SHA-256.
fn matches(path: &Path, etag: &str) -> io::Result<bool> {
    if etag.len() != 64 {
        return Ok(true);
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(hex == etag)
}

/// Links the blob into the snapshot, with a relative link so that the cache can be moved.
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let name = blob.file_name().unwrap_or_default();
        match std::os::unix::fs::symlink(Path::new("../../blobs").join(name), pointer) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    }
    #[cfg(not(unix))]
    std::fs::hard_link(blob, pointer)
}

/// A progress bar on standard error; hidden where that is not a terminal.
fn bar(file: &str, size: Option<u64>) -> ProgressBar {
    let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style =
        ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} ({eta})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(file.to_owned())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Whether a text from the hub is safe as the name of a file in the cache.
fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Scheme and host of an address, without its path.
fn origin(endpoint: &str) -> &str {
    let host = endpoint.find("://").map_or(0, |at| at + 3);
    let end = endpoint[host..].find('/').map_or(endpoint.len(), |at| host + at);
    &endpoint[..end]
}
