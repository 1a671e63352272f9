//! Request options against deceptive responses.

use judge::{Calibration, Degenerate, Guards, Invisible};
use serde::Deserialize;
use utoipa::ToSchema;

/// Whether the critic's bias, meaning its verdict on answers without content, is divided out of the probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CalibrationBody {
    /// No calibration.
    #[default]
    None,
    /// The probability of each verdict is divided by its mean over three answers without content to the same
    /// question (at least 0.000001), and the results are normalised. Intended for comparisons: with single scores,
    /// the low score of an empty answer is correct, and dividing by it spoils the scores.
    ContentFree,
}

/// How a response without an answer is judged: one that is empty, only white space or punctuation, or only
/// announces an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum DegenerateBody {
    /// It gets the worst score, and loses to any other response, without running the critic.
    #[default]
    Worst,
    /// The critic judges it like any other response.
    Judged,
}

/// How invisible characters in responses are treated, such as Unicode tags and runs of variation selectors. They
/// are flagged in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum InvisibleBody {
    /// The critic reads them.
    #[default]
    Kept,
    /// They are removed before the responses are judged.
    Stripped,
}

/// Combines the three options.
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
