//! Export to a collector by OTLP over HTTP, in batches, on background threads.

use std::time::Duration;

use opentelemetry::{KeyValue, logs::LoggerProvider};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    logs::{SdkLogger, SdkLoggerProvider},
    trace::{Sampler, SdkTracerProvider},
};

use super::TelemetryError;
use crate::options::TraceOptions;

/// Timeout of a collector for one batch. Meanwhile spans and events wait in bounded queues of 2048 each; when these
/// are full, new ones are dropped, and no request waits.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The exporters of spans and events.
pub(super) struct Export {
    pub(super) tracers: SdkTracerProvider,
    events: SdkLoggerProvider,
    pub(super) logger: SdkLogger,
    /// Whether events contain the critic's justifications.
    pub(super) explains: bool,
}

/// Why nothing can be exported to a collector.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The address is no URL, or the client for it cannot be made.
    #[error(transparent)]
    Client(#[from] ExporterBuildError),
}

impl Export {
    /// Starts the export; `None` if no collector is configured.
    pub(super) fn start(options: &TraceOptions) -> Option<Result<Self, TelemetryError>> {
        let endpoint = options.otlp_endpoint.as_deref()?;
        let failed = |source| TelemetryError::Collector { endpoint: endpoint.to_owned(), source };
        Some(Self::to(endpoint, options).map_err(failed))
    }

    fn to(endpoint: &str, options: &TraceOptions) -> Result<Self, ExportError> {
        let base = endpoint.trim_end_matches('/');
        let spans = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let events = LogExporter::builder()
            .with_http()
            .with_endpoint(format!("{base}/v1/logs"))
            .with_timeout(EXPORT_TIMEOUT)
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
        let _ = self.tracers.shutdown_with_timeout(EXPORT_TIMEOUT);
        let _ = self.events.shutdown_with_timeout(EXPORT_TIMEOUT);
    }
}
