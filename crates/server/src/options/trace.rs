//! Options of `gavel serve` for traces.

use clap::Args;

/// Export of traces and verdicts to an OpenTelemetry collector.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceOptions {
    /// Send a span of each request and an event of each verdict to the collector at this address, by OTLP over
    /// HTTP, such as `http://127.0.0.1:4318`. Without it nothing is sent.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = collector)]
    pub(crate) otlp_endpoint: Option<String>,
    /// The service name that is reported to the collector.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "gavel")]
    pub(crate) otlp_service: String,
    /// The share of new traces to send, from 0 to 1; a client that sends `traceparent` decides for its own traces.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    pub(crate) otlp_sample: f64,
    /// Leave the critic's justifications, which may quote the judged texts, out of the events.
    #[arg(long)]
    pub(crate) otlp_without_explanations: bool,
}

/// Parses a number from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not from 0 to 1".into()) }
}

/// Parses the address of a collector.
fn collector(text: &str) -> Result<String, String> {
    if !text.starts_with("http://") {
        return Err("it must begin with http://; a collector beside this server speaks TLS to others".into());
    }
    let address = url::Url::parse(text).map_err(|error| error.to_string())?;
    // What is sent has paths of its own, which are put after the address.
    if address.query().is_some() || address.fragment().is_some() {
        return Err("it must have neither a query nor a fragment".into());
    }
    Ok(text.to_owned())
}
