//! The error responses that all routes of this module have in common, for the API document.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use crate::error::ErrorBody;

/// The errors that do not depend on the content of a request.
pub(super) enum Failures {}

const FAILURES: [(&str, &str); 6] = [
    ("404", "No model or no rubric has that name."),
    ("413", "The body is too large."),
    ("415", "The body is not JSON."),
    ("500", "The model failed."),
    ("503", "Too many requests wait; see `Retry-After`."),
    ("504", "The request ran out of time."),
];

impl IntoResponses for Failures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let body = || ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
        let response = |description: &str| {
            ResponseBuilder::new().description(description).content("application/json", body()).build()
        };
        FAILURES.map(|(status, description)| (status.to_owned(), response(description).into())).into()
    }
}
