//! A scale in bodies of requests and responses.

use judge::Scale;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::dialects::null_as_default;

/// The scores from `min` to `max` in steps of `step`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleBody {
    /// The worst score.
    min: f64,
    /// The best score.
    max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step", deserialize_with = "step")]
    #[schema(default = 1.0)]
    step: f64,
    /// Whether a score may lie between the steps; probabilities are those of the steps all the same.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    decimals: bool,
}

/// Reads a step, and `null` as the usual one.
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
