//! The state of the handlers.

use std::{ops::Deref, sync::Arc};

use crate::{
    body_memory::BodyMemory,
    not_found::Paths,
    service::{RequestLimits, Service},
};

/// The state of the handlers: the service, and what follows from the routes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    /// The service.
    pub(crate) service: Service,
    /// Limits of requests.
    pub(crate) limits: RequestLimits,
    /// The memory budget for the bodies of all requests.
    pub(crate) body_memory: BodyMemory,
    /// The routes that lines of batches may use.
    pub(crate) batch_endpoints: Arc<[&'static str]>,
    /// The documented paths, for errors about unknown ones.
    pub(crate) paths: Arc<Paths>,
    /// The OpenAPI document, as it is served.
    pub(crate) openapi: Arc<str>,
}

impl AppState {
    /// The state for one answer, whose judgements all use the rubrics and the profile in force now.
    pub(crate) fn with_fixed_rules(self) -> Self {
        let service = Service { judge: self.service.judge.pinned(), ..self.service };
        Self { service, ..self }
    }
}

impl Deref for AppState {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}
