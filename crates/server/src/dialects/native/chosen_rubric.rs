//! The rubric of a request: one of the server's by name, or criteria of its own.

use std::fmt;

use judge::{RubricChoice, Scale};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use super::scale::ScaleBody;
use crate::{error::ApiError, json::object::object_or_null};

/// The rubric by which a case is judged.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(super) enum ChosenRubric {
    /// Name of a rubric of the server.
    Name(String),
    /// Criteria of your own.
    Inline(InlineRubric),
}

/// Criteria of your own, with a scale if single responses are scored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineRubric {
    /// What the critic looks at, in words.
    criteria: String,
    /// The valid scores. Absent for comparisons.
    #[serde(default, deserialize_with = "object_or_null")]
    scale: Option<ScaleBody>,
}

/// Written by hand: a derived parser of an untagged enum reports only that no variant matched, not what is wrong.
impl<'de> Deserialize<'de> for ChosenRubric {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(NameOrInline)
    }
}

/// Accepts a name or an object.
struct NameOrInline;

impl<'de> Visitor<'de> for NameOrInline {
    type Value = ChosenRubric;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a rubric or an object with criteria")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ChosenRubric, E> {
        Ok(ChosenRubric::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<ChosenRubric, A::Error> {
        InlineRubric::deserialize(MapAccessDeserializer::new(members)).map(ChosenRubric::Inline)
    }
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

/// A rubric, and where it is in the body.
pub(super) struct RubricWithPath {
    pub(super) choice: RubricChoice,
    /// The prefix of the path of its criteria and scale, for error messages.
    pub(super) path: String,
}

/// The prefix of the path of criteria and scale: `rubric.` for criteria inside `rubric`, else empty.
pub(super) fn path_of_rubric(rubric: Option<&ChosenRubric>) -> &'static str {
    match rubric {
        Some(ChosenRubric::Inline(_)) => "rubric.",
        Some(ChosenRubric::Name(_)) | None => "",
    }
}

/// The rubric of a body, from `rubric` or from `criteria` and `scale` next to it.
///
/// # Errors
/// When both are given, or a scale without criteria.
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
        (None, None, Some(_)) => {
            Err(ApiError::invalid("scale", "A scale needs criteria beside it, which say what is scored."))
        }
    }
}
