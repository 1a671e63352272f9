//! The body of an answer of `/reward`.

use judge::{FailedVerdict, Flag, Matrix, Reward};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::MethodBody;
use crate::{
    dialects::native::response::UsageBody,
    error::{ApiError, Dialect, ErrorDetail},
};

/// Rewards of the responses to one question.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RewardsBody {
    /// The reward of each response, in their order; null if its verdicts failed.
    pub(crate) rewards: Vec<Option<f64>>,
    /// Indices of the responses that have a reward, best first; equal ones in their given order.
    ranking: Vec<usize>,
    /// Index of the best response, the first one of equals; absent if all rewards are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<usize>,
    /// Index of the worst response, the first one of equals; absent if all rewards are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<usize>,
    /// The difference of their rewards; absent if all are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// If responses were compared: by how much the response of the column, in second place, is better than that of
    /// the row, in first place, from -1 to 1, or in points if the signal is `scores`. Null where there is no
    /// verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Vec<Option<f64>>>>,
    /// How much the position of a response matters; absent if no pair was judged in both orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    position_bias: Option<PositionBiasBody>,
    /// Number of verdicts that were a tie.
    ties: usize,
    /// Verdicts that failed.
    failures: Vec<FailureBody>,
    /// Anomalies of the responses and the verdicts, with the names that `/judge` uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    /// How the rewards were computed.
    method: MethodBody,
    /// Name of the rubric.
    pub(crate) rubric: String,
    /// Name of the checkpoint.
    model: String,
    /// Token counts of all verdicts together.
    usage: UsageBody,
}

/// How much the position of a response matters.
#[derive(Debug, Serialize, ToSchema)]
struct PositionBiasBody {
    /// Mean advantage of the second place over all pairs that were judged in both orders; 0 without bias. It
    /// cancels in the rewards.
    second_place: f64,
    /// Share of these pairs for which the two orders have different winners.
    flips: f64,
}

/// A verdict that failed.
#[derive(Debug, Serialize, ToSchema)]
struct FailureBody {
    /// Index of the response, or of the one in first place.
    first: usize,
    /// Index of the response in second place; absent if responses were scored alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<usize>,
    /// Why it failed.
    error: ErrorDetail,
}

/// The result for one of several prompts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ResultBody {
    /// Its rewards.
    Rewards(Box<RewardsBody>),
    /// It has none.
    Failed {
        /// Why the prompt failed.
        error: ErrorDetail,
    },
}

/// The answer: rewards, or a result for each prompt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum RewardedBody {
    /// The rewards of a single prompt.
    One(Box<RewardsBody>),
    /// The results for several prompts.
    Many(ResultsBody),
}

/// Results for several prompts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultsBody {
    /// Rewards or an error for each prompt, in their order.
    pub(super) results: Vec<ResultBody>,
}

impl RewardsBody {
    pub(super) fn new(reward: Reward, method: MethodBody, model: &str) -> Self {
        let failure = |FailedVerdict { first, second, error }| FailureBody {
            first,
            second,
            error: ApiError::from_judge(error, Dialect::Native).detail(),
        };
        Self {
            chosen: reward.pick.map(|pick| pick.chosen),
            rejected: reward.pick.map(|pick| pick.rejected),
            margin: reward.pick.map(|pick| pick.margin),
            matrix: reward.matrix.as_ref().map(rows),
            position_bias: reward
                .position_bias
                .map(|bias| PositionBiasBody { second_place: bias.second_place, flips: bias.flips }),
            rewards: reward.rewards,
            ranking: reward.ranking,
            ties: reward.ties,
            failures: reward.failures.into_iter().map(failure).collect(),
            flags: reward.flags.into_iter().map(Flag::as_str).collect(),
            method,
            rubric: reward.rubric,
            model: model.to_owned(),
            usage: reward.usage.into(),
        }
    }
}

/// The rows of a matrix; the row is the response in first place, the column that in second place.
fn rows(matrix: &Matrix) -> Vec<Vec<Option<f64>>> {
    let responses = 0..matrix.size();
    responses
        .clone()
        .map(|first| responses.clone().map(|second| matrix.advantage(first, second)).collect())
        .collect()
}
