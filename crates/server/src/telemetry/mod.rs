//! What the program tells of its work: the log on standard error, and traces and evaluations for a collector.

mod evaluation;
mod export;
mod trace_context;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use opentelemetry::trace::TracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::Targets,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::command::{LogFormat, TraceOptions};
pub(crate) use evaluation::{Evaluation, Evaluations, Score};
use export::Export;
pub(crate) use trace_context::{continue_trace, name_route};

/// The crates whose spans tell of a request. Those of libraries would tell of the exporter itself, too.
const TRACED: [&str; 3] = ["gavel", "judge", "engine"];

/// What is told to a collector, if to any. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Telemetry(Option<Arc<Export>>);

impl Telemetry {
    /// Starts the log and, when a collector is named, what is told to it. Called once.
    ///
    /// # Errors
    /// When the collector's address makes no sense, or a log was started before.
    pub(crate) fn start(format: LogFormat, traces: Option<&TraceOptions>) -> anyhow::Result<Self> {
        let export = traces.and_then(Export::start).transpose()?.map(Arc::new);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
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
        Ok(Self(export))
    }

    /// Sends what has not been sent. Waits for a collector that does not answer for a few seconds at most.
    pub(crate) fn finish(&self) {
        if let Some(export) = &self.0 {
            export.finish();
        }
    }

    /// What will be told of the verdicts of the present request on the responses with these ids.
    pub(crate) fn evaluations(&self, response_ids: Vec<String>) -> Evaluations {
        Evaluations::new(self.0.clone(), response_ids)
    }
}
