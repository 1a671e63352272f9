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
    ("404", "No model or no rubric with this name exists."),
    ("413", "The request body is too large."),
    ("415", "The request body is not JSON."),
    ("500", "The critic failed."),
    ("503", "Too many requests are waiting; retry after the time in `Retry-After`."),
    ("504", "The request exceeded its time limit."),
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
