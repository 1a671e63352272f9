//! Pages of the lists of files and batches.

use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;

use crate::error::{ApiError, quoted};

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Paged<T> {
    /// Always `list`.
    object: &'static str,
    /// The items.
    data: Vec<T>,
    /// Id of the first item; null if there are none.
    first_id: Option<String>,
    /// Id of the last item, to be sent as `after` for the next page; null if there are none.
    last_id: Option<String>,
    /// Whether there are more items after the last.
    has_more: bool,
}

impl<T> Paged<T> {
    pub(super) fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> &String) -> Self {
        let (first_id, last_id) =
            (data.first().map(|item| id(item).clone()), data.last().map(|item| id(item).clone()));
        Self { object: "list", first_id, last_id, has_more, data }
    }
}

/// How many items a page of a list may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLimits {
    /// The limit if the request has none.
    pub(super) default: usize,
    pub(super) max: usize,
}

/// The limit of a page.
///
/// # Errors
/// When it is not from 1 to the maximum.
pub(super) fn limit_within(limit: Option<usize>, limits: PageLimits) -> Result<usize, ApiError> {
    let PageLimits { default, max } = limits;
    let limit = limit.unwrap_or(default);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::invalid("limit", format!("The limit is from 1 to {max}.")))
}

/// The error of a page of a list: an unknown `after` is an invalid request instead of not found.
pub(super) fn page_error(error: StoreError) -> ApiError {
    match error {
        StoreError::UnknownFile { id } | StoreError::UnknownBatch { id } => {
            let message = format!("There is no {} behind which a list could begin.", quoted(&id));
            ApiError::invalid("after", message)
        }
        other => other.into(),
    }
}
