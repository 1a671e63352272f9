//! Verdicts out of which is taken what the critic says whatever is answered.

use std::{
    hash::RandomState,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::try_join_all;
use lru::LruCache;
use rubric::{Case, Distribution, Kind, Outcome, Reading, Responses, RubricError};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::{
    Calibration, Degenerate, Guards, Judge, JudgeError, JudgeOptions, Judgement, Mode, Remembering,
    RubricChoice, Usage,
    receipt::{Sha, verdict_digest},
    reply::Reader,
};

/// Answers without content, as in contextual calibration (arXiv 2102.09690), whose empty one is a space here.
const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", " "];

/// The most bytes that priors take: those of some three thousand questions on a scale of ten.
const MOST_BYTES: usize = 1 << 20;

/// What an entry takes beside its probabilities, about.
const ENTRY_BYTES: usize = 128;

/// A prior, found once by whoever asks first: the comparisons of one reward all want the same.
type PriorCell = Arc<OnceCell<Distribution>>;

/// What the critic says of answers without content, by question and rubric, of those asked about latest. Nobody finds what
/// another tenant asked about, since the time of an answer would tell.
pub(crate) struct Priors {
    /// Held only to look up or to put one entry, so that nobody waits for work.
    kept: Mutex<Kept>,
}

struct Kept {
    /// With the bytes of each.
    cells: LruCache<Sha, (PriorCell, usize), RandomState>,
    bytes: usize,
}

impl Default for Priors {
    fn default() -> Self {
        let cells = LruCache::unbounded_with_hasher(RandomState::new());
        Self { kept: Mutex::new(Kept { cells, bytes: 0 }) }
    }
}

impl Priors {
    /// Where a prior of so many decisions is kept.
    fn cell(&self, key: Sha, decisions: usize) -> PriorCell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cell, _)) = kept.cells.get(&key) {
            return cell.clone();
        }
        let cell = PriorCell::default();
        let bytes = ENTRY_BYTES + decisions * size_of::<(Outcome, f64)>();
        kept.bytes += bytes;
        kept.cells.put(key, (cell.clone(), bytes));
        while kept.bytes > MOST_BYTES {
            let Some((_, (_, freed))) = kept.cells.pop_lru() else { break };
            kept.bytes -= freed;
        }
        cell
    }
}

/// Refuses what cannot be calibrated: reasons were written for the verdict as it was, and a reward head has no labels.
pub(crate) fn check(options: &JudgeOptions, reader: &Reader) -> Result<(), RubricError> {
    let refuse = |reason| Err(RubricError::Unsupported { key: "calibration", reason });
    let reads = options.mode == Mode::Score && options.drawing.temperature <= 0.0;
    match (options.guards.calibration, reader) {
        (Calibration::None, _) => Ok(()),
        (Calibration::ContentFree, _) if !reads => refuse(
            "only a verdict that is read from the logits alone (mode score) and not drawn is calibrated",
        ),
        (Calibration::ContentFree, Reader::Reward) => {
            refuse("a reward head reads one number, which no prior is known of")
        }
        (Calibration::ContentFree, Reader::Choice(_) | Reader::Text(_)) => Ok(()),
    }
}

impl Judge {
    /// Judges `case`, and calibrates the verdict where the options want it.
    ///
    /// # Errors
    /// [`JudgeError`] when the case cannot be judged or its verdict not be calibrated.
    pub async fn verdict(
        &self,
        case: Case,
        choice: RubricChoice,
        options: JudgeOptions,
    ) -> Result<Judgement, JudgeError> {
        let judge = self.pinned();
        let verdict = judge.judge(case.clone(), choice.clone(), options.clone()).await?;
        judge.calibrate(verdict.collect().await?, (case, choice, options)).await
    }

