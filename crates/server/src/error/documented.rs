//! The error responses that routes have in common, for the API document. What only one route answers is in its own
//! attributes.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use super::ErrorBody;

/// A status, and the description of its response.
type Row = (&'static str, &'static str);

const UNKNOWN_RUBRIC: Row = ("404", "No rubric with this name exists.");
const TOO_LARGE: Row = ("413", "The request body is too large.");
const NOT_JSON: Row = ("415", "The request body is not JSON.");
const FAILED: Row = ("500", "The critic failed.");
const BUSY: Row = ("429", "Too many requests are waiting; retry after the time in `Retry-After`.");
const STOPPED: Row = ("503", "The engine has stopped.");
const UNKNOWN_MODEL: Row = ("404", "No model with this name is served.");
const LATE: Row = ("504", "The request exceeded its time limit.");

/// The errors of routes on which the critic writes text.
pub(crate) enum GenerationErrors {}

impl IntoResponses for GenerationErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented([
            ("400", "The request is invalid or uses an unsupported parameter."),
            TOO_LARGE,
            NOT_JSON,
            BUSY,
            ("500", "The critic failed, or the text ended before its first word (`empty_completion`)."),
            STOPPED,
            LATE,
        ])
    }
}

/// The errors of Gavel's own routes for verdicts and rewards, besides invalid requests.
pub(crate) enum JudgementErrors {}

impl IntoResponses for JudgementErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let busy = "Too many requests are waiting, or this one waited too long; retry after the time in `Retry-After`.";
        documented([UNKNOWN_RUBRIC, TOO_LARGE, NOT_JSON, FAILED, ("503", busy), LATE])
    }
}

/// The errors of the routes of reward servers, besides invalid requests.
pub(crate) enum ScoringErrors {}

impl IntoResponses for ScoringErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented([
            ("404", "No model or no rubric with this name exists."),
            TOO_LARGE,
            NOT_JSON,
            FAILED,
            ("503", "Too many requests are waiting; retry after the time in `Retry-After`."),
            LATE,
        ])
    }
}

/// The errors of routes that convert texts to tokens and back, besides invalid requests.
pub(crate) enum TokenErrors {}

impl IntoResponses for TokenErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented([
            UNKNOWN_MODEL,
            TOO_LARGE,
            NOT_JSON,
            BUSY,
            ("500", "The text cannot be converted."),
            STOPPED,
            LATE,
        ])
    }
}

/// The error of a name that the server does not know, if it refuses such names.
pub(crate) enum UnknownModel {}

impl IntoResponses for UnknownModel {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented([UNKNOWN_MODEL])
    }
}

/// The error of routes for files and batches on a server that stores none.
pub(crate) enum NoStorage {}

impl IntoResponses for NoStorage {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        documented([("404", "The server has no storage for files and batches (`--data-dir`).")])
    }
}

/// The error of routes for one file or batch.
pub(crate) enum NotStored {}

impl IntoResponses for NotStored {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let unknown =
            "No file or batch of this key has this id, or the server has no storage for them (`--data-dir`).";
        documented([("404", unknown)])
    }
}

/// Responses with the body of an error.
fn documented<const N: usize>(rows: [Row; N]) -> BTreeMap<String, RefOr<Response>> {
    let body = || ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
    let response = |description: &str| {
        ResponseBuilder::new().description(description).content("application/json", body()).build()
    };
    rows.map(|(status, description)| (status.to_owned(), response(description).into())).into()
}
