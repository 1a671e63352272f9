//! Bodies of responses.

use judge::{
    BothOrders, Confidence, Distribution, FinishReason, Flag, JudgeError, Judgement, Kind, Outcome,
    Preference, Samples, Strength, Summary, Usage,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    receipt::{ReceiptBody, ReplayBody},
    scale::ScaleBody,
};
use crate::error::{ApiError, Dialect, ErrorDetail};

/// A verdict: `score` and `scale` for one response, `preference` for two.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// `pointwise` or `pairwise`.
    kind: String,
    /// The score of the one response.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// The better of two responses: `first`, `second` or `tie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<&'static str>,
    /// How strong the preference is, where the critic tells: `slight` or `by_far`.
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<&'static str>,
    /// The scores of both responses, where the critic gives each one.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
    /// The scale of the score or the scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleBody>,
    /// `fallback` when the text has no verdict in the form that the critic was asked for, and this one was taken from other words
    /// of it; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<&'static str>,
    /// How probable every possible verdict is to the critic, when that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<DistributionBody>,
    /// When the verdict is calibrated: how probable every possible verdict is whatever is answered. `distribution` is what is left
    /// when this is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    prior: Option<DistributionBody>,
    /// When it was also judged without images: by how much these move it, from -1 to 1, the expected score as a part of its
    /// scale, or half of how much more probable `first` is than `second`. A verdict that they do not move was not made of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    visual_delta: Option<f64>,
    /// When it was also judged without images: that verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    blind: Option<Box<VerdictBody>>,
    /// When both orders were judged: whether they say the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    consistent: Option<bool>,
    /// When both orders were judged: the verdict on the responses as they were given, and on the responses turned round,
    /// whose `first` is the one that was given second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    orders: Option<Vec<VerdictBody>>,
    /// When several samples were drawn: how far they lie apart. `score` is then their mean, or `preference` that of most of
    /// them, and the justification is that of a sample that comes nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<SpreadBody>,
    /// When several samples were drawn: each one, or why it is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    samples: Option<Vec<VerdictOrError>>,
    /// What is odd: of the responses `degenerate`, `invisible_characters`, `control_token_text`, `injection_suspected`, `copied`
    /// (it is the question or the criteria), `identical` and `length_ratio` (of a pair); `not_shown` (a
    /// reference or description for which the critic's prompt has no place); of the verdict `low_label_mass` (less
    /// than a half) and `order_inconsistent`. A degenerate response, which has no word, gets the worst verdict without asking
    /// the critic, unless `degenerate` is `judged`; the others change nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    /// The critic's reasons; empty when none were asked for.
    justification: String,
    /// `stop`, or `length` when the justification was cut by `max_tokens`.
    finish_reason: &'static str,
    /// Name of the rubric; `inline` for criteria of your own.
    rubric: String,
    /// Name of the checkpoint.
    model: String,
    /// Tokens read and written.
    usage: UsageBody,
    /// What the verdict depended on; with several orders or samples, each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Box<ReceiptBody>>,
    /// When a receipt was expected: whether the verdict is the same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayBody>,
}

/// How far several samples lie apart.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpreadBody {
    /// Samples that are verdicts.
    verdicts: usize,
    /// Samples that are none.
    failures: usize,
    /// Of scores: the standard deviation of the sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    standard_deviation: Option<f64>,
    /// Of preferences: the share of the verdicts that say the preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

/// One of several verdicts, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum VerdictOrError {
    /// The verdict.
    Verdict(Box<VerdictBody>),
    /// There is none.
    Failed(FailedBody),
}

/// Why there is no verdict.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedBody {
    /// What went wrong.
    error: ErrorDetail,
    /// What the critic wrote, when that is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// What a request gets: a verdict, or one by each of its rubrics.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum JudgedBody {
    /// The verdict by one rubric.
    One(Box<VerdictBody>),
    /// The verdicts by several.
    Several(VerdictsBody),
}

/// Verdicts by several rubrics.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VerdictsBody {
    /// One for each rubric, in order.
    pub(super) verdicts: Vec<VerdictOrError>,
}

impl From<ApiError> for VerdictOrError {
    fn from(error: ApiError) -> Self {
        Self::Failed(FailedBody { error: error.detail(), text: error.text().map(str::to_owned) })
    }
}

impl VerdictBody {
    /// The score of one response.
    pub(super) fn score(&self) -> Option<f64> {
        self.score
    }

