//! Who may ask and through which door, as it is said on the command line.

use std::path::PathBuf;

use clap::Args;

use super::seconds;

/// Who may ask.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessOptions {
    /// File with `[[keys]]`, beside those of the configuration file; `gavel key new` makes an entry.
    #[arg(long)]
    pub(crate) keys_file: Option<PathBuf>,
    /// Serve other machines without any keys.
    #[arg(long)]
    pub(crate) insecure_no_auth: bool,
    /// Names under which the server is asked for, beside addresses and names of the local network: a proxy's, for example. `*` is
    /// all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,
    /// Address of the door for administration: figures, reading files again, stopping. A port alone is one on this machine.
    #[arg(long)]
    pub(crate) admin_address: Option<String>,
    /// Keys that are none that an address may show each minute before it is told to wait. Right keys are always taken.
    #[arg(long, default_value_t = 600)]
    pub(crate) wrong_keys_per_minute: u64,
    /// Show `/metrics` on the main port, to keys for administration, though there are keys. Without keys it is there anyway.
    #[arg(long)]
    pub(crate) metrics_on_main: bool,
}

/// How connections are encrypted.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Certificate of the server with those that it was signed by, in PEM.
    #[arg(long, requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Certificates, in PEM, by one of which every client's own must be signed. Without it, clients need none.
    #[arg(long, requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// What a connection may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct ConnectionOptions {
    /// The most connections at a time; further ones wait to be taken.
    #[arg(long, default_value_t = 4096)]
    pub(crate) max_connections: usize,
    /// The most connections of one address; further ones are closed.
    #[arg(long, default_value_t = 1024)]
    pub(crate) max_connections_per_ip: usize,
    /// How long the head of a request may take to come, and a TLS handshake, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) head_timeout_s: f64,
    /// How long a connection is kept between two requests, in seconds.
    #[arg(long, default_value_t = 75.0, value_parser = seconds)]
    pub(crate) keep_alive_s: f64,
    /// How long a client may take nothing of its answer, or the network bring nothing of it while something was sent, in seconds.
    #[arg(long, default_value_t = 30.0, value_parser = seconds)]
    pub(crate) peer_timeout_s: f64,
    /// The most header fields of a request.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_headers: usize,
    /// The longest head of a request, in kibibytes; at least 8.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_head_kib: usize,
    /// The longest URI, in kibibytes.
    #[arg(long, default_value_t = 8)]
    pub(crate) max_uri_kib: usize,
    /// How long a body may pause, in seconds.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) body_pause_s: f64,
    /// How long a body may take, in seconds.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    pub(crate) body_timeout_s: f64,
    /// The least of a body that comes each second, in kibibytes, after the first five seconds.
    #[arg(long, default_value_t = 64)]
    pub(crate) body_min_kib_per_s: u64,
}
