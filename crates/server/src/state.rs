//! What every handler may use.

use std::{path::Path, sync::Arc};

use judge::Judge;

use crate::{
    access::Access,
    body_memory::BodyMemory,
    caller::RequestTimes,
    connections::{ConnectionFigures, Tls},
    content_limits::ContentLimits,
    judging_log::JudgingLog,
    lifecycle::Lifecycle,
    metrics::Metrics,
    model_names::ModelNames,
    paths::Paths,
    remote_images::RemoteImages,
    storage::Storage,
    telemetry::Telemetry,
};

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The critic.
    pub(crate) judge: Judge,
    /// By which names it is called.
    pub(crate) names: ModelNames,
    /// Who may ask.
    pub(crate) access: Access,
    /// The certificates that can be read again.
    pub(crate) tls: Option<Arc<Tls>>,
    /// How many connections there are.
    pub(crate) connections: Arc<ConnectionFigures>,
    /// Whether the server starts, runs or stops.
    pub(crate) lifecycle: Lifecycle,
    /// What Prometheus is told.
    pub(crate) metrics: Metrics,
    /// What a collector of traces is told.
    pub(crate) telemetry: Telemetry,
    /// Where verdicts are logged, if they are.
    pub(crate) judging_log: Option<JudgingLog>,
    /// What fetches images, where that is allowed.
    pub(crate) remote_images: RemoteImages,
    /// The folder of rubrics and profiles that is read again on demand. One reading at a time, so that the last one to begin is
    /// the one that holds.
    pub(crate) config_dir: Option<Arc<tokio::sync::Mutex<Box<Path>>>>,
    /// What a request may hold.
    pub(crate) content: ContentLimits,
    /// The largest body of a request, in bytes.
    pub(crate) max_body_bytes: usize,
    /// The memory for the bodies of all requests.
    pub(crate) body_memory: BodyMemory,
    /// How long a request may take.
    pub(crate) times: RequestTimes,
    /// Whether an answer has the form that its prompt asks for when the request does not say.
    pub(crate) forms_by_prompt: bool,
    /// What is kept for clients, if anything is.
    pub(crate) storage: Storage,
    /// The routes that lines of batches may go to.
    pub(crate) batch_endpoints: Arc<[&'static str]>,
    /// The documented paths, for whoever asks at another.
    pub(crate) paths: Arc<Paths>,
    /// The OpenAPI document, as it is served.
    pub(crate) openapi: Arc<str>,
}

impl AppState {
    /// The same for one answer: all its judgements are by the rules that hold now.
    pub(crate) fn pinned(self) -> Self {
        Self { judge: self.judge.pinned(), ..self }
    }
}
