//! Rewards for several responses to one question: the second use of a critic.
//!
//! Responses are compared in pairs, each pair in both orders, so that a preference for a position cancels out; or
//! they are scored one by one. By default, verdicts are read from logits without writing any text (except for
//! reward heads). The common beginning of the prompts is computed once.

mod matrix;
mod options;
mod ranking;
mod strengths;
mod tournament;

use std::collections::BTreeSet;

use critic::EncodeError;
use engine::{EngineError, Failure};
use futures::{StreamExt, stream};
use rubric::{AnswerForm, Case, Distribution, Flag, Kind, Outcome, Preference, Responses, RubricError};

use crate::{Judge, JudgeError, JudgeOptions, JudgeRequest, Judgement, Usage, concurrency, reply::Mode};
use matrix::Comparison;
use ranking::{pick, ranked};

pub use matrix::{Matrix, PositionBias};
pub use options::{Candidates, Method, Reasons, RewardOptions, Signal};
pub use ranking::Pick;

/// Maximum number of concurrent comparisons of one call: enough to fill any step, and far below the limit of the
/// queue.
const MAX_CONCURRENT: usize = 64;

/// A failed verdict: on the response `first` alone, or on the pair of `first` and `second` in this order.
#[derive(Debug)]
pub struct FailedVerdict {
    /// Index of the response in first place.
    pub first: usize,
    /// Index of the response in second place; `None` if the response was judged alone.
    pub second: Option<usize>,
    /// The error.
    pub error: JudgeError,
}

/// The rewards of several responses.
#[derive(Debug)]
pub struct Reward {
    /// The reward of each response; `None` where too many of its verdicts failed. A pair is ignored when one of its
    /// orders failed, and sums of wins minus losses are scaled to all pairs.
    pub rewards: Vec<Option<f64>>,
    /// Indices of the responses with a reward, best first; equal ones in their original order.
    pub ranking: Vec<usize>,
    /// The best and the worst response; `None` if all are equally good.
    pub pick: Option<Pick>,
    /// The comparisons; `None` if responses were judged one by one.
    pub matrix: Option<Matrix>,
    /// The position bias in these comparisons.
    pub position_bias: Option<PositionBias>,
    /// The number of verdicts that were ties.
    pub ties: usize,
    /// The failed verdicts.
    pub failures: Vec<FailedVerdict>,
    /// Flags of the responses and the verdicts.
    pub flags: Vec<Flag>,
    /// The verdicts, in no particular order.
    pub judgements: Vec<Judgement>,
    /// Name of the rubric.
    pub rubric: String,
    /// The number of tokens read and written for all verdicts.
    pub usage: Usage,
}

/// The inputs of the verdicts of one reward.
struct Asking<'a> {
    /// Pinned, so that all verdicts use the same rules.
    judge: Judge,
    candidates: &'a Candidates,
    options: &'a RewardOptions,
    /// The greatest possible advantage of one response over another.
    greatest: f64,
}

/// The verdicts collected so far.
#[derive(Default)]
struct Tally {
    ties: usize,
    failures: Vec<FailedVerdict>,
    judgements: Vec<Judgement>,
    rubric: String,
    usage: Usage,
}

