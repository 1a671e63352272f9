//! What the program tells of its work: the log on standard error, and traces and evaluations for a collector.

mod evaluation;
mod export;
mod trace_context;

use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::trace::TracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::Targets,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    command::{LogFormat, TraceOptions},
    exit::Fatal,
};
pub(crate) use evaluation::{Evaluation, Evaluations, Score};
use export::Export;
pub(crate) use trace_context::{continue_trace, name_route};

/// The crates whose spans tell of a request. Those of libraries would tell of the exporter itself, too.
const TRACED: [&str; 3] = ["gavel", "judge", "engine"];

/// Lines of the log that may wait for whoever reads standard error. When more come than are taken, the newest are dropped and
/// counted: nothing waits for its line, and a line has some 200 bytes.
const MOST_WAITING: usize = 4096;

/// What is told to a collector, if to any, and the log. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    export: Option<Arc<Export>>,
    log: Option<Arc<Log>>,
}

/// The log on standard error.
struct Log {
    dropped: ErrorCounter,
    /// Writes what waits when it is dropped. Taken once, at the end.
    writing: Mutex<Option<WorkerGuard>>,
}

impl Telemetry {
    /// Starts the log and, when a collector is named, what is told to it. Called once.
    ///
    /// # Errors
    /// When the collector's address makes no sense, or a log was started before.
    pub(crate) fn start(format: LogFormat, traces: Option<&TraceOptions>) -> anyhow::Result<Self> {
        let export = traces.and_then(Export::start).transpose().map_err(Fatal::from)?.map(Arc::new);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        // On a thread of its own: a pipe that nobody reads would stop whoever writes, and a closed one would make it panic.
        let builder = NonBlockingBuilder::default().thread_name("log").buffered_lines_limit(MOST_WAITING);
        let (writer, guard) = builder.finish(io::stderr());
        let written = Log { dropped: writer.error_counter(), writing: Mutex::new(Some(guard)) };
        let log = tracing_subscriber::fmt::layer().with_writer(writer);
        let log = match format {
            LogFormat::Pretty => log.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let spans = export.as_ref().map(|export| {
            let traced = TRACED.map(|target| (target, LevelFilter::DEBUG));
            tracing_opentelemetry::layer()
                .with_tracer(export.tracers.tracer("gavel"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_filter(Targets::new().with_targets(traced))
        });
        let started: Result<(), TryInitError> =
            tracing_subscriber::registry().with(spans).with(log.with_filter(filter)).try_init();
        started?;
        Ok(Self { export, log: Some(Arc::new(written)) })
    }

    /// Sends what has not been sent. Waits for a collector that does not answer, or a log that nobody reads, for a few seconds
    /// at most.
    pub(crate) fn finish(&self) {
        if let Some(export) = &self.export {
            export.finish();
        }
        if let Some(log) = &self.log {
            drop(log.writing.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    /// Lines of the log that were lost.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.dropped.dropped_lines() as u64)
    }

    /// What will be told of the verdicts of the present request on the responses with these ids.
    pub(crate) fn evaluations(&self, response_ids: Vec<String>) -> Evaluations {
        Evaluations::new(self.export.clone(), response_ids)
    }
}
