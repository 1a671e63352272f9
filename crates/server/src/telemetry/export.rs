//! Export to a collector by OTLP over HTTP, in batches, on background threads.

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

/// Timeout of a collector for one batch. Meanwhile spans and events wait in bounded queues of 2048 each; when these
/// are full, new ones are dropped, and no request waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exporters of spans and events.
pub(super) struct Export {
    pub(super) tracers: SdkTracerProvider,
    events: SdkLoggerProvider,
    pub(super) logger: SdkLogger,
    /// Whether events contain the critic's justifications.
    pub(super) explains: bool,
}

impl Export {
    /// Starts the export; `None` if no collector is configured.
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
        // The client that started a trace decides whether it is sampled.
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
        // What the collector does not accept is lost; the exporter has logged it.
        let _ = self.tracers.shutdown_with_timeout(PATIENCE);
        let _ = self.events.shutdown_with_timeout(PATIENCE);
    }
}
