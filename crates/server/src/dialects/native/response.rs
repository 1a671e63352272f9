//! The body of an answer of `/judge`.

use judge::{
    BothOrders, Confidence, Distribution, FinishReason, Flag, JudgeError, Judgement, Kind, Outcome,
    Preference, Samples, Strength, Summary, Usage,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{
    receipt::{ReceiptBody, ReplayBody},
    scale::VerdictScaleBody,
};
use crate::{
    dialects::generation::text_event::finish_reason_name,
    error::{ApiError, Dialect, ErrorDetail},
};

/// A verdict: `score` and `scale` for one response, `preference` for two.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictBody {
    /// `pointwise` for one response, `pairwise` for two.
    #[schema(value_type = String)]
    kind: Kind,
    /// The score of a single response; with several samples, their mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// The better one of two responses: `first`, `second` or `tie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    preference: Option<Preference>,
    /// How strong the preference is, if the critic grades it: `slight` or `by_far`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    strength: Option<Strength>,
    /// The scores of both responses, if the critic scores each of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
    /// The scale of `score` or `scores`. Absent for rubrics without scores, and for reward heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<VerdictScaleBody>,
    /// `fallback` if the critic's text has no verdict in the requested form and this one was taken from other words
    /// of it; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<&'static str>,
    /// The critic's probability of every possible verdict, if it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<DistributionBody>,
    /// With `calibration`: the critic's probabilities on answers without content, by which those of the response
    /// were divided to give `distribution`.
    #[serde(skip_serializing_if = "Option::is_none")]
    prior: Option<DistributionBody>,
    /// With `blind`: by how much the images move the verdict, from -1 to 1: the difference of the expected scores
    /// as a fraction of the scale, or half the change of P(first) - P(second). Near 0, the verdict does not depend
    /// on the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    visual_delta: Option<f64>,
    /// With `blind`: the verdict without images.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    blind: Option<Box<VerdictBody>>,
    /// With `order`: whether both orders have the same winner.
    #[serde(skip_serializing_if = "Option::is_none")]
    consistent: Option<bool>,
    /// With `order`: the verdict on the responses in the given order, and on the reverse, in which `first` is the
    /// response that was given second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    orders: Option<Vec<VerdictBody>>,
    /// With several samples: how they vary. `score` is then their mean, or `preference` that of their majority, and
    /// the justification is that of a sample closest to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<SpreadBody>,
    /// With several samples: each verdict, or the error in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    samples: Option<Vec<VerdictOrError>>,
    /// Anomalies. Of responses: `degenerate`, `invisible_characters`, `control_token_text`, `injection_suspected`,
    /// `copied` (a copy of the question or the criteria), and of a pair `identical` and `length_ratio`. Of the
    /// request: `not_shown` (a reference or description for which the critic's prompt has no place). Of the
    /// verdict: `low_label_mass` (below 0.5) and `order_inconsistent`. A degenerate response, one without an
    /// answer, gets the worst verdict without running the critic, unless `degenerate` is `judged`; the other flags
    /// only report.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    /// The critic's reasons; empty if none were written. With `order`, those for the given order, and empty if they
    /// are for another preference: each order has its own.
    justification: String,
    /// `stop`, or `length` if the justification was cut by `max_tokens`.
    #[serde(serialize_with = "finish_reason")]
    #[schema(value_type = String)]
    finish_reason: FinishReason,
    /// Name of the rubric; `inline` for criteria of your own.
    rubric: String,
    /// Name of the checkpoint.
    model: String,
    /// Tokens of the prompt and of the reply.
    usage: UsageBody,
    /// What the verdict depended on. Absent with `order` or several samples, where each verdict has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Box<ReceiptBody>>,
    /// With `expect`: whether the verdict is the same as that of the receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayBody>,
}

/// Writes a finish reason by its name.
fn finish_reason<S: Serializer>(reason: &FinishReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(finish_reason_name(*reason))
}

/// How several samples vary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpreadBody {
    /// Number of samples with a verdict.
    verdicts: usize,
    /// Number of samples without one.
    failures: usize,
    /// For scores: the sample standard deviation, 0 for a single score.
    #[serde(skip_serializing_if = "Option::is_none")]
    standard_deviation: Option<f64>,
    /// For preferences: the share of the verdicts that have the majority's preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
}

/// A verdict, or the error in its place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum VerdictOrError {
    /// The verdict.
    Verdict(Box<VerdictBody>),
    /// The error.
    Failed(FailedBody),
}

