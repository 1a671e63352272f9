//! Rewards for several responses to one question: the second use of a critic.
//!
//! Responses are compared in pairs, each pair in both orders, so that a liking for a place cancels; or scored one by one.
//! Nothing is written: verdicts are read from logits, and what the prompts share is computed once.

mod matrix;
mod tournament;

use std::{cmp::Ordering, collections::BTreeSet};

use critic::ImageTiling;
use engine::EngineError;
use futures::{StreamExt, stream};
use rubric::{AnswerForm, Case, Distribution, Flag, Kind, Outcome, Preference, Responses, RubricError};

use crate::{Caller, Guards, Judge, JudgeError, JudgeOptions, Judgement, RubricChoice, Usage, reply::Mode};

pub use matrix::{Matrix, PositionBias};

/// Comparisons of one call that run at a time: enough to fill any step, and far below the bound of the waiting line.
const AT_A_TIME: usize = 64;

/// How rewards are made of verdicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// All ordered pairs are compared; a reward is what a response wins less what it loses, as in LLaVA-Critic.
    #[default]
    RoundRobin,
    /// All ordered pairs are compared; rewards are strengths by the Bradley-Terry model.
    BradleyTerry,
    /// Winners meet winners: 2 (K - 1) comparisons instead of K (K - 1). Only the best response is found; the others are
    /// known by the round in which they lost, so that ranks are shared, and one unlucky verdict can put out a good response.
    Tournament,
    /// Each response is scored alone; a reward is its expected score, negative where lower scores are better.
    Pointwise,
    /// Each response alone; a reward is the number of the critic's reward head, which such critics are trained for.
    Scalar,
}

impl Method {
    fn kind(self) -> Kind {
        match self {
            Self::Pointwise | Self::Scalar => Kind::Pointwise,
            Self::RoundRobin | Self::BradleyTerry | Self::Tournament => Kind::Pairwise,
        }
    }
}

/// What of a verdict counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signal {
    /// How probable it is: the probability of the second less that of the first, or the expected score.
    #[default]
    Probability,
    /// What it says: 1 for the second, -1 for the first, 0 for a tie, or the score.
    Verdict,
    /// The same of comparisons, where both orders of a pair name one winner; of others nothing. Texts that move a critic mostly
    /// do so in one place only.
    Agreed,
    /// By how many points the second is scored better, of rubrics that give both of a pair a score: the expected difference
    /// where probabilities are read, else the one that is written.
    Scores,
}

/// Responses to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// What was asked, about which images, and with which answer that is known to be right; its own responses do not
    /// count.
    pub case: Case,
    /// The responses.
    pub responses: Vec<String>,
}

/// Whether the critic writes reasons before its verdict is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reasons {
    /// As the verdict's reader was trained: a reward head reads after reasons, labels are read without any.
    #[default]
    Trained,
    /// It writes nothing, so that nothing is faster.
    None,
    /// It writes this many tokens of them at most.
    Written(usize),
}

/// Choices of a reward.
#[derive(Debug, Clone, Default)]
pub struct RewardOptions {
    /// How rewards are made of verdicts.
    pub method: Method,
    /// What of a verdict counts.
    pub signal: Signal,
    /// By which rubric.
    pub rubric: RubricChoice,
    /// Name of the critic's prompt format.
    pub format: Option<String>,
    /// Whether reasons are written before a verdict is read.
    pub reasons: Reasons,
    /// How several images are cut.
    pub tiling: ImageTiling,
    /// What is done about responses that mean to deceive.
    pub guards: Guards,
    /// For whom it is judged.
    pub caller: Caller,
}

/// Two responses of which one is better, as preference learning wants them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Index of the best response.
    pub chosen: usize,
    /// Index of the worst response; of equal ones the first.
    pub rejected: usize,
    /// By how much their rewards differ.
    pub margin: f64,
}

/// A verdict that could not be had: of the response `first`, or of the pair of `first` and `second` in this order.
#[derive(Debug)]
pub struct FailedVerdict {
    /// The response in first place.
    pub first: usize,
    /// The response in second place.
    pub second: Option<usize>,
    /// Why.
    pub error: JudgeError,
}

/// Rewards of responses.
#[derive(Debug)]
pub struct Reward {
    /// The reward of each response; absent where too many of its verdicts failed. With pairs, both orders are left out when
    /// one failed.
    pub rewards: Vec<Option<f64>>,
    /// Indices of the responses that have a reward, best first; equal ones in their own order.
    pub ranking: Vec<usize>,
    /// The best and the worst, unless all are equal.
    pub pick: Option<Pick>,
    /// The comparisons, when responses were compared.
    pub matrix: Option<Matrix>,
    /// How much the places weigh in these comparisons.
    pub position_bias: Option<PositionBias>,
    /// Verdicts that were a tie.
    pub ties: usize,
    /// What could not be judged.
    pub failures: Vec<FailedVerdict>,
    /// What is odd about the responses and the verdicts.
    pub flags: Vec<Flag>,
    /// The verdicts that it was made of, in no order.
    pub judgements: Vec<Judgement>,
    /// Name of the rubric.
    pub rubric: String,
    /// Tokens read and written for all verdicts.
    pub usage: Usage,
}

/// Who is asked for the verdicts of one reward, and how.
struct Asking<'a> {
    /// Pinned, so that all verdicts are by one set of rules.
    judge: Judge,
    candidates: &'a Candidates,
    options: &'a RewardOptions,
    /// The greatest advantage that a response can have.
    greatest: f64,
}

/// Verdicts as they come in.
#[derive(Default)]
struct Tally {
    ties: usize,
    failures: Vec<FailedVerdict>,
    judgements: Vec<Judgement>,
    rubric: String,
    usage: Usage,
}

