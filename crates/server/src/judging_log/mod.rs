//! The judging log: one line for each verdict, written in the background so that requests never wait for it.

mod line;
mod memory;
mod writer;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    time::{Duration, SystemTime},
};

use judge::{Case, RubricChoice};
use serde::Serialize;
use serde_json::Value;

pub(crate) use line::{Line, digest_of};
pub(crate) use writer::{LogError, RotatingFile, Rotation};

use crate::{error::with_causes, metrics::Metrics, options::Redaction, request::body_memory::BodyMemory};
use line::Entry;
use memory::{LineMemory, RequestLines};

/// The largest number of lines that wait for the disk. Further lines are dropped and counted, so that a request
/// never waits for its line. This many arrive while a slow disk stalls for a second; without images they take a few
/// megabytes.
const MOST_WAITING: usize = 1024;

/// The largest size of the cases of waiting lines in bytes, including images: a few requests with bodies of the
/// largest size, because the memory that is counted for a body is released when its request is answered. The lines of
/// a single request may be larger.
const MOST_WAITING_BYTES: usize = 128 << 20;

/// A handle to the log. Clones write to the same log, until one of them [finishes](JudgingLog::finish) it.
#[derive(Clone)]
pub(crate) struct JudgingLog(Arc<Shared>);

struct Shared {
    /// `None` once the log is finished, which stops the writer. The lock is held only to send or to finish.
    lines: Mutex<Option<SyncSender<Waiting>>>,
    /// Limits the memory of waiting lines.
    memory: BodyMemory,
    /// The number of lines that were sent and are not written; 0 when they are given up.
    unwritten: Arc<AtomicU64>,
    /// Closed when the writer has ended. The lock only lets clones share the receiver: whoever finishes the log waits.
    ended: Mutex<Receiver<Infallible>>,
    metrics: Metrics,
}

/// An entry for the writer, and the memory that is reserved for it until it is written.
struct Waiting {
    entry: Entry,
    _memory: Arc<LineMemory>,
}

impl JudgingLog {
    /// Starts the thread that writes to `file`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        mut file: RotatingFile,
        redactions: Vec<Redaction>,
        (model, metrics): (String, Metrics),
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Waiting>(MOST_WAITING);
        let (running, ended) = channel();
        let unwritten = Arc::new(AtomicU64::new(0));
        let (counted, left) = (metrics.clone(), unwritten.clone());
        // Both counters are there from the start, so that `rate` sees their first increment.
        counted.log_line(0);
        counted.log_dropped(0);
        std::thread::Builder::new().name("judging-log".into()).spawn(move || {
            // Dropped when the thread ends, also by a panic.
            let _running = running;
            for Waiting { entry, _memory } in receiver {
                let written = file.append(&entry.into_line(&model, &redactions));
                if left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
                    // This line and all others were given up, and are counted as lost.
                    return;
                }
                match written {
                    Ok(()) => counted.log_line(1),
                    Err(error) => {
                        let error = with_causes(&error);
                        tracing::warn!("a line of the judging log cannot be written: {error}");
                        counted.log_dropped(1);
                    }
                }
            }
        })?;
        let memory = BodyMemory::new(MOST_WAITING_BYTES);
        let (lines, ended) = (Mutex::new(Some(sender)), Mutex::new(ended));
        Ok(Self(Arc::new(Shared { lines, memory, unwritten, ended, metrics })))
    }

    /// Sends an entry of the request of `lines` to the writer. It is dropped and counted if too many entries wait, if
    /// they use too much memory, or if the log is finished.
    fn send(&self, entry: Entry, lines: &RequestLines) {
        let Shared { memory, metrics, .. } = &*self.0;
        let sent = lines
            .reserve(&entry, memory)
            .is_some_and(|memory| self.try_send(Waiting { entry, _memory: memory }));
        if !sent {
            metrics.log_dropped(1);
        }
    }

    /// Whether the writer takes the entry.
    fn try_send(&self, waiting: Waiting) -> bool {
        let Shared { lines, unwritten, .. } = &*self.0;
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = &*lines else { return false };
        // Counted first, so that the writer never counts below 0.
        unwritten.fetch_add(1, Relaxed);
        let taken = lines.try_send(waiting).is_ok();
        if !taken {
            unwritten.fetch_sub(1, Relaxed);
        }
        taken
    }

    /// Takes no more entries, and waits for up to `most` until those that wait are written. Those that are left then
    /// are lost, which is logged and counted. Blocks the thread.
    pub(crate) fn finish(&self, most: Duration) {
        let lost = self.end(most);
        if lost > 0 {
            tracing::warn!(lost, "lines of the judging log were not written before the end");
            self.0.metrics.log_dropped(lost);
        }
    }

    /// As [`finish`](Self::finish); returns the number of lost lines.
    fn end(&self, most: Duration) -> u64 {
        let Shared { lines, unwritten, ended, .. } = &*self.0;
        drop(lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Whether the writer ended, panicked or is still writing is told by what is left.
        let _ = ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(most);
        unwritten.swap(0, Relaxed)
    }
}

/// Records the verdicts of a request; does nothing if there is no log.
pub(crate) struct Recorder(Option<RequestLog>);

/// The log, for one request.
#[derive(Clone)]
struct RequestLog {
    log: JudgingLog,
    /// The id of the request.
    id: String,
    lines: RequestLines,
}