/// Why there is no verdict.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedBody {
    /// The error.
    error: ErrorDetail,
    /// The critic's text, if it could not be parsed as a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The answer: a verdict, or one for each rubric.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum JudgedBody {
    /// The verdict by one rubric.
    One(Box<VerdictBody>),
    /// The verdicts by several rubrics.
    Several(VerdictsBody),
}

/// Verdicts by several rubrics.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VerdictsBody {
    /// A verdict or an error for each rubric, in their order.
    pub(super) verdicts: Vec<VerdictOrError>,
}

impl From<ApiError> for VerdictOrError {
    fn from(error: ApiError) -> Self {
        Self::Failed(FailedBody { error: error.detail(), text: error.text().map(str::to_owned) })
    }
}

impl VerdictBody {
    /// The score of a single response.
    pub(super) fn score(&self) -> Option<f64> {
        self.score
    }

    /// The better one of two responses.
    pub(super) fn preference(&self) -> Option<Preference> {
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

    /// Several samples: their summary, and each of them. `None` if the typical sample is not a verdict.
    pub(super) fn samples(samples: Samples, model: &str) -> Option<Self> {
        let Samples { verdicts, summary, typical, usage } = samples;
        let typical = Self::new(verdicts.get(typical)?.as_ref().ok()?.clone(), model);
        let failures = verdicts.iter().filter(|verdict| verdict.is_err()).count();
        let (decision, spread) = summarised(summary, verdicts.len() - failures, failures);
        let verdict_or_error = |verdict: Result<Judgement, JudgeError>| match verdict {
            Ok(judgement) => VerdictOrError::Verdict(Box::new(Self::new(judgement, model))),
            Err(error) => ApiError::from_judge(error, Dialect::Native).into(),
        };
        // Every field by name: what a sample has besides the decision may not be true of the summary.
        Some(Self {
            kind: typical.kind,
            score: decision.score,
            preference: decision.preference,
            strength: decision.strength,
            scores: decision.scores,
            scale: typical.scale,
            confidence: None,
            distribution: typical.distribution,
            prior: None,
            visual_delta: None,
            blind: None,
            consistent: None,
            orders: None,
            spread: Some(spread),
            samples: Some(verdicts.into_iter().map(verdict_or_error).collect()),
            flags: typical.flags,
            justification: typical.justification,
            finish_reason: typical.finish_reason,
            rubric: typical.rubric,
            model: typical.model,
            usage: usage.into(),
            receipt: None,
            replay: None,
        })
    }

    /// A replayed verdict, with the comparison to the receipt of the earlier one.
    pub(super) fn replayed(judgement: Judgement, expected: &ReceiptBody, model: &str) -> Self {
        let replay = Some(expected.replay(&judgement.receipt));
        Self { replay, ..Self::new(judgement, model) }
    }

    /// Adds the verdict without images and the difference.
    pub(super) fn with_blind(self, blind: Self, visual_delta: Option<f64>) -> Self {
        Self { visual_delta, blind: Some(Box::new(blind)), ..self }
    }

    /// Both orders: the verdict on the given order, with the preference and distribution of their mean.
    pub(super) fn both(both: BothOrders, model: &str) -> Self {
        let BothOrders { given, turned, distribution, preference, consistent, flags } = both;
        let usage = given.usage + turned.usage;
        // Reasons for another preference are no reasons, and those for the reverse order call the responses by the
        // names of each other.
        let (justification, finish_reason) = match given.verdict.outcome.preference() {
            Some(own) if own == preference => (given.verdict.justification.clone(), given.reason),
            Some(_) | None => (String::new(), FinishReason::Stop),
        };
        let first = Self::new(given.clone(), model);
        // Every field by name: what one order has besides the decision may not be true of both.
        Self {
            kind: first.kind,
            score: None,
            preference: Some(preference),
            // The mean has only a preference; the rest is in each order.
            strength: None,
            scores: None,
            scale: first.scale,
            confidence: first.confidence,
            distribution: Some(DistributionBody::new(&distribution)),
            // In each order.
            prior: None,
            visual_delta: None,
            blind: None,
            consistent: Some(consistent),
            orders: Some(vec![Self::new(given, model), Self::new(turned, model)]),
            spread: None,
            samples: None,
            flags: flags.into_iter().map(Flag::as_str).collect(),
            justification,
            finish_reason,
            rubric: first.rubric,
            model: first.model,
            usage: usage.into(),
            receipt: None,
            replay: None,
        }
    }
}

/// The decision of several samples, and how they vary: those of `verdicts` with a verdict and `failures` without one.
fn summarised(summary: Summary, verdicts: usize, failures: usize) -> (OutcomeFields, SpreadBody) {
    let spread = SpreadBody { verdicts, failures, standard_deviation: None, agreement: None };
    match summary {
        Summary::Scores { mean, standard_deviation } => (
            OutcomeFields { score: Some(mean), ..OutcomeFields::default() },
            SpreadBody { standard_deviation: Some(standard_deviation), ..spread },
        ),
        // It is only a preference; the rest is in each sample.
        Summary::Preferences { majority, agreement } => (
            OutcomeFields { preference: Some(majority), ..OutcomeFields::default() },
            SpreadBody { agreement: Some(agreement), ..spread },
        ),
    }
}

/// The event `decision` of a stream, sent while the reasons may still be written.
#[derive(Debug, Serialize)]
pub(super) struct DecisionBody {
    #[serde(flatten)]
    decision: OutcomeFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<DistributionBody>,
}

impl DecisionBody {
    pub(super) fn new(outcome: Outcome, distribution: Option<&Distribution>) -> Self {
        Self { decision: OutcomeFields::new(outcome), distribution: distribution.map(DistributionBody::new) }
    }
}

/// The fields of a decision in a body, of which those that apply are present.
#[derive(Debug, Default, Serialize)]
struct OutcomeFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<Preference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<Strength>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
}