    /// What becomes of a verdict when it is calibrated, where the options with which it was asked for want that. A pinned handle
    /// does so by the rules by which it judged.
    ///
    /// # Errors
    /// [`JudgeError`] when answers without content cannot be judged.
    pub async fn calibrate(
        &self,
        judgement: Judgement,
        (case, choice, options): (Case, RubricChoice, JudgeOptions),
    ) -> Result<Judgement, JudgeError> {
        let Some(read) = judgement.distribution.clone() else { return Ok(judgement) };
        // What is certain without the critic is not the critic's liking.
        let certain = read.probabilities.iter().any(|(_, probability)| *probability >= 1.0);
        if options.guards.calibration == Calibration::None || certain {
            return Ok(judgement);
        }
        let judge = self.pinned();
        let rubric = judge.rules().rubric(case.kind(), choice.clone())?;
        let (prior, usage) = judge.prior((case, choice, options), read.probabilities.len()).await?;
        let distribution = read.calibrated(&prior);
        let expected = match rubric.reading {
            Reading::Written => None,
            Reading::Expected => distribution.expected_score().map(Outcome::Score),
        };
        let mut judgement = judgement;
        judgement.usage = judgement.usage + usage;
        if let Some(outcome) = expected.or_else(|| distribution.leading()) {
            judgement.verdict.outcome = outcome;
        }
        judgement.distribution = Some(distribution);
        judgement.prior = Some(prior);
        judgement.receipt.verdict_digest = verdict_digest(&judgement);
        Ok(judgement)
    }

    /// The mean of what the critic says of answers without content to this question, and what it took to know that. Its handle is
    /// pinned.
    async fn prior(
        &self,
        (case, choice, options): (Case, RubricChoice, JudgeOptions),
        decisions: usize,
    ) -> Result<(Distribution, Usage), JudgeError> {
        let options = JudgeOptions {
            guards: Guards {
                degenerate: Degenerate::Judged,
                calibration: Calibration::None,
                ..options.guards
            },
            remembering: Remembering::Off,
            ..options
        };
        let empty = |text: &str| {
            let responses = match case.kind() {
                Kind::Pointwise => Responses::One(text.to_owned()),
                Kind::Pairwise => Responses::Pair(text.to_owned(), text.to_owned()),
            };
            Case { responses, ..case.clone() }
        };
        let receipt = self.prepare(&empty(CONTENT_FREE[0]), choice.clone(), options.clone())?.receipt;
        let key = Sha256::new()
            .chain_update(options.caller.scope())
            .chain_update(receipt.rubric_digest)
            .chain_update(receipt.prompt_digest);
        let cell = self.priors().cell(key.finalize().into(), decisions);
        let mut usage = Usage::default();
        let ask = async {
            let asked = CONTENT_FREE.map(|text| {
                let (choice, options) = (choice.clone(), options.clone());
                let case = empty(text);
                async move { self.judge(case, choice, options).await?.collect().await }
            });
            let judgements = try_join_all(asked).await?;
            usage = judgements.iter().fold(usage, |sum, judgement| sum + judgement.usage);
            let read: Vec<Distribution> =
                judgements.into_iter().filter_map(|judgement| judgement.distribution).collect();
            Distribution::mean(&read).ok_or(JudgeError::Silent)
        };
        let prior = cell.get_or_try_init(|| ask).await?.clone();
        Ok((prior, usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priors_stay_below_their_bytes_and_the_latest_stay() {
        let priors = Priors::default();
        let key = |number: u32| Sha256::digest(number.to_le_bytes()).into();
        for number in 0..10_000 {
            priors.cell(key(number), 10);
        }
        let latest = priors.cell(key(9_999), 10);
        assert!(Arc::ptr_eq(&latest, &priors.cell(key(9_999), 10)));
        let kept = priors.kept.lock().unwrap();
        assert!(kept.bytes <= MOST_BYTES && kept.cells.len() > 1000 && kept.cells.len() < 10_000);
        assert!(!kept.cells.contains(&key(0)));
    }
}
