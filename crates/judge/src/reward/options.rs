//! What is judged for a reward, and how.

use critic::ImageTiling;
use rubric::{Case, Kind};

use crate::{Caller, Guards, RubricChoice};

/// How rewards are computed from verdicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Compares all ordered pairs; a reward is the sum of wins minus losses, as in LLaVA-Critic.
    #[default]
    RoundRobin,
    /// Compares all ordered pairs; rewards are strengths of the Bradley-Terry model.
    BradleyTerry,
    /// A knockout tournament: 2 (K - 1) comparisons instead of K (K - 1); more if some fail, but at most K (K - 1).
    /// It determines only the best response: the others are ranked by the round in which they lost, so that ranks
    /// are shared, and one wrong verdict can eliminate a good response. After a failed comparison both responses
    /// continue against others, unless all further comparisons would fail as well, as after the deadline.
    Tournament,
    /// Scores each response alone; a reward is its expected score, negated where lower scores are better.
    Pointwise,
    /// Rates each response alone; a reward is the number of the critic's reward head.
    Scalar,
}

impl Method {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Pointwise | Self::Scalar => Kind::Pointwise,
            Self::RoundRobin | Self::BradleyTerry | Self::Tournament => Kind::Pairwise,
        }
    }
}

/// The value taken from a verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signal {
    /// By probabilities: the probability of the second response minus that of the first, or the expected score.
    #[default]
    Probability,
    /// By the verdict: 1 for the second response, -1 for the first, 0 for a tie; or the score.
    Verdict,
    /// As [`Verdict`](Self::Verdict), but pairs count only if both orders have the same winner. Texts that
    /// manipulate a critic mostly do so in one position only.
    Agreed,
    /// The difference of the scores in points, for rubrics that score both responses of a pair: the expected
    /// difference if probabilities are read, otherwise the written one.
    Scores,
}

/// Several responses to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The question, its images and an optional reference answer; its own responses are ignored.
    pub case: Case,
    /// The responses to judge.
    pub responses: Vec<String>,
}

/// Whether the critic writes a justification before its verdict is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reasons {
    /// As in training: a reward head is read after a justification, labels without one.
    #[default]
    Trained,
    /// No justification, which is fastest.
    None,
    /// A justification of at most this many tokens.
    Written(usize),
}

/// The options of a reward.
#[derive(Debug, Clone, Default)]
pub struct RewardOptions {
    /// How rewards are computed from verdicts.
    pub method: Method,
    /// The value taken from a verdict.
    pub signal: Signal,
    /// The rubric.
    pub rubric: RubricChoice,
    /// Name of the critic's prompt format; `None` for the best one for the rubric.
    pub format: Option<String>,
    /// Whether the critic writes a justification before its verdict is read.
    pub reasons: Reasons,
    /// How images are split into tiles when there are several.
    pub tiling: ImageTiling,
    /// Measures against responses that try to manipulate the critic, and against its bias.
    pub guards: Guards,
    /// The client for which the responses are judged.
    pub caller: Caller,
}
