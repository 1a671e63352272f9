//! Bodies of rewards.

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
pub(in super::super) struct RewardsBody {
    /// The reward of each response, in their order; null where its verdicts failed.
    pub(in super::super) rewards: Vec<Option<f64>>,
    /// Indices of the responses, best first.
    ranking: Vec<usize>,
    /// Index of the best response; absent when all are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) chosen: Option<usize>,
    /// Index of the worst response; of equal ones the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) rejected: Option<usize>,
    /// By how much their rewards differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// When responses were compared: for each pair by how much the one of the column, in second place, is better than the
    /// one of the row, in first place, from -1 to 1, or in points where the signal is `scores`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Vec<Option<f64>>>>,
    /// How much the places weigh.
    #[serde(skip_serializing_if = "Option::is_none")]
    position_bias: Option<PositionBiasBody>,
    /// Verdicts that were a tie.
    ties: usize,
    /// Verdicts that could not be had.
    failures: Vec<FailureBody>,
    /// What is odd about any response or verdict, in the words of `/judge`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    /// How the rewards were made.
    method: MethodBody,
    /// Name of the rubric.
    pub(in super::super) rubric: String,
    /// Name of the checkpoint.
    model: String,
    /// Tokens of all verdicts together.
    usage: UsageBody,
}

/// How much the places of two responses weigh.
#[derive(Debug, Serialize, ToSchema)]
struct PositionBiasBody {
    /// Mean advantage of the second place over all pairs; 0 without bias. It cancels in the rewards.
    second_place: f64,
    /// Share of the pairs of which the two orders name different winners.
    flips: f64,
}

/// A verdict that could not be had.
#[derive(Debug, Serialize, ToSchema)]
struct FailureBody {
    /// Index of the response, or of the one in first place.
    first: usize,
    /// Index of the one in second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<usize>,
    /// Why.
    error: ErrorDetail,
}

/// What became of one of many prompts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ResultBody {
    /// Its rewards.
    Rewards(Box<RewardsBody>),
    /// Why there are none.
    Failed {
        /// The failure.
        error: ErrorDetail,
    },
}

/// What a request gets: rewards, or what became of each of its prompts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum RewardedBody {
    /// The rewards of one prompt.
    One(Box<RewardsBody>),
    /// What became of many.
    Many(ResultsBody),
}

/// What became of many prompts, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResultsBody {
    /// One for each prompt.
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

fn rows(matrix: &Matrix) -> Vec<Vec<Option<f64>>> {
    let places = 0..matrix.size();
    places
        .clone()
        .map(|first| places.clone().map(|second| matrix.advantage(first, second)).collect())
        .collect()
}