impl Judge {
    /// Judges the responses and computes rewards from the verdicts. Failures of single verdicts are part of the
    /// reward.
    ///
    /// # Errors
    /// [`JudgeError::TooFewResponses`] when there are fewer than two responses to compare, or none to score;
    /// otherwise [`JudgeError`] when the rubric or the signal does not fit, all verdicts failed, or one failed for
    /// a reason that concerns all.
    pub async fn reward(
        &self,
        candidates: &Candidates,
        options: &RewardOptions,
    ) -> Result<Reward, JudgeError> {
        let count = candidates.responses.len();
        let least = match options.method.kind() {
            Kind::Pointwise => 1,
            Kind::Pairwise => 2,
        };
        if count < least {
            return Err(JudgeError::TooFewResponses { count, least });
        }
        let judge = self.pinned();
        let rated = judge.for_reward_head(options)?;
        let options = rated.as_ref().unwrap_or(options);
        judge.check(options.method.kind(), options.rubric.clone(), options.format.as_deref())?;
        let greatest = judge.greatest_advantage(options)?;
        // It is part of every prompt: up to 4032 of them would be rendered to learn that.
        judge.check_length(&candidates.case.question, &options.caller).await?;
        let asking = Asking { judge, candidates, options, greatest };
        let mut tally = Tally::default();
        let (rewards, matrix) = match options.method {
            Method::Pointwise | Method::Scalar => (asking.scores(&mut tally).await, None),
            Method::RoundRobin | Method::BradleyTerry => {
                let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b);
                let mut matrix = asking.matrix();
                asking.compare(pairs.collect(), &mut matrix, &mut tally).await;
                let strengths = options.method == Method::BradleyTerry;
                (if strengths { matrix.bradley_terry() } else { matrix.rewards() }, Some(matrix))
            }
            Method::Tournament => {
                let (rounds, matrix) = asking.tournament(&mut tally).await;
                (rounds, Some(matrix))
            }
        };
        let nothing = rewards.iter().all(Option::is_none);
        match tally.failures.iter().position(|failure| nothing || concerns_all(&failure.error)) {
            Some(index) => Err(tally.failures.swap_remove(index).error),
            None => Ok(Reward::new(rewards, matrix, tally, &asking)),
        }
    }

    /// The greatest possible advantage of one response over another.
    ///
    /// # Errors
    /// [`RubricError::Unsupported`] when the signal is a difference of scores and the critic does not score both
    /// responses.
    fn greatest_advantage(&self, options: &RewardOptions) -> Result<f64, RubricError> {
        match options.signal {
            Signal::Probability | Signal::Verdict | Signal::Agreed => Ok(1.0),
            Signal::Scores => {
                let rules = self.rules();
                let rubric = rules.rubric(options.method.kind(), options.rubric.clone())?;
                let format = rules.profile().format(&rubric, options.format.as_deref())?;
                let two = format.answer(&rubric) == AnswerForm::TwoScoresLine;
                let scale = rubric.scale.filter(|_| two).ok_or(RubricError::Unsupported {
                    key: "signal",
                    reason: "the signal of scores needs a rubric, and a critic, by which both of a pair get a score",
                })?;
                Ok(scale.max - scale.min)
            }
        }
    }

    /// The options with the prompt format of the reward head, if the method needs it.
    fn for_reward_head(&self, options: &RewardOptions) -> Result<Option<RewardOptions>, JudgeError> {
        if options.method != Method::Scalar {
            return Ok(None);
        }
        let rules = self.rules();
        let format = rules.profile().scalar_format(options.format.as_deref());
        let format = format.filter(|_| self.build().rates).ok_or(JudgeError::NoRewardHead)?;
        let format = Some(format.name.clone());
        Ok(Some(RewardOptions { format, ..options.clone() }))
    }
}

/// Whether the error affects all verdicts of a reward: no room, an exhausted quota, no thread, a stopped engine, or a
/// damaged image. Verdicts on a response without a word, which are certain without the critic, are no reward alone.
fn concerns_all(error: &JudgeError) -> bool {
    let is_of_server = matches!(
        error,
        JudgeError::Engine(
            EngineError::Overloaded { .. } | EngineError::ShareTaken { .. } | EngineError::Stopped,
        ) | JudgeError::Exhausted(_)
            | JudgeError::NoThread
    );
    is_of_server || is_of_images(error)
}

/// Whether every further comparison of the same responses would fail as well. Unlike an error that
/// [concerns all](concerns_all) verdicts, it leaves those valid that were made before.
fn is_hopeless(error: &JudgeError) -> bool {
    match error {
        JudgeError::Failed(failure) => match failure {
            Failure::Expired
            | Failure::QueueTimedOut { .. }
            | Failure::GivenUp
            | Failure::Panicked
            // All comparisons have the same labels.
            | Failure::UnknownLabel { .. } => true,
            Failure::Backend(_) | Failure::GuideError(_) => false,
        },
        other => concerns_all(other),
    }
}

