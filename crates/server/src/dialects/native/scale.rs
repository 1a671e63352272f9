//! Scales in request and response bodies.

use judge::{Direction, Scale};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::dialects::null_as_default;

/// The scores from `min` to `max` in steps of `step`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleBody {
    /// The lowest score.
    min: f64,
    /// The highest score.
    max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step", deserialize_with = "step")]
    #[schema(default = 1.0)]
    step: f64,
    /// Whether the critic may write a score between the steps. Probabilities are still those of the steps. Absent
    /// if false.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    decimals: bool,
}

/// The scale of a verdict.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct VerdictScaleBody {
    /// The lowest score.
    min: f64,
    /// The highest score.
    max: f64,
    /// The distance between neighbouring scores.
    step: f64,
    /// Whether the critic may write a score between the steps. Probabilities are still those of the steps. Absent
    /// if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    decimals: bool,
    /// `lower` if lower scores are better. Absent if higher ones are.
    #[serde(skip_serializing_if = "is_higher")]
    #[schema(value_type = String)]
    direction: Direction,
}

fn is_higher(direction: &Direction) -> bool {
    *direction == Direction::Higher
}

impl VerdictScaleBody {
    pub(super) fn new(Scale { min, max, step, decimals }: Scale, direction: Direction) -> Self {
        Self { min, max, step, decimals, direction }
    }
}

/// Reads a step; `null` means the default.
fn step<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_else(Scale::default_step))
}

impl From<ScaleBody> for Scale {
    fn from(ScaleBody { min, max, step, decimals }: ScaleBody) -> Self {
        Self { min, max, step, decimals }
    }
}

impl From<Scale> for ScaleBody {
    fn from(Scale { min, max, step, decimals }: Scale) -> Self {
        Self { min, max, step, decimals }
    }
}
