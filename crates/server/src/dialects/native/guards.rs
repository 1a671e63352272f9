//! What a request wants done about responses that mean to deceive.

use judge::{Calibration, Degenerate, Guards, Invisible};
use serde::Deserialize;
use utoipa::ToSchema;

/// Whether what the critic says whatever is answered is taken out of its verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CalibrationBody {
    /// No.
    #[default]
    None,
    /// Probabilities are divided by the mean of those on three answers without content to the same question. It is for
    /// comparisons: a score of nothing is rightly the worst, which this takes away.
    ContentFree,
}

/// What becomes of a response that answers nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DegenerateBody {
    /// It gets the worst verdict, and the critic is not asked.
    #[default]
    Worst,
    /// The critic judges it as any other.
    Judged,
}

/// What becomes of characters of responses that nobody sees, such as Unicode tags and runs of variation selectors. They are
/// flagged in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InvisibleBody {
    /// The critic reads them.
    #[default]
    Kept,
    /// They are left out before anything is judged.
    Stripped,
}

/// What is done about them.
pub(super) fn guards(
    calibration: CalibrationBody,
    degenerate: DegenerateBody,
    invisible: InvisibleBody,
) -> Guards {
    Guards {
        calibration: match calibration {
            CalibrationBody::None => Calibration::None,
            CalibrationBody::ContentFree => Calibration::ContentFree,
        },
        degenerate: match degenerate {
            DegenerateBody::Worst => Degenerate::Worst,
            DegenerateBody::Judged => Degenerate::Judged,
        },
        invisible: match invisible {
            InvisibleBody::Kept => Invisible::Kept,
            InvisibleBody::Stripped => Invisible::Stripped,
        },
    }
}
