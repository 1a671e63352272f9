//! The parts of a service and the limits of its requests, which the caller that starts it chooses.

pub(crate) mod content_limits;
pub(crate) mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
pub(crate) mod model_names;
pub(crate) mod paths;
pub(crate) mod reload;
pub(crate) mod state;

use std::{path::Path, sync::Arc, time::Duration};

use judge::Judge;

use crate::{
    access::Access,
    connections::{ConnectionFigures, Tls},
    judging_log::JudgingLog,
    metrics::Metrics,
    options::{LimitOptions, ModelOptions},
    remote_images::RemoteImages,
    request::{head::HeadLimits, times::RequestTimes},
    storage::Storage,
    telemetry::Telemetry,
};
use content_limits::ContentLimits;
use lifecycle::{Lifecycle, Phase};
use model_names::ModelNames;

/// Limits of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// Maximum size of a body, in bytes.
    pub(crate) max_body_bytes: usize,
    /// Maximum size of the bodies of all requests together, in bytes.
    pub(crate) max_bodies_bytes: usize,
    /// Limits of the content of a body.
    pub(crate) content: ContentLimits,
    /// Time limits of a request.
    pub(crate) times: RequestTimes,
    /// Whether a chat answer has the form of the program recognised by its prompt, if the request does not choose.
    pub(crate) forms_by_prompt: bool,
    /// Limits of the head of a request.
    pub(crate) head: HeadLimits,
}

impl RequestLimits {
    /// The limits of a service that only this program uses: there are no other clients to protect, so that only the
    /// content of requests is bounded as usual.
    pub(crate) fn in_process() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            max_body_bytes: 1 << 30,
            max_bodies_bytes: 1 << 40,
            content: ContentLimits::from(&LimitOptions::default()),
            times: RequestTimes { queue: DAY, whole: DAY },
            forms_by_prompt: false,
            head: HeadLimits::NONE,
        }
    }
}

/// The parts of a service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    /// The critic.
    pub(crate) judge: Judge,
    /// The names of the critic.
    pub(crate) names: ModelNames,
    /// Metrics for Prometheus.
    pub(crate) metrics: Metrics,
    /// Spans and events for a collector of traces.
    pub(crate) telemetry: Telemetry,
    /// The keys and access rules.
    pub(crate) access: Access,
    /// The certificates for TLS, which can be reloaded; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Figures of the connections.
    pub(crate) connections: Arc<ConnectionFigures>,
    /// The folder of rubrics and profiles that is reloaded on demand. A mutex admits one reload at a time, so that
    /// the last one to begin is the one in force.
    pub(crate) config_dir: Option<Arc<tokio::sync::Mutex<Box<Path>>>>,
    /// The phase of the server, and its running requests.
    pub(crate) lifecycle: Lifecycle,
    /// The judging log, if verdicts are logged.
    pub(crate) judging_log: Option<JudgingLog>,
    /// Fetches images by URL, where that is allowed.
    pub(crate) remote_images: RemoteImages,
    /// The store of files and batches, if there is one.
    pub(crate) storage: Storage,
}

impl Service {
    /// A service that only this program uses, as [`RequestLimits::in_process`]. It is ready and open to all, and has no
    /// folder of rubrics, no judging log and no storage.
    pub(crate) fn in_process((judge, metrics): (Judge, Metrics)) -> Self {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        let names = ModelNames::new(judge.model(), ModelOptions::default());
        Self {
            judge,
            names,
            metrics,
            telemetry: Telemetry::default(),
            access: Access::open_to_all(),
            tls: None,
            connections: Arc::default(),
            config_dir: None,
            lifecycle,
            judging_log: None,
            remote_images: RemoteImages::default(),
            storage: Storage::default(),
        }
    }
}