impl Recorder {
    /// Records in `log` the verdicts of the request with this id, if there is a log.
    pub(crate) fn new(log: Option<JudgingLog>, id: impl FnOnce() -> String) -> Self {
        Self(log.map(|log| RequestLog { log, id: id(), lines: RequestLines::default() }))
    }

    /// Starts a line, before the case is handed over to be judged.
    pub(crate) fn begin(&self, case: &Case, rubric: &RubricChoice) -> Note {
        Note(self.0.as_ref().map(|request| (request.clone(), case.clone(), rubric.clone())))
    }
}

/// A line that lacks its verdict.
pub(crate) struct Note(Option<(RequestLog, Case, RubricChoice)>);

impl Note {
    /// Completes the line and sends it to the writer, once. It is dropped if too many lines wait or they use too
    /// much memory.
    pub(crate) fn verdict(&mut self, body: &impl Serialize) {
        let Some((RequestLog { log, id, lines }, case, rubric)) = self.0.take() else { return };
        let verdict = serde_json::to_value(body).unwrap_or(Value::Null);
        log.send(Entry { time: SystemTime::now(), id, case, rubric, verdict }, &lines);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path, process::Command, thread};

    use judge::{EncodedImage, Responses};

    use super::*;

    /// An entry whose texts have as many bytes as `question` and three more.
    fn entry(question: &str, images: Vec<EncodedImage>) -> Entry {
        let case = Case { images, ..Case::new(question, Responses::One("abc".into())) };
        let (time, rubric) = (SystemTime::now(), RubricChoice::Default);
        Entry { time, id: String::new(), case, rubric, verdict: Value::Null }
    }

    /// An image of this many bytes, each with this value.
    fn image(byte: u8, bytes: usize) -> EncodedImage {
        EncodedImage::new(vec![byte; bytes])
    }

    /// A log without a writer, whose waiting lines may use 100 bytes.
    fn waiting() -> (JudgingLog, Receiver<Waiting>) {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let shared = Shared {
            lines: Mutex::new(Some(sender)),
            memory: BodyMemory::new(100),
            unwritten: Arc::default(),
            ended: Mutex::new(channel().1),
            metrics: Metrics::new("null", "none"),
        };
        (JudgingLog(Arc::new(shared)), receiver)
    }

    /// A log that writes to `path`.
    fn written_to(path: &Path) -> JudgingLog {
        let rotation = Rotation { path: path.to_owned(), most_bytes: 1 << 40, kept: 1 };
        let file = RotatingFile::open(rotation).unwrap();
        JudgingLog::start(file, Vec::new(), ("model".into(), Metrics::new("null", "none"))).unwrap()
    }

    #[test]
    fn lines_that_wait_take_so_much_memory_and_others_are_dropped() {
        let (log, receiver) = waiting();
        let send = |bytes| log.send(entry("", vec![image(0, bytes)]), &RequestLines::default());
        send(60);
        send(38);
        assert_eq!(receiver.try_iter().count(), 1, "there was no room beside the first");
        send(37);
        send(57);
        assert_eq!(receiver.try_iter().count(), 2, "what was written gives its memory back");
        send(1000);
        assert_eq!(receiver.try_iter().count(), 1, "one that is alone is never too large");
    }

    #[test]
    fn lines_of_a_request_count_each_of_their_images_once() {
        let (log, receiver) = waiting();
        let send = |lines: &RequestLines, byte| log.send(entry("ab", vec![image(byte, 40)]), lines);
        let (one, another) = (RequestLines::default(), RequestLines::default());
        for _ in 0..4 {
            send(&one, 1);
        }
        // Four lines of 5 bytes and an image are 60 bytes.
        send(&another, 1);
        assert_eq!(receiver.try_iter().count(), 4, "another request has its own image");
        send(&one, 1);
        send(&one, 2);
        send(&one, 1);
        assert_eq!(log.0.memory.bytes(), 95, "what was written before counts again");
        assert_eq!((receiver.try_iter().count(), log.0.memory.bytes()), (3, 0));
    }

    #[test]
    fn a_log_that_is_finished_has_all_lines_though_somebody_still_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let log = written_to(&path);
        let held = log.clone();
        for _ in 0..200 {
            log.send(entry(&"x".repeat(1000), Vec::new()), &RequestLines::default());
        }
        assert_eq!(log.end(Duration::from_secs(600)), 0);
        held.send(entry("too late", Vec::new()), &RequestLines::default());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(text.ends_with('\n') && !text.contains("too late"));
        assert_eq!(held.end(Duration::from_secs(600)), 0, "it is finished once");
    }

    #[test]
    fn lines_that_are_not_written_in_time_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("log.jsonl");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // A pipe can be opened for writing when somebody has it open for reading.
        let opened = pipe.clone();
        let reader = thread::spawn(move || fs::File::open(opened).unwrap());
        let log = written_to(&pipe);
        let mut reader = reader.join().unwrap();
        // Each is more than a pipe holds, so that the first one is not written before somebody reads.
        for _ in 0..3 {
            log.send(entry(&"x".repeat(1 << 20), Vec::new()), &RequestLines::default());
        }
        assert_eq!(log.end(Duration::ZERO), 3);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(
            (text.lines().count(), text.ends_with('\n')),
            (1, true),
            "the writer stops after its line"
        );
    }
}