/// Whether no comparison of the same responses has a verdict: all of them show the same images, in conversations of the
/// same form.
fn is_of_images(error: &JudgeError) -> bool {
    match error {
        JudgeError::Encode(error) => match error {
            EncodeError::Image { .. }
            | EncodeError::ImageTooLarge { .. }
            | EncodeError::EmptyVideo
            | EncodeError::Conversation(_) => true,
            EncodeError::Busy | EncodeError::Tokenizer(_) => false,
        },
        _ => false,
    }
}

impl Asking<'_> {
    /// An empty matrix for these candidates.
    fn matrix(&self) -> Matrix {
        Matrix::new(self.candidates.responses.len(), self.options.signal, self.greatest)
    }

    /// Scores each response alone.
    async fn scores(&self, tally: &mut Tally) -> Vec<Option<f64>> {
        let mut asked = stream::iter(self.candidates.responses.clone())
            .map(|response| self.verdict(Responses::One(response)))
            .buffered(self.concurrency(1));
        let score = |judgement: &Judgement| {
            match (self.options.signal, &judgement.distribution, judgement.verdict.outcome) {
                (Signal::Probability, Some(distribution), _) => distribution.expected_score(),
                (_, _, Outcome::Score(score)) => Some(score),
                (_, _, Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_)) => None,
            }
            .map(|score| judgement.direction.goodness(score))
        };
        let mut scores = Vec::with_capacity(self.candidates.responses.len());
        while let Some(verdict) = asked.next().await {
            let is_last = verdict.as_ref().is_err_and(is_of_images);
            scores.push(tally.take(scores.len(), None, verdict).and_then(score));
            if is_last {
                break;
            }
        }
        scores
    }

    /// The number of concurrent judgements of this many responses each.
    fn concurrency(&self, responses: usize) -> usize {
        let longest = self.candidates.responses.iter().map(String::len).max().unwrap_or_default();
        concurrency(MAX_CONCURRENT, self.candidates.case.text_bytes() + responses * longest)
    }

    /// Compares `pairs` and records the results.
    async fn compare(&self, pairs: Vec<(usize, usize)>, matrix: &mut Matrix, tally: &mut Tally) {
        let responses = &self.candidates.responses;
        let ask = |(first, second): (usize, usize)| {
            let pair = Responses::Pair(responses[first].clone(), responses[second].clone());
            async move { ((first, second), self.verdict(pair).await) }
        };
        let mut verdicts = stream::iter(pairs).map(ask).buffered(self.concurrency(2));
        while let Some(((first, second), verdict)) = verdicts.next().await {
            let is_last = verdict.as_ref().is_err_and(is_of_images);
            if let Some(judgement) = tally.take(first, Some(second), verdict) {
                let advantage = advantage(judgement, self.options.signal, self.greatest);
                let preference = judgement.verdict.outcome.preference().unwrap_or(Preference::Tie);
                matrix.set(first, second, Comparison { advantage, preference });
            }
            if is_last {
                // A damaged image is decoded again for each comparison.
                break;
            }
        }
    }

    async fn verdict(&self, responses: Responses) -> Result<Judgement, JudgeError> {
        let Self { judge, candidates, options, .. } = self;
        let usual = JudgeOptions::default().max_tokens;
        let (mode, max_tokens) = match options.reasons {
            Reasons::Trained if options.method == Method::Scalar => (Mode::ExplainThenScore, usual),
            Reasons::Trained | Reasons::None => (Mode::Score, usual),
            Reasons::Written(most) => (Mode::ExplainThenScore, most),
        };
        let judging = JudgeOptions {
            mode,
            max_tokens,
            format: options.format.clone(),
            tiling: options.tiling,
            guards: options.guards,
            caller: options.caller.clone(),
            ..JudgeOptions::default()
        };
        let case = Case { responses, ..candidates.case.clone() };
        judge.verdict(JudgeRequest { case, choice: options.rubric.clone(), options: judging }).await
    }
}

