//! Extractors: what handlers take from a request, by the state of the service.

pub(crate) mod caller;
pub(crate) mod json_body;
mod recorder;
