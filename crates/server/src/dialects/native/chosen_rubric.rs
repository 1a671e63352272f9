//! By what a body asks for a verdict: a rubric of the server, or criteria of its own.

use judge::{RubricChoice, Scale};
use serde::Deserialize;
use utoipa::ToSchema;

use super::scale::ScaleBody;
use crate::error::ApiError;

/// By what a case is judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ChosenRubric {
    /// A rubric of the server, by its name.
    Name(String),
    /// Criteria of your own.
    Inline(InlineRubric),
}

/// Criteria of your own, with a scale when one response is scored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineRubric {
    /// What to look at.
    criteria: String,
    /// The scores that may be given.
    scale: Option<ScaleBody>,
}

impl From<ChosenRubric> for RubricChoice {
    fn from(body: ChosenRubric) -> Self {
        match body {
            ChosenRubric::Name(name) => Self::Named(name),
            ChosenRubric::Inline(InlineRubric { criteria, scale }) => {
                let scale = scale.map(Scale::from);
                Self::Inline { criteria, scale }
            }
        }
    }
}

/// A rubric and where its criteria and scale stand in the body.
pub(super) struct PlacedRubric {
    pub(super) choice: RubricChoice,
    pub(super) path: String,
}

/// Where criteria and a scale stand in a body: inside of its rubric, or beside it.
pub(super) fn path_of_rubric(rubric: Option<&ChosenRubric>) -> &'static str {
    match rubric {
        Some(ChosenRubric::Inline(_)) => "rubric.",
        Some(ChosenRubric::Name(_)) | None => "",
    }
}

/// The rubric of a body, wherever its criteria stand.
pub(super) fn choose_rubric(
    rubric: Option<ChosenRubric>,
    criteria: Option<String>,
    scale: Option<ScaleBody>,
) -> Result<RubricChoice, ApiError> {
    match (rubric, criteria, scale) {
        (None, None, None) => Ok(RubricChoice::Default),
        (Some(rubric), None, None) => Ok(rubric.into()),
        (None, Some(criteria), scale) => Ok(ChosenRubric::Inline(InlineRubric { criteria, scale }).into()),
        (Some(_), _, _) => {
            Err(ApiError::invalid("rubric", "Give a rubric, or criteria and a scale, not both."))
        }
        (None, None, Some(_)) => Err(ApiError::invalid("scale", "A scale goes with criteria.")),
    }
}
