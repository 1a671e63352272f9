//! The state that the server under test reports about itself, and what it must be after each case.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    MARK,
    check::Check,
    figures::Figures,
    honest::{Honest, Sample},
    mib,
    reply::Reply,
    resources::{FirstAndMost, Resources},
    wire::{Access, Manner, ask, exchange},
};
use crate::{cache_block::BLOCK_SIZE, drawn_image::DrawnImage};

/// How long the server may take to become idle and to release resources: twice as long as its allocator keeps
/// free memory.
const SETTLING: Duration = Duration::from_secs(10);
/// Memory in bytes that may be in use in addition to that at the start: caches of images and allocators keep
/// it.
const MORE_MEMORY: f64 = (64 << 20) as f64;
/// Memory in bytes that the allocator may keep for each connection of a crowd.
const MEMORY_OF_CONNECTION: f64 = (24 << 10) as f64;
const MORE_FILES: f64 = 4.0;
/// Tokio keeps threads for blocking work for ten seconds after their last use.
const MORE_THREADS: f64 = 16.0;
const LONGEST_LINE: usize = 8 << 10;

/// The server's figures at one moment; memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    start: f64,
    pub(crate) memory: f64,
    files: f64,
    threads: f64,
    /// Sequences that the engine has finished.
    sequences: f64,
}

/// The server's figures at one moment, and the number of requests that honest clients had sent.
struct Moment {
    state: State,
    asked: u64,
}

/// Watches over the state of a server.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) access: Access,
    canary: Sample,
    log: Option<Log>,
    first: State,
    pub(crate) last: State,
    asked: u64,
    /// Memory in bytes that may be in use in addition, after a crowd: allocators keep what many connections
    /// used.
    crowd: f64,
    /// The most memory that was seen, in bytes.
    pub(crate) peak: f64,
    pub(crate) most: State,
}

/// A log that is read incrementally.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    read: u64,
}

