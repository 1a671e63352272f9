//! The way to a collector: OTLP over HTTP, in batches, on threads of their own.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::{KeyValue, logs::LoggerProvider};
use opentelemetry_otlp::{LogExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    logs::{SdkLogger, SdkLoggerProvider},
    trace::{Sampler, SdkTracerProvider},
};

use crate::command::TraceOptions;

/// How long a collector may take for a batch. What waits for it meanwhile is bounded by the batches' own queues, of 2048 spans
/// or events; when these are full, what is new is dropped, and no request waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where spans and events go.
pub(super) struct Export {
    pub(super) tracers: SdkTracerProvider,
    events: SdkLoggerProvider,
    pub(super) logger: SdkLogger,
    /// Whether the critic's reasons are told.
    pub(super) explains: bool,
}

impl Export {
    /// Starts it when a collector is named.
    pub(super) fn start(options: &TraceOptions) -> Option<anyhow::Result<Self>> {
        let endpoint = options.otlp_endpoint.as_deref()?;
        Some(
            Self::to(endpoint, options).with_context(|| format!("--otlp-endpoint {endpoint} cannot be used")),
        )
    }

    fn to(endpoint: &str, options: &TraceOptions) -> anyhow::Result<Self> {
        let base = endpoint.trim_end_matches('/');
        anyhow::ensure!(
            base.starts_with("http://"),
            "the address of a collector begins with http://; one beside this server speaks TLS to others"
        );
        let spans = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(PATIENCE)
            .build()?;
        let events = LogExporter::builder()
            .with_http()
            .with_endpoint(format!("{base}/v1/logs"))
            .with_timeout(PATIENCE)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(options.otlp_service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        // Whoever began a trace has decided whether it is kept.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.otlp_sample)));
        let tracers = SdkTracerProvider::builder()
            .with_batch_exporter(spans)
            .with_sampler(sampler)
            .with_resource(resource.clone())
            .build();
        let events = SdkLoggerProvider::builder().with_batch_exporter(events).with_resource(resource).build();
        let logger = events.logger("gavel");
        Ok(Self { tracers, events, logger, explains: !options.otlp_without_explanations })
    }

    pub(super) fn finish(&self) {
        // What a collector does not take is lost; it has been told in the log by the exporter.
        let _ = self.tracers.shutdown_with_timeout(PATIENCE);
        let _ = self.events.shutdown_with_timeout(PATIENCE);
    }
}
