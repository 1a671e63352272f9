//! The state of the server that is tested, as it tells it itself, and what it must be after each case.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    Figures, MARK,
    honest::{Honest, Sample},
    mib,
    wire::{Door, Manner, Reply, ask, exchange},
};
use crate::drawn_image::DrawnImage;

/// How long the server may take to become idle and to give back what it took: twice as long as its allocator keeps memory that is
/// free.
const SETTLING: Duration = Duration::from_secs(10);
/// Memory that may be in use beside what was at the start: what caches of images and allocators keep.
const MORE_MEMORY: f64 = (64 << 20) as f64;
/// What a connection may take at most.
const MEMORY_OF_CONNECTION: f64 = (24 << 10) as f64;
const MORE_FILES: f64 = 4.0;
/// Threads for blocking work stay for ten seconds after it.
const MORE_THREADS: f64 = 16.0;
const LONGEST_LINE: usize = 8 << 10;

/// Figures of the server at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    start: f64,
    pub(crate) memory: f64,
    files: f64,
    threads: f64,
    /// Sequences that the engine has ended.
    sequences: f64,
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) door: Door,
    canary: Sample,
    log: Option<Log>,
    first: State,
    pub(crate) last: State,
    asked: u64,
    /// Memory that may be in use beside that, since there was a crowd: allocators keep what many connections had.
    crowd: f64,
    /// The most memory that was seen.
    pub(crate) peak: f64,
    pub(crate) most: State,
}

/// A log that is read on.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    read: u64,
}

impl Watch {
    /// Looks for the first time.
    ///
    /// # Errors
    /// When the server tells no figures.
    pub(crate) fn start(
        door: &Door,
        canary: Sample,
        log: Option<PathBuf>,
        honest: &Honest,
    ) -> Result<Self, String> {
        let paused = honest.pause();
        // What ended a moment ago may be counted a moment later, and is none of the first case.
        let mut first = state(door)?;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let again = state(door)?;
            if again.sequences == first.sequences {
                break;
            }
            first = again;
        }
        let asked = honest.asked();
        drop(paused);
        let log = log.map(|path| Log { path, read: 0 });
        Ok(Self {
            door: door.clone(),
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

    /// Notes that so many connections were open.
    pub(crate) fn note_crowd(&mut self, connections: f64) {
        self.crowd = self.crowd.max(connections * MEMORY_OF_CONNECTION);
    }

    /// Everything that is not as it must be after a case; `refused` says that all its answers were refusals.
    pub(crate) fn problems(&mut self, honest: &Honest, refused: bool) -> Vec<String> {
        let mut found = Vec::new();
        let paused = honest.pause();
        let deadline = Instant::now() + SETTLING;
        for probe in ["/livez", "/readyz"] {
            match ask(&self.door, probe) {
                Ok(reply) if reply.status == 200 => {}
                Ok(reply) => found.push(format!("S2: {probe} says {}", reply.status)),
                Err(error) => found.push(format!("S2: {probe}: {error}")),
            }
        }
        let mut idle = busy(&self.door);
        while idle.is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            idle = busy(&self.door);
        }
        found.extend(idle.map(|what| format!("S4: {what}")));
        match state(&self.door) {
            Ok(now) => found.extend(self.compare(now, (honest.asked(), refused), deadline)),
            Err(error) => found.push(format!("S1: {error}")),
        }
        if let Err(error) = self.canary.again(&self.door.host) {
            found.push(format!("S3: {error}"));
        }
        // The canary's own sequence is none of the next case.
        self.last.sequences += 1.0;
        drop(paused);
        found.extend(honest.failures().into_iter().map(|failure| format!("S10: {failure}")));
        found.extend(self.log.as_mut().and_then(Log::problem).map(|problem| format!("S7: {problem}")));
        found
    }

    fn compare(&mut self, mut now: State, (asked, refused): (u64, bool), deadline: Instant) -> Vec<String> {
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
            now = state(&self.door).unwrap_or(now);
        }
        if now.start != first.start {
            found.push("S1: it is another process".to_owned());
        }
        if now.memory > most_memory {
            found.push(format!("S5: {:.0} MiB and not {:.0}", mib(now.memory), mib(first.memory)));
            self.first.memory = now.memory; // it is this case's, and not that of all that follow
        }
        if now.files > first.files + MORE_FILES {
            found.push(format!("S6: {} files and not {}", now.files, first.files));
        }
        if now.threads > first.threads + MORE_THREADS {
            found.push(format!("S6: {} threads and not {}", now.threads, first.threads));
        }
        // Each honest request is one sequence, and may be counted a moment after it was answered.
        let own = |now: &State| now.sequences - self.last.sequences - (asked - self.asked) as f64;
        while refused && own(&now) != 0.0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            now.sequences = state(&self.door).map_or(now.sequences, |state| state.sequences);
        }
        let own = own(&now);
        if refused && own != 0.0 {
            found.push(format!("S9: {own} sequences of a request that was refused"));
        }
        (self.last, self.asked) = (now, asked);
        self.most.memory = self.most.memory.max(now.memory);
        self.most.files = self.most.files.max(now.files);
        self.most.threads = self.most.threads.max(now.threads);
        found
    }

    /// What it was at first and the most that it was after a case: memory in bytes, files, threads.
    pub(crate) fn growth(&self) -> [(f64, f64); 3] {
        let (first, most) = (self.first, self.most);
        [(first.memory, most.memory), (first.files, most.files), (first.threads, most.threads)]
    }
}