impl Watch {
    /// Records the initial state.
    ///
    /// # Errors
    /// When the server does not report its figures.
    pub(crate) fn start(
        access: &Access,
        canary: Sample,
        log: Option<PathBuf>,
        honest: &Honest,
    ) -> Result<Self, String> {
        let paused = honest.pause();
        // A sequence that ended a moment ago may be counted a little later, and does not belong to the first
        // case.
        let mut first = state(access)?;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let again = state(access)?;
            if again.sequences == first.sequences {
                break;
            }
            first = again;
        }
        let asked = honest.asked();
        drop(paused);
        let log = log.map(|path| Log { path, read: 0 });
        Ok(Self {
            access: access.clone(),
            canary,
            log,
            first,
            last: first,
            asked,
            crowd: 0.0,
            peak: first.memory,
            most: first,
        })
    }

    /// Records that this many connections were open at once.
    pub(crate) fn note_crowd(&mut self, connections: f64) {
        self.crowd = self.crowd.max(connections * MEMORY_OF_CONNECTION);
    }

    /// Returns every deviation from the required state after a case; `refused` means that all its answers were
    /// refusals.
    pub(crate) fn problems(&mut self, honest: &Honest, refused: bool) -> Vec<String> {
        let mut found = Vec::new();
        let paused = honest.pause();
        let deadline = Instant::now() + SETTLING;
        for probe in ["/livez", "/readyz"] {
            match ask(&self.access, probe) {
                Ok(reply) if reply.status == 200 => {}
                Ok(reply) => found.push(Check::Probes.failed(format!("{probe} says {}", reply.status))),
                Err(error) => found.push(Check::Probes.failed(format!("{probe}: {error}"))),
            }
        }
        let mut idle = busy(&self.access);
        while idle.is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            idle = busy(&self.access);
        }
        found.extend(idle.map(|what| Check::Idle.failed(what)));
        match state(&self.access) {
            Ok(state) => {
                let now = Moment { state, asked: honest.asked() };
                found.extend(self.compare(&now, refused, deadline));
            }
            Err(error) => found.push(Check::Process.failed(error)),
        }
        match self.canary.again(&self.access.host) {
            // The canary's own sequence does not belong to the next case.
            Ok(_) => self.last.sequences += 1.0,
            Err(error) => found.push(Check::Verdict.failed(error)),
        }
        drop(paused);
        found.extend(honest.failures().into_iter().map(|failure| Check::HonestClients.failed(failure)));
        let logged = self.log.as_mut().and_then(Log::problem);
        found.extend(logged.map(|problem| Check::Log.failed(problem)));
        found
    }

    fn compare(&mut self, now: &Moment, refused: bool, deadline: Instant) -> Vec<String> {
        let Moment { state: mut now, asked } = *now;
        let mut found = Vec::new();
        self.peak = self.peak.max(now.memory);
        let first = self.first;
        let most_memory = first.memory + MORE_MEMORY + self.crowd;
        let settled = |now: &State| {
            now.memory <= most_memory
                && now.files <= first.files + MORE_FILES
                && now.threads <= first.threads + MORE_THREADS
        };
        while !settled(&now) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
            now = state(&self.access).unwrap_or(now);
        }
        if now.start != first.start {
            found.push(Check::Process.failed("it is another process"));
        }
        if now.memory > most_memory {
            let problem = format!("{:.0} MiB and not {:.0}", mib(now.memory), mib(first.memory));
            found.push(Check::Memory.failed(problem));
            self.first.memory = now.memory; // the growth belongs to this case, not to all following ones
        }
        if now.files > first.files + MORE_FILES {
            let problem = format!("{} files and not {}", now.files, first.files);
            found.push(Check::FilesAndThreads.failed(problem));
        }
        if now.threads > first.threads + MORE_THREADS {
            let problem = format!("{} threads and not {}", now.threads, first.threads);
            found.push(Check::FilesAndThreads.failed(problem));
        }
        // Each honest request is one sequence, which may be counted a moment after the answer.
        let own = |now: &State| now.sequences - self.last.sequences - (asked - self.asked) as f64;
        while refused && own(&now) != 0.0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            now.sequences = state(&self.access).map_or(now.sequences, |state| state.sequences);
        }
        let own = own(&now);
        if refused && own != 0.0 {
            found.push(Check::Sequences.failed(format!("{own} sequences of a request that was refused")));
        }
        (self.last, self.asked) = (now, asked);
        self.most.memory = self.most.memory.max(now.memory);
        self.most.files = self.most.files.max(now.files);
        self.most.threads = self.most.threads.max(now.threads);
        found
    }

    /// The resources at the start, and their highest values after a case.
    pub(crate) fn resources(&self) -> Resources {
        let (first, most) = (self.first, self.most);
        Resources {
            memory: FirstAndMost { first: first.memory, most: most.memory },
            files: FirstAndMost { first: first.files, most: most.files },
            threads: FirstAndMost { first: first.threads, most: most.threads },
        }
    }
}

impl Log {
    /// The first problem in the new lines, or that they cannot be read.
    fn problem(&mut self) -> Option<String> {
        let text = match self.new_text() {
            Ok(text) => text,
            Err(error) => return Some(format!("the log {} cannot be read: {error}", self.path.display())),
        };
        if let Some(long) = text.lines().find(|line| line.len() > LONGEST_LINE) {
            return Some(format!("a line of {} bytes", long.len()));
        }
        let said = |word: &str| {
            text.lines()
                .find(|line| line.contains(word))
                .map(|line| line.chars().take(300).collect::<String>())
        };
        said("panicked")
            .map(|line| format!("a panic: {line}"))
            .or(said(MARK).map(|line| format!("what was asked: {line}")))
    }

