//! The judging log: a line for each verdict, written beside the requests and never in their way.

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
use judge::{Case, RubricChoice};
use serde_json::Value;

pub(crate) use line::{Line, digest_of};
pub(crate) use writer::{RotatingFile, Rotation};

use crate::{
    command::Redaction, dialects::native::VerdictBody, metrics::Metrics, request_id::RequestId,
    state::AppState,
};
use line::Entry;

/// Lines that may wait for the disk. When more come than it takes, the newest are dropped and counted: a request never waits
/// for its line.
const MOST_WAITING: usize = 1024;

/// A log that is being written. Clones write to the same one; when the last is gone, what waits is written and the file closed.
#[derive(Clone)]
pub(crate) struct JudgingLog(Arc<Shared>);

struct Shared {
    /// Gone when the log ends, which tells the writer.
    lines: Option<SyncSender<Entry>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Metrics,
}

impl JudgingLog {
    /// Starts the thread that writes `file`.
    ///
    /// # Errors
    /// When there is no thread.
    pub(crate) fn start(
        mut file: RotatingFile,
        redactions: Vec<Redaction>,
        (model, metrics): (String, Metrics),
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = sync_channel::<Entry>(MOST_WAITING);
        let counted = metrics.clone();
        counted.log_line(0);
        let thread = std::thread::Builder::new().name("judging-log".into()).spawn(move || {
            for entry in receiver {
                match file.append(&entry.into_line(&model, &redactions)) {
                    Ok(()) => counted.log_line(1),
                    Err(error) => {
                        tracing::warn!("a line of the judging log cannot be written: {error:#}");
                        counted.log_dropped();
                    }
                }
            }
        })?;
        let shared = Shared { lines: Some(sender), writer: Mutex::new(Some(thread)), metrics };
        Ok(Self(Arc::new(shared)))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lines = None;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has told so itself.
        let _ = thread.map(JoinHandle::join);
    }
}

/// What a handler notes its verdicts with; it does nothing when there is no log.
pub(crate) struct Recorder(Option<(JudgingLog, String)>);

impl FromRequestParts<AppState> for Recorder {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let id = || parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
        Ok(Self(state.judging_log.clone().map(|log| (log, id()))))
    }
}

impl Recorder {
    /// Begins a line, before the case is given away to be judged.
    pub(crate) fn begin(&self, case: &Case, rubric: &RubricChoice) -> Note {
        Note(self.0.as_ref().map(|(log, id)| (log.clone(), id.clone(), case.clone(), rubric.clone())))
    }
}

/// A line that waits for its verdict.
pub(crate) struct Note(Option<(JudgingLog, String, Case, RubricChoice)>);

impl Note {
    /// Sends the line off. It is dropped when too many wait.
    pub(crate) fn verdict(&mut self, body: &VerdictBody) {
        let Some((log, id, case, rubric)) = self.0.take() else { return };
        let verdict = serde_json::to_value(body).unwrap_or(Value::Null);
        let entry = Entry { time: SystemTime::now(), id, case, rubric, verdict };
        let sent = log.0.lines.as_ref().is_some_and(|lines| lines.try_send(entry).is_ok());
        if !sent {
            log.0.metrics.log_dropped();
        }
    }
}