impl Log {
    /// What is wrong with the lines that are new.
    fn problem(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(self.read)).ok()?;
        self.read += file.read_to_end(&mut text).ok()? as u64;
        let text = String::from_utf8_lossy(&text);
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
}

/// Prompts that are read at the start, at most.
const MOST_PROMPTS: usize = 64;
/// Images that are shown at the start: as many as the small cache of images that a server is started with holds.
const IMAGES: u32 = 48;
/// Of them, those that are cut into as many tiles as there can be, in one way or another.
const LARGE_IMAGES: u32 = 9;
/// Positions of a block of the engine's memory, at most.
const BLOCK: usize = 32;

/// Has the server read prompts that are nearly as long as they can be, until they fill the memory that it has for them, and look at
/// images, so that this memory is in use from the start and not counted as growth.
///
/// # Errors
/// When no such prompt is answered, or an image cannot be written.
pub(crate) fn fill(door: &Door) -> Result<(), String> {
    let health = ask(door, "/health")?.json().unwrap_or_default();
    let whole = health["engine"]["total_blocks"].as_u64().unwrap_or_default() as usize * BLOCK;
    let mut words = health["context_length"].as_u64().unwrap_or(8192) as usize;
    let (mut read, mut number) = (0, 0);
    while read < whole && number < MOST_PROMPTS && words > 100 {
        let content = format!("{number} {}", "one two ".repeat(words / 2));
        let body = json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 1 });
        match answered(door, "/v1/chat/completions", &body)? {
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
        // A critic that sees nothing refuses it, and then there is nothing to fill.
        answered(door, "/judge", &body)?;
    }
    Ok(())
}

/// The body of a good answer.
fn answered(door: &Door, path: &str, body: &Value) -> Result<Option<Value>, String> {
    let request = door.request(("POST", path), body.to_string().into_bytes());
    let replies = exchange(&door.host, &request, Manner::default()).map_err(|error| error.to_string())?;
    Ok(replies.first().filter(|reply| reply.status == 200).and_then(Reply::json))
}

/// What the engine still does.
fn busy(door: &Door) -> Option<String> {
    let health = match ask(door, "/health") {
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
/// When the server does not tell it.
fn state(door: &Door) -> Result<State, String> {
    let figures = Figures::ask(door)?;
    Ok(State {
        start: figures.needed("process_start_time_seconds")?,
        memory: figures.needed("process_resident_memory_bytes")?,
        files: figures.needed("process_open_fds")?,
        threads: figures.needed("process_threads")?,
        sequences: figures.sum("gavel_sequences_total").unwrap_or(0.0),
    })
}
