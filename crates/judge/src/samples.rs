//! Several sampled verdicts on one case, generated from one shared prompt, and their spread.

use futures::future::join_all;
use rubric::{Outcome, Preference};

use crate::{Judge, JudgeError, JudgeRequest, Judgement, Sampling, Usage, options::consecutive_seeds};

/// Several verdicts on one case.
#[derive(Debug)]
pub struct Samples {
    /// The verdicts or errors, in the order of their seeds.
    pub verdicts: Vec<Result<Judgement, JudgeError>>,
    /// The summary of all verdicts.
    pub summary: Summary,
    /// Index of a verdict equal or nearest to the summary.
    pub typical: usize,
    /// The number of tokens of all verdicts together.
    pub usage: Usage,
}

/// A summary of several verdicts. Samples without a verdict are ignored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Summary {
    /// For one response: the mean score and the sample standard deviation (divided by n - 1; 0 for a single score).
    Scores {
        /// The mean score.
        mean: f64,
        /// The sample standard deviation.
        standard_deviation: f64,
    },
    /// For two responses: the most frequent preference, or a tie if several are equally frequent.
    Preferences {
        /// The most frequent preference.
        majority: Preference,
        /// The fraction of verdicts with this preference.
        agreement: f64,
    },
}

impl Judge {
    /// Samples `count` verdicts with consecutive seeds.
    ///
    /// # Errors
    /// [`JudgeError`] when the case cannot be judged, the engine rejects the samples, or no sample has a verdict.
    pub async fn judge_samples(&self, request: &JudgeRequest, count: usize) -> Result<Samples, JudgeError> {
        let prepared = self.prepare(request)?;
        let _preparing = self.prepare_for(prepared.caller()).await?;
        let encoded = self.encode(prepared.prompt.clone(), prepared.caller()).await?;
        let start = prepared.sampling.seed.unwrap_or_default();
        let mut streams = Vec::with_capacity(count);
        for seed in consecutive_seeds(start, count) {
            let sampling = Sampling { seed: Some(seed), ..prepared.sampling };
            streams.push(self.begin(prepared.with_sampling(sampling), encoded.clone()).await?);
        }
        Samples::new(join_all(streams.into_iter().map(|stream| stream.collect())).await)
    }
}

impl Samples {
    fn new(mut verdicts: Vec<Result<Judgement, JudgeError>>) -> Result<Self, JudgeError> {
        let outcomes = || {
            let told = verdicts.iter().enumerate();
            told.filter_map(|(index, verdict)| Some((index, verdict.as_ref().ok()?.verdict.outcome)))
        };
        let Some(summary) = Summary::new(&outcomes().map(|(_, outcome)| outcome).collect::<Vec<_>>()) else {
            return Err(verdicts.drain(..).find_map(Result::err).unwrap_or(JudgeError::Silent));
        };
        let nearest =
            outcomes().min_by(|(_, a), (_, b)| summary.distance(*a).total_cmp(&summary.distance(*b)));
        let typical = nearest.map_or(0, |(index, _)| index);
        let usage = verdicts.iter().flatten().fold(Usage::default(), |sum, verdict| sum + verdict.usage);
        Ok(Self { verdicts, summary, typical, usage })
    }
}

impl Summary {
    /// The summary of these outcomes; `None` if there are none.
    fn new(outcomes: &[Outcome]) -> Option<Self> {
        let count = outcomes.len() as f64;
        let scores: Vec<f64> = outcomes.iter().filter_map(|outcome| score(*outcome)).collect();
        if !scores.is_empty() {
            let mean = scores.iter().sum::<f64>() / count;
            let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
            let standard_deviation = (squares / (count - 1.0).max(1.0)).sqrt();
            return Some(Self::Scores { mean, standard_deviation });
        }
        let says =
            |side: Preference| outcomes.iter().filter(|outcome| outcome.preference() == Some(side)).count();
        let counts = [Preference::First, Preference::Second, Preference::Tie].map(|side| (side, says(side)));
        let (side, most) =
            counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, most)| *most > 0)?;
        let alone = counts.iter().filter(|(_, count)| *count == most).count() == 1;
        let majority = if alone { side } else { Preference::Tie };
        Some(Self::Preferences { majority, agreement: says(majority) as f64 / count })
    }

    /// The distance of an outcome from the summary.
    fn distance(self, outcome: Outcome) -> f64 {
        match self {
            Self::Scores { mean, .. } => score(outcome).map_or(f64::INFINITY, |score| (score - mean).abs()),
            Self::Preferences { majority, .. } => f64::from(u8::from(outcome.preference() != Some(majority))),
        }
    }
}

fn score(outcome: Outcome) -> Option<f64> {
    match outcome {
        Outcome::Score(score) => Some(score),
        Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_a_mean_and_a_deviation() {
        let scores = [2.0, 4.0, 9.0].map(Outcome::Score);
        let Some(Summary::Scores { mean, standard_deviation }) = Summary::new(&scores) else {
            panic!("scores have a mean")
        };
        assert!((mean - 5.0).abs() < 1e-12 && (standard_deviation - 13f64.sqrt()).abs() < 1e-12);
        let one = Summary::new(&[Outcome::Score(3.0)]);
        assert_eq!(one, Some(Summary::Scores { mean: 3.0, standard_deviation: 0.0 }));
    }

    #[test]
    fn preferences_have_a_majority_or_are_a_tie() {
        let [first, second, tie] =
            [Preference::First, Preference::Second, Preference::Tie].map(Outcome::Preference);
        let told = |outcomes: &[Outcome]| Summary::new(outcomes);
        let said = |majority, agreement| Some(Summary::Preferences { majority, agreement });
        assert_eq!(told(&[first, second, second, tie]), said(Preference::Second, 0.5));
        assert_eq!(told(&[first, second]), said(Preference::Tie, 0.0));
        assert_eq!(told(&[first, first, tie, tie]), said(Preference::Tie, 0.5));
        assert_eq!(told(&[]), None);
    }
}
