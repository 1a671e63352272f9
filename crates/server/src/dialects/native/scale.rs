//! A scale in bodies of requests and responses.

use judge::Scale;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The scores from `min` to `max` in steps of `step`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleBody {
    /// The worst score.
    min: f64,
    /// The best score.
    max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step")]
    #[schema(default = 1.0)]
    step: f64,
}

impl From<ScaleBody> for Scale {
    fn from(ScaleBody { min, max, step }: ScaleBody) -> Self {
        Self { min, max, step }
    }
}

impl From<Scale> for ScaleBody {
    fn from(Scale { min, max, step }: Scale) -> Self {
        Self { min, max, step }
    }
}
