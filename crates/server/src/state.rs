//! What every handler may use.

use std::{sync::Arc, time::Duration};

use judge::Judge;

use crate::metrics::Metrics;

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The critic.
    pub(crate) judge: Judge,
    /// What Prometheus is told.
    pub(crate) metrics: Metrics,
    /// The largest body of a request, in bytes.
    pub(crate) max_body_bytes: usize,
    /// How long a request may take.
    pub(crate) request_timeout: Duration,
    /// The OpenAPI document, as it is served.
    pub(crate) openapi: Arc<str>,
}
