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

/// A rubric, and its place in the body.
pub(super) struct RubricWithPlace {
    pub(super) choice: RubricChoice,
    pub(super) place: RubricPlace,
}

/// The place of a rubric in a body, for errors.
#[derive(Debug, Clone)]
pub(super) struct RubricPlace {
    /// The prefix of the path of its criteria and scale: it ends with a dot, or is empty.
    path: String,
    /// The length of criteria that are part of the body, in bytes; 0 for a rubric of the server.
    criteria_bytes: usize,
}

impl RubricWithPlace {
    /// A rubric whose criteria and scale have the prefix `path`.
    pub(super) fn new(choice: RubricChoice, path: String) -> Self {
        let criteria_bytes = match &choice {
            RubricChoice::Inline { criteria, .. } => criteria.len(),
            RubricChoice::Default | RubricChoice::Named(_) => 0,
        };
        Self { choice, place: RubricPlace { path, criteria_bytes } }
    }

    /// The rubric of a body, from `rubric` or from `criteria` and `scale` next to it.
    ///
    /// # Errors
    /// When both are given, or a scale without criteria.
    pub(super) fn choose(
        rubric: Option<ChosenRubric>,
        criteria: Option<String>,
        scale: Option<ScaleBody>,
    ) -> Result<Self, ApiError> {
        let (choice, path) = match (rubric, criteria, scale) {
            (None, None, None) => (RubricChoice::Default, ""),
            (Some(rubric @ ChosenRubric::Inline(_)), None, None) => (rubric.into(), "rubric."),
            (Some(rubric @ ChosenRubric::Name(_)), None, None) => (rubric.into(), ""),
            (None, Some(criteria), scale) => {
                (ChosenRubric::Inline(InlineRubric { criteria, scale }).into(), "")
            }
            (Some(_), _, _) => {
                let message = "Give a rubric, or criteria and a scale, not both.";
                return Err(ApiError::invalid("rubric", message));
            }
            (None, None, Some(_)) => {
                let message = "A scale needs criteria beside it, which say what is scored.";
                return Err(ApiError::invalid("scale", message));
            }
        };
        Ok(Self::new(choice, path.to_owned()))
    }
}

impl RubricPlace {
    /// The prefix of the path of criteria and scale.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The length of criteria that are part of the body, in bytes; 0 if there are none.
    pub(super) fn criteria_bytes(&self) -> usize {
        self.criteria_bytes
    }
}