impl Judge {
    /// Judges the responses and makes rewards of the verdicts. Single verdicts that fail are told in the reward.
    ///
    /// # Errors
    /// [`JudgeError`] when nothing can be judged: fewer than two responses are compared, or the rubric does not fit.
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
        // What fails for lack of room or of an engine would fail, or go well, as a whole.
        let engine = |failure: &FailedVerdict| {
            matches!(
                failure.error,
                JudgeError::Engine(
                    EngineError::Overloaded { .. } | EngineError::ShareTaken { .. } | EngineError::Stopped,
                ) | JudgeError::Exhausted(_)
            )
        };
        let nothing = rewards.iter().all(Option::is_none);
        match tally.failures.iter().position(|failure| nothing || engine(failure)) {
            Some(index) => Err(tally.failures.swap_remove(index).error),
            None => Ok(Reward::new(rewards, matrix, tally)),
        }
    }

    /// The greatest advantage that one response can have over another.
    ///
    /// # Errors
    /// [`RubricError::Unsupported`] when it is to be a difference of scores and the critic does not give both a score.
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

    /// The options with the format that asks the reward head, when it is to be asked.
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

impl Asking<'_> {
    /// Nothing compared yet.
    fn matrix(&self) -> Matrix {
        Matrix::new(self.candidates.responses.len(), self.options.signal, self.greatest)
    }

    /// The score of each response.
    async fn scores(&self, tally: &mut Tally) -> Vec<Option<f64>> {
        let verdicts: Vec<_> = stream::iter(self.candidates.responses.clone())
            .map(|response| self.verdict(Responses::One(response)))
            .buffered(AT_A_TIME)
            .collect()
            .await;
        let scores = verdicts.into_iter().enumerate().map(|(first, verdict)| {
            let judgement = tally.take(first, None, verdict)?;
            match (self.options.signal, &judgement.distribution, judgement.verdict.outcome) {
                (Signal::Probability, Some(distribution), _) => distribution.expected_score(),
                (_, _, Outcome::Score(score)) => Some(score),
                (_, _, Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_)) => None,
            }
            .map(|score| judgement.direction.goodness(score))
        });
        scores.collect()
    }

    /// Compares `pairs` and notes what comes out.
    async fn compare(&self, pairs: Vec<(usize, usize)>, matrix: &mut Matrix, tally: &mut Tally) {
        let responses = &self.candidates.responses;
        let ask = |(first, second): (usize, usize)| {
            let pair = Responses::Pair(responses[first].clone(), responses[second].clone());
            async move { ((first, second), self.verdict(pair).await) }
        };
        let mut verdicts = stream::iter(pairs).map(ask).buffered(AT_A_TIME);
        while let Some(((first, second), verdict)) = verdicts.next().await {
            if let Some(judgement) = tally.take(first, Some(second), verdict) {
                matrix.set(first, second, advantage(&judgement, self.options.signal, self.greatest));
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
        judge.verdict(case, options.rubric.clone(), judging).await
    }
}

/// By how much the second response is better.
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
                // Of a pair of which one answers nothing it is certain who wins, and no scores are asked for.
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
    ) -> Option<Judgement> {
        match verdict {
            Ok(judgement) => {
                self.ties += usize::from(judgement.verdict.outcome.preference() == Some(Preference::Tie));
                self.usage = self.usage + judgement.usage;
                self.rubric.clone_from(&judgement.rubric);
                self.judgements.push(judgement.clone());
                Some(judgement)
            }
            Err(error) => {
                self.failures.push(FailedVerdict { first, second, error });
                None
            }
        }
    }
}

impl Reward {
    fn new(rewards: Vec<Option<f64>>, matrix: Option<Matrix>, tally: Tally) -> Self {
        let Tally { ties, failures, judgements, rubric, usage } = tally;
        let ranked: Vec<(usize, f64)> = ranked(&rewards);
        let pick = pick(&ranked);
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

/// The first of the best and the first of the worst of what is ranked, unless all are equal.
fn pick(ranked: &[(usize, f64)]) -> Option<Pick> {
    let ((chosen, best), (_, worst)) = (ranked.first()?, ranked.last()?);
    let (rejected, _) = ranked.iter().find(|(_, reward)| reward == worst)?;
    (best > worst).then(|| Pick { chosen: *chosen, rejected: *rejected, margin: best - worst })
}

/// The responses that have a reward, best first; equal ones stay in their order.
fn ranked(rewards: &[Option<f64>]) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> =
        rewards.iter().enumerate().filter_map(|(index, reward)| Some((index, (*reward)?))).collect();
    ranked.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    ranked
}

#[cfg(test)]
mod tests {
    use super::{Pick, pick, ranked};

    #[test]
    fn of_equal_responses_the_first_is_picked_at_either_end() {
        let picked = |rewards: &[f64]| pick(&ranked(&rewards.iter().copied().map(Some).collect::<Vec<_>>()));
        assert_eq!(picked(&[4.0, -2.0, -2.0]), Some(Pick { chosen: 0, rejected: 1, margin: 6.0 }));
        assert_eq!(picked(&[-2.0, 4.0, 4.0]), Some(Pick { chosen: 1, rejected: 0, margin: 6.0 }));
        assert_eq!((picked(&[1.0, 1.0]), picked(&[1.0]), picked(&[])), (None, None, None));
        let gaps = [None, Some(-1.0), Some(2.0), None, Some(-1.0)];
        assert_eq!(pick(&ranked(&gaps)), Some(Pick { chosen: 2, rejected: 1, margin: 3.0 }));
    }
}