/// The advantage of the second response over the first.
fn advantage(judgement: &Judgement, signal: Signal, greatest: f64) -> f64 {
    let certain = match judgement.verdict.outcome.preference() {
        Some(Preference::First) => -1.0,
        Some(Preference::Second) => 1.0,
        Some(Preference::Tie) | None => 0.0,
    };
    match (&judgement.distribution, signal) {
        (Some(distribution), Signal::Probability) => {
            distribution.probability(Preference::Second) - distribution.probability(Preference::First)
        }
        (None, Signal::Probability) | (_, Signal::Verdict | Signal::Agreed) => certain,
        (distribution, Signal::Scores) => {
            let expected = distribution.as_ref().and_then(Distribution::expected_advantage);
            expected.unwrap_or_else(|| match judgement.verdict.outcome {
                Outcome::Scores(pair) => pair.advantage(),
                // If one response of the pair is degenerate, the winner is certain and there are no scores.
                Outcome::Score(_) | Outcome::Preference(_) | Outcome::Grade(_) => certain * greatest,
            })
        }
    }
}

impl Tally {
    fn take(
        &mut self,
        first: usize,
        second: Option<usize>,
        verdict: Result<Judgement, JudgeError>,
    ) -> Option<&Judgement> {
        match verdict {
            Ok(judgement) => {
                self.ties += usize::from(judgement.verdict.outcome.preference() == Some(Preference::Tie));
                self.usage = self.usage + judgement.usage;
                self.rubric.clone_from(&judgement.rubric);
                self.judgements.push(judgement);
                self.judgements.last()
            }
            Err(error) => {
                self.failures.push(FailedVerdict { first, second, error });
                None
            }
        }
    }
}

impl Reward {
    fn new(
        rewards: Vec<Option<f64>>,
        matrix: Option<Matrix>,
        tally: Tally,
        Asking { candidates, options, .. }: &Asking<'_>,
    ) -> Self {
        let Tally { ties, failures, judgements, rubric, usage } = tally;
        let ranked: Vec<(usize, f64)> = ranked(&rewards);
        let pick = pick(&ranked, |worse, better| {
            // In a tournament, a response also goes out because it comes later than one that is as good.
            let lost = || matrix.as_ref().is_none_or(|matrix| matrix.lost(worse, better));
            candidates.responses[worse] != candidates.responses[better]
                && (options.method != Method::Tournament || lost())
        });
        let position_bias = matrix.as_ref().and_then(Matrix::position_bias);
        let ranking = ranked.into_iter().map(|(index, _)| index).collect();
        let flips = position_bias.is_some_and(|bias| bias.flips > 0.0);
        let told = judgements.iter().flat_map(|judgement| &judgement.flags).copied();
        let flags: BTreeSet<Flag> = told.chain(flips.then_some(Flag::OrderInconsistent)).collect();
        let flags = flags.into_iter().collect();
        Self {
            rewards,
            ranking,
            pick,
            matrix,
            position_bias,
            ties,
            failures,
            flags,
            judgements,
            rubric,
            usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[test]
    fn what_fails_for_one_comparison_is_told_from_what_fails_for_all() {
        let most = Duration::from_secs(1);
        let fault = critic::ImageFault::Damaged;
        let image = EncodeError::Image { index: 0, fault, reason: String::new() };
        let hopeless: [JudgeError; 8] = [
            Failure::Expired.into(),
            Failure::QueueTimedOut { most, retry_after_s: 1 }.into(),
            Failure::GivenUp.into(),
            Failure::Panicked.into(),
            image.into(),
            EncodeError::EmptyVideo.into(),
            EngineError::Stopped.into(),
            JudgeError::NoThread,
        ];
        assert!(hopeless.iter().all(is_hopeless));
        let single: [JudgeError; 5] = [
            Failure::Backend(Arc::new(critic::BackendError::NonFinite)).into(),
            EncodeError::Busy.into(),
            EngineError::too_long(2, 1).into(),
            EngineError::Quarantined { left_s: 1 }.into(),
            JudgeError::Silent,
        ];
        assert!(!single.iter().any(is_hopeless));
        // Verdicts that were made before a deadline are valid.
        assert!(!concerns_all(&hopeless[0]) && concerns_all(&hopeless[6]));
    }
}
