//! What is said of traces on the command line.

use clap::Args;

/// What `gavel serve` tells an OpenTelemetry collector.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceOptions {
    /// Send a span of each request and an event of each verdict to the collector at this address, by OTLP over HTTP, such as
    /// `http://127.0.0.1:4318`. Nothing is sent without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// The name by which the collector knows this service.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "gavel")]
    pub(crate) otlp_service: String,
    /// The share of the traces that begin here to send, from 0 to 1; a client that sends `traceparent` decides for its
    /// own.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    pub(crate) otlp_sample: f64,
    /// Leave the critic's justifications, which may quote what was judged, out of the events.
    #[arg(long)]
    pub(crate) otlp_without_explanations: bool,
}

/// A share of a whole.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not from 0 to 1".into()) }
}
