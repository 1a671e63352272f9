//! The judging log: one line for each verdict, written in the background so that requests never wait for it.

mod line;
mod writer;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::SystemTime,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use judge::{Case, RubricChoice, Tenant};
use serde_json::Value;

pub(crate) use line::{Line, digest_of};
pub(crate) use writer::{RotatingFile, Rotation};

use crate::{
    body_memory::{BodyMemory, BodyReservation},
    command::Redaction,
    dialects::native::VerdictBody,
    metrics::Metrics,
    request_id::RequestId,
    state::AppState,
};
use line::Entry;

/// The largest number of lines that wait for the disk. Further lines are dropped and counted, so that a request
/// never waits for its line. This many arrive while a slow disk stalls for a second; without images they take a few
/// megabytes.
const MOST_WAITING: usize = 1024;

/// The largest size of the cases of waiting lines in bytes, including images: a few requests with bodies of the
/// largest size, because the memory that is counted for a body is released when its request is answered. A single
/// line may be larger.
const MOST_WAITING_BYTES: usize = 128 << 20;

/// A handle to the log. Clones write to the same log; when the last one is dropped, waiting lines are written and
/// the file is closed.
#[derive(Clone)]
pub(crate) struct JudgingLog(Arc<Shared>);

struct Shared {
    /// `None` once the log ends, which stops the writer.
    lines: Option<SyncSender<Waiting>>,
    /// Limits the memory of waiting lines.
    memory: BodyMemory,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Metrics,
}

/// An entry for the writer, and the memory that is reserved for it until it is written.
struct Waiting {
    entry: Entry,
    _memory: BodyReservation,
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
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = sync_channel::<Waiting>(MOST_WAITING);
        let counted = metrics.clone();
        counted.log_line(0);
        let thread = std::thread::Builder::new().name("judging-log".into()).spawn(move || {
            for Waiting { entry, _memory } in receiver {
                match file.append(&entry.into_line(&model, &redactions)) {
                    Ok(()) => counted.log_line(1),
                    Err(error) => {
                        tracing::warn!("a line of the judging log cannot be written: {error:#}");
                        counted.log_dropped();
                    }
                }
            }
        })?;
        let memory = BodyMemory::new(MOST_WAITING_BYTES);
        let shared = Shared { lines: Some(sender), memory, writer: Mutex::new(Some(thread)), metrics };
        Ok(Self(Arc::new(shared)))
    }

    /// Sends an entry to the writer. It is dropped and counted if too many entries wait or they use too much
    /// memory.
    fn send(&self, entry: Entry) {
        let Shared { lines, memory, metrics, .. } = &*self.0;
        let mut memory = memory.begin(&Tenant::default(), 1.0);
        let has_room = memory.grow(entry.bytes()).is_ok();
        let waiting = Waiting { entry, _memory: memory };
        if !has_room || lines.as_ref().is_none_or(|lines| lines.try_send(waiting).is_err()) {
            metrics.log_dropped();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lines = None;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the writer was already reported by the panic hook.
        let _ = thread.map(JoinHandle::join);
    }
}

/// Records the verdicts of a request; does nothing if there is no log.
pub(crate) struct Recorder(Option<(JudgingLog, String)>);

impl FromRequestParts<AppState> for Recorder {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let id = || parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
        Ok(Self(state.judging_log.clone().map(|log| (log, id()))))
    }
}

impl Recorder {
    /// Starts a line, before the case is handed over to be judged.
    pub(crate) fn begin(&self, case: &Case, rubric: &RubricChoice) -> Note {
        Note(self.0.as_ref().map(|(log, id)| (log.clone(), id.clone(), case.clone(), rubric.clone())))
    }
}

/// A line that lacks its verdict.
pub(crate) struct Note(Option<(JudgingLog, String, Case, RubricChoice)>);

impl Note {
    /// Completes the line and sends it to the writer, once. It is dropped if too many lines wait or they use too
    /// much memory.
    pub(crate) fn verdict(&mut self, body: &VerdictBody) {
        let Some((log, id, case, rubric)) = self.0.take() else { return };
        let verdict = serde_json::to_value(body).unwrap_or(Value::Null);
        log.send(Entry { time: SystemTime::now(), id, case, rubric, verdict });
    }
}

#[cfg(test)]
mod tests {
    use judge::{EncodedImage, Responses};

    use super::*;

    #[test]
    fn lines_that_wait_take_so_much_memory_and_others_are_dropped() {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let shared = Shared {
            lines: Some(sender),
            memory: BodyMemory::new(100),
            writer: Mutex::default(),
            metrics: Metrics::new("null", "none"),
        };
        let log = JudgingLog(Arc::new(shared));
        let send = |image: usize| {
            let images = vec![EncodedImage::new(vec![0; image])];
            let case = Case { images, ..Case::new("ab", Responses::One("c".into())) };
            let (time, rubric) = (SystemTime::now(), RubricChoice::Default);
            log.send(Entry { time, id: String::new(), case, rubric, verdict: Value::Null });
        };
        send(60);
        send(38);
        assert_eq!(receiver.try_iter().count(), 1, "there was no room beside the first");
        send(37);
        send(57);
        assert_eq!(receiver.try_iter().count(), 2, "what was written gives its memory back");
        send(1000);
        assert_eq!(receiver.try_iter().count(), 1, "one that is alone is never too large");
    }
}