    /// The better of two: `first`, `second` or `tie`.
    pub(super) fn preference(&self) -> Option<&'static str> {
        self.preference
    }

    /// Name of the rubric.
    pub(super) fn rubric(&self) -> &str {
        &self.rubric
    }

    /// The critic's reasons.
    pub(super) fn justification(&self) -> &str {
        &self.justification
    }

    /// What several samples say together, and each of them.
    pub(super) fn samples(samples: Samples, model: &str) -> Option<Self> {
        let Samples { verdicts, summary, typical, usage } = samples;
        let typical = verdicts.get(typical)?.as_ref().ok()?.clone();
        let failures = verdicts.iter().filter(|verdict| verdict.is_err()).count();
        let mut spread = SpreadBody {
            verdicts: verdicts.len() - failures,
            failures,
            standard_deviation: None,
            agreement: None,
        };
        let (mut score, mut preference) = (None, None);
        match summary {
            Summary::Scores { mean, standard_deviation } => {
                score = Some(mean);
                spread.standard_deviation = Some(standard_deviation);
            }
            Summary::Preferences { majority, agreement } => {
                preference = Some(majority.as_str());
                spread.agreement = Some(agreement);
            }
        }
        let each = |verdict: Result<Judgement, JudgeError>| match verdict {
            Ok(judgement) => VerdictOrError::Verdict(Box::new(Self::new(judgement, model))),
            Err(error) => ApiError::from_judge(error, Dialect::Native).into(),
        };
        Some(Self {
            score,
            preference,
            // Of all together only the preference is known; each sample has its own.
            strength: None,
            scores: None,
            confidence: None,
            spread: Some(spread),
            samples: Some(verdicts.into_iter().map(each).collect()),
            usage: usage.into(),
            receipt: None,
            ..Self::new(typical, model)
        })
    }

    /// A verdict that was asked for again, and whether it is the same.
    pub(super) fn replayed(judgement: Judgement, expected: &ReceiptBody, model: &str) -> Self {
        let replay = Some(expected.replay(&judgement.receipt));
        Self { replay, ..Self::new(judgement, model) }
    }

    /// The same beside a verdict without images.
    pub(super) fn beside(self, blind: Self, visual_delta: Option<f64>) -> Self {
        Self { visual_delta, blind: Some(Box::new(blind)), ..self }
    }

    /// The verdict of both orders: that on the responses as they were given, corrected by the other.
    pub(super) fn both(both: BothOrders, model: &str) -> Self {
        let BothOrders { given, turned, distribution, preference, consistent, flags } = both;
        let usage = given.usage + turned.usage;
        Self {
            preference: Some(preference.as_str()),
            // Of the mean of both orders only the preference is known; each order has its own.
            strength: None,
            scores: None,
            distribution: Some(DistributionBody::new(&distribution)),
            consistent: Some(consistent),
            flags: flags.into_iter().map(Flag::as_str).collect(),
            // Each order has its own.
            prior: None,
            orders: Some(vec![Self::new(given.clone(), model), Self::new(turned, model)]),
            usage: usage.into(),
            receipt: None,
            ..Self::new(given, model)
        }
    }
}

/// What the critic decided, while its reasons are still being written.
#[derive(Debug, Serialize)]
pub(super) struct DecisionBody {
    #[serde(flatten)]
    decision: Members,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<DistributionBody>,
}

impl DecisionBody {
    pub(super) fn new(outcome: Outcome, distribution: Option<&Distribution>) -> Self {
        Self { decision: members(outcome), distribution: distribution.map(DistributionBody::new) }
    }
}

/// A decision as members of a body.
#[derive(Debug, Default, Serialize)]
struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
}

fn members(outcome: Outcome) -> Members {
    let preference = outcome.preference().map(Preference::as_str);
    match outcome {
        Outcome::Score(score) => Members { score: Some(score), ..Members::default() },
        Outcome::Preference(_) => Members { preference, ..Members::default() },
        Outcome::Grade(grade) => {
            Members { preference, strength: grade.strength().map(Strength::as_str), ..Members::default() }
        }
        Outcome::Scores(pair) => Members { preference, scores: Some(pair.scores()), ..Members::default() },
    }
}

/// How probable every possible verdict is to the critic.
#[derive(Debug, Serialize, ToSchema)]
struct DistributionBody {
    /// Every possible verdict, worst score first.
    probabilities: Vec<ProbabilityBody>,
    /// The mean of the scores by their probabilities, when one response is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_score: Option<f64>,
    /// How undecided the critic is, in nats: 0 when it is sure.
    entropy: f64,
    /// The probability that the critic gives to all these verdicts together. What it lacks to 1 is what the critic would
    /// rather have written.
    label_mass: f64,
}

/// One possible verdict and its probability among all of them.
#[derive(Debug, Serialize, ToSchema)]
struct ProbabilityBody {
    /// A score.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// `first`, `second` or `tie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<&'static str>,
    /// How strong the preference is.
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<&'static str>,
    /// The scores of both responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
    /// Its probability; those of all verdicts together are 1.
    probability: f64,
}

impl DistributionBody {
    fn new(distribution: &Distribution) -> Self {
        let probability = |(outcome, probability): &(Outcome, f64)| {
            let Members { score, preference, strength, scores } = members(*outcome);
            ProbabilityBody { score, preference, strength, scores, probability: *probability }
        };
        Self {
            probabilities: distribution.probabilities.iter().map(probability).collect(),
            expected_score: distribution.expected_score(),
            entropy: distribution.entropy(),
            label_mass: distribution.label_mass,
        }
    }
}

/// Tokens read and written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageBody {
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Those of them that were not computed again, since an earlier prompt began with them.
    cached_tokens: usize,
    /// Tokens written.
    completion_tokens: usize,
    /// Their sum.
    total_tokens: usize,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        }
    }
}

impl VerdictBody {
    pub(crate) fn new(judgement: Judgement, model: &str) -> Self {
        let Judgement { verdict, rubric, scale, distribution, prior, flags, reason, usage, receipt, .. } =
            judgement;
        let Members { score, preference, strength, scores } = members(verdict.outcome);
        let kind = if score.is_some() { Kind::Pointwise } else { Kind::Pairwise };
        Self {
            kind: kind.to_string(),
            score,
            preference,
            strength,
            scores,
            scale: scale.map(ScaleBody::from),
            confidence: match verdict.confidence {
                Confidence::Stated => None,
                Confidence::Fallback => Some("fallback"),
            },
            distribution: distribution.as_ref().map(DistributionBody::new),
            prior: prior.as_ref().map(DistributionBody::new),
            visual_delta: None,
            blind: None,
            consistent: None,
            orders: None,
            spread: None,
            samples: None,
            flags: flags.into_iter().map(Flag::as_str).collect(),
            justification: verdict.justification,
            finish_reason: match reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            },
            rubric,
            model: model.to_owned(),
            usage: usage.into(),
            receipt: Some(Box::new(ReceiptBody::from(&*receipt))),
            replay: None,
        }
    }
}
