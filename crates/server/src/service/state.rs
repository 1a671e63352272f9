//! The state of the handlers.

use std::{ops::Deref, sync::Arc};

use axum::http::Extensions;
use judge::Tenant;

use super::{RequestLimits, Service, paths::Paths};
use crate::{
    access::Grant,
    request::body_memory::{BodyMemory, BodyReservation},
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

    /// An empty reservation of memory for the body of a request with these extensions, in the share of its key.
    pub(crate) fn begin_body(&self, extensions: &Extensions) -> BodyReservation {
        match extensions.get::<Arc<Grant>>() {
            Some(grant) => {
                let account = grant.account();
                self.body_memory.begin(&account.tenant(), account.queue_share())
            }
            None => self.body_memory.begin(&Tenant::default(), 1.0),
        }
    }
}

impl Deref for AppState {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}