    /// The text that was appended since the last call.
    fn new_text(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut text)? as u64;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The most prompts that are sent at the start.
const MOST_PROMPTS: usize = 64;
/// Images that are sent at the start: as many as the small image cache of a started server holds.
const IMAGES: u32 = 48;
/// The number of these that are split into the maximum number of tiles, in various grids.
const LARGE_IMAGES: u32 = 9;

/// Sends prompts of nearly the maximum length until they fill the server's KV cache, and images, so that this
/// memory is in use from the start and not counted as growth.
///
/// # Errors
/// When a request fails, no prompt of any length is answered, or an image cannot be encoded.
pub(crate) fn fill(access: &Access) -> Result<(), String> {
    let health = ask(access, "/health")?.json().unwrap_or_default();
    let whole = health["engine"]["total_blocks"].as_u64().unwrap_or_default() as usize * BLOCK_SIZE;
    let mut words = health["context_length"].as_u64().unwrap_or(8192) as usize;
    let (mut read, mut number) = (0, 0);
    while read < whole && number < MOST_PROMPTS && words > 100 {
        let content = format!("{number} {}", "one two ".repeat(words / 2));
        let body = json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 1 });
        match answered(access, "/v1/chat/completions", &body)? {
            Some(answer) => {
                read += answer["usage"]["prompt_tokens"].as_u64().unwrap_or_default() as usize;
                number += 1;
            }
            None => words = words * 7 / 8,
        }
    }
    if number == 0 {
        return Err("it answers no prompt of any length".to_owned());
    }
    for number in 0..IMAGES {
        let mut random = StdRng::seed_from_u64(number.into());
        let size = if number < LARGE_IMAGES {
            (2304 >> (number % 3), 2304 >> (number / 3))
        } else {
            (400 + number, 400)
        };
        let image = DrawnImage::of_size(&mut random, size).png(0).map_err(|error| error.to_string())?;
        let images = [BASE64_STANDARD.encode(image)];
        let body =
            json!({ "question": "What is it?", "response": "A circle.", "images": images, "mode": "score" });
        // A critic without vision refuses it, and then there is nothing to fill.
        answered(access, "/judge", &body)?;
    }
    Ok(())
}

/// Sends a JSON body and returns the body of the answer; `None` if its status is not 200.
fn answered(access: &Access, path: &str, body: &Value) -> Result<Option<Value>, String> {
    let request = access.request("POST", path, body.to_string().into_bytes());
    let replies = exchange(&access.host, &request, Manner::default()).map_err(|error| error.to_string())?;
    Ok(replies.first().filter(|reply| reply.status == 200).and_then(Reply::json))
}

/// Why the engine is not idle; `None` if it is.
fn busy(access: &Access) -> Option<String> {
    let health = match ask(access, "/health") {
        Ok(reply) => reply.json().unwrap_or_default(),
        Err(error) => return Some(error),
    };
    let engine = &health["engine"];
    let figure = |name: &str| engine[name].as_u64();
    let idle = figure("running") == Some(0)
        && figure("waiting") == Some(0)
        && figure("free_blocks").is_some()
        && figure("free_blocks") == figure("total_blocks");
    (!idle).then(|| match engine {
        Value::Object(_) => format!("the engine is not idle: {engine}"),
        _ => format!("no figures: {health}"),
    })
}

/// The state now.
///
/// # Errors
/// When the server does not report it.
fn state(access: &Access) -> Result<State, String> {
    let figures = Figures::ask(access)?;
    Ok(State {
        start: figures.needed("process_start_time_seconds")?,
        memory: figures.needed("process_resident_memory_bytes")?,
        files: figures.needed("process_open_fds")?,
        threads: figures.needed("process_threads")?,
        sequences: figures.sum("gavel_sequences_total").unwrap_or(0.0),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::{Log, MARK};

    #[test]
    fn a_log_is_read_on_and_one_that_cannot_be_read_is_a_problem() {
        let mut file = NamedTempFile::new().unwrap();
        let mut log = Log { path: file.path().to_owned(), read: 0 };
        writeln!(file, "it listens").unwrap();
        assert_eq!(log.problem(), None);
        writeln!(file, "thread panicked").unwrap();
        assert_eq!(log.problem(), Some("a panic: thread panicked".to_owned()));
        writeln!(file, "asked {MARK}").unwrap();
        assert_eq!(log.problem(), Some(format!("what was asked: asked {MARK}")));
        drop(file);
        let problem = log.problem().unwrap();
        assert!(problem.starts_with("the log ") && problem.contains("cannot be read"), "{problem}");
    }
}