impl OutcomeFields {
    fn new(outcome: Outcome) -> Self {
        let preference = outcome.preference();
        match outcome {
            Outcome::Score(score) => Self { score: Some(score), ..Self::default() },
            Outcome::Preference(_) => Self { preference, ..Self::default() },
            Outcome::Grade(grade) => Self { preference, strength: grade.strength(), ..Self::default() },
            Outcome::Scores(pair) => Self { preference, scores: Some(pair.scores()), ..Self::default() },
        }
    }
}

/// The critic's probability of every possible verdict.
#[derive(Debug, Serialize, ToSchema)]
struct DistributionBody {
    /// Every possible verdict; scores are in ascending order.
    probabilities: Vec<ProbabilityBody>,
    /// The mean of the scores weighted by their probabilities, if one response is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_score: Option<f64>,
    /// Entropy of the probabilities in nats: 0 if one verdict is certain.
    entropy: f64,
    /// The probability mass of all these verdicts together, before normalisation. The remainder to 1 is that of
    /// other texts.
    label_mass: f64,
}

/// A possible verdict and its probability.
#[derive(Debug, Serialize, ToSchema)]
struct ProbabilityBody {
    /// The score of a single response.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// `first`, `second` or `tie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    preference: Option<Preference>,
    /// How strong the preference is: `slight` or `by_far`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    strength: Option<Strength>,
    /// The scores of both responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<[f64; 2]>,
    /// Its probability; all of them sum to 1.
    probability: f64,
}

impl DistributionBody {
    fn new(distribution: &Distribution) -> Self {
        let probability = |(outcome, probability): &(Outcome, f64)| {
            let OutcomeFields { score, preference, strength, scores } = OutcomeFields::new(*outcome);
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

/// Token counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageBody {
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Those of them that were taken from the prefix cache instead of computed.
    cached_tokens: usize,
    /// Tokens of the reply.
    completion_tokens: usize,
    /// `prompt_tokens` plus `completion_tokens`.
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
    /// A single verdict.
    pub(crate) fn new(judgement: Judgement, model: &str) -> Self {
        let Judgement {
            verdict,
            rubric,
            scale,
            direction,
            distribution,
            prior,
            label_mass: _,
            flags,
            reason,
            usage,
            receipt,
        } = judgement;
        let OutcomeFields { score, preference, strength, scores } = OutcomeFields::new(verdict.outcome);
        let kind = if score.is_some() { Kind::Pointwise } else { Kind::Pairwise };
        Self {
            kind,
            score,
            preference,
            strength,
            scores,
            scale: scale.map(|scale| VerdictScaleBody::new(scale, direction)),
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
            finish_reason: reason,
            rubric,
            model: model.to_owned(),
            usage: usage.into(),
            receipt: Some(Box::new(ReceiptBody::from(&*receipt))),
            replay: None,
        }
    }
}
