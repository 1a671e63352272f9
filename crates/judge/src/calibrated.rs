//! Calibrated verdicts, from which the critic's content-independent bias is removed.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use rubric::{Distribution, Outcome, Reading, RubricError};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::{
    Calibration, Degenerate, Judge, JudgeError, JudgeOptions, JudgeRequest, Judgement, Mode, Remembering,
    Usage, byte_cache::ByteCache, receipt::Sha, reply::Reader,
};

/// Content-free responses, as in contextual calibration (arXiv 2102.09690), with a space instead of the empty one.
const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", " "];

/// Upper bound on the memory for priors, in bytes: enough for about 2300 questions on a scale of ten scores.
const MOST_BYTES: usize = 1 << 20;

/// Approximate size of an entry in bytes, without its probabilities.
const ENTRY_BYTES: usize = 128;

/// A prior, computed once by the first request that needs it: all comparisons of one reward use the same one.
type PriorCell = Arc<OnceCell<Distribution>>;

/// The critic's verdicts on content-free responses for the latest questions, by tenant, question and rubric.
/// Tenants do not share entries, since the response time would reveal what another one asked.
pub(crate) struct Priors {
    /// Held only to look up or insert an entry, so that no request waits for a computation.
    kept: Mutex<ByteCache<Sha, PriorCell>>,
}

impl Default for Priors {
    fn default() -> Self {
        Self { kept: Mutex::new(ByteCache::new(MOST_BYTES)) }
    }
}

impl Priors {
    /// The cell of the prior for `key`, which has `decisions` decisions.
    fn cell(&self, key: Sha, decisions: usize) -> PriorCell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = kept.get(&key) {
            return cell;
        }
        let cell = PriorCell::default();
        let bytes = ENTRY_BYTES + decisions * size_of::<(Outcome, f64)>();
        kept.put(key, cell.clone(), bytes);
        cell
    }
}

/// Rejects verdicts that cannot be calibrated: a justification was written for the uncalibrated verdict, and a
/// reward head has no labels.
pub(crate) fn check(options: &JudgeOptions, reader: &Reader) -> Result<(), RubricError> {
    let refuse = |reason| Err(RubricError::Unsupported { key: "calibration", reason });
    let reads = options.mode == Mode::Score && options.sampling.temperature <= 0.0;
    match (options.guards.calibration, reader) {
        (Calibration::None, _) => Ok(()),
        (Calibration::ContentFree, _) if !reads => refuse(
            "only a verdict that is read from the logits alone (mode score) and not drawn is calibrated",
        ),
        (Calibration::ContentFree, Reader::Reward) => {
            refuse("a reward head reads one number, which no prior is known of")
        }
        (Calibration::ContentFree, Reader::Choice(_) | Reader::Scores(_) | Reader::Text(_)) => Ok(()),
    }
}

impl Judge {
    /// Judges `case`, and calibrates the verdict if the options request it.
    ///
    /// # Errors
    /// [`JudgeError`] when the case cannot be judged or its verdict cannot be calibrated.
    pub async fn verdict(&self, request: JudgeRequest) -> Result<Judgement, JudgeError> {
        let judge = self.pinned();
        let verdict = judge.judge(&request).await?;
        judge.calibrate(verdict.collect().await?, &request).await
    }

    /// Calibrates the `judgement` of `request` if its options want it, and records that in the receipt. A pinned
    /// handle uses the rules by which it judged.
    ///
    /// # Errors
    /// [`JudgeError`] when the content-free responses cannot be judged.
    pub async fn calibrate(
        &self,
        mut judgement: Judgement,
        request: &JudgeRequest,
    ) -> Result<Judgement, JudgeError> {
        let calibration = request.options.guards.calibration;
        judgement.receipt.calibrate(calibration, &judgement.verdict, judgement.reason);
        let Some(read) = judgement.distribution.clone() else { return Ok(judgement) };
        // A verdict that was decided without the critic has no bias to remove.
        let certain = read.probabilities.iter().any(|(_, probability)| *probability >= 1.0);
        if calibration == Calibration::None || certain {
            return Ok(judgement);
        }
        let judge = self.pinned();
        let rubric = judge.rules().rubric(request.case.kind(), request.choice.clone())?;
        let (prior, usage) = judge.prior(request, read.probabilities.len()).await?;
        let distribution = read.calibrated(&prior);
        let expected = match rubric.reading {
            Reading::Written => None,
            Reading::Expected => distribution.expected_score().map(Outcome::Score),
        };
        judgement.usage = judgement.usage + usage;
        if let Some(outcome) = expected.or_else(|| distribution.leading()) {
            judgement.verdict.outcome = outcome;
        }
        judgement.distribution = Some(distribution);
        judgement.prior = Some(prior);
        judgement.receipt.calibrate(calibration, &judgement.verdict, judgement.reason);
        Ok(judgement)
    }

    /// The mean distribution over the content-free responses to this question, and the tokens spent on it. The
    /// handle must be pinned.
    async fn prior(
        &self,
        request: &JudgeRequest,
        decisions: usize,
    ) -> Result<(Distribution, Usage), JudgeError> {
        let empty = |text: &str| {
            let mut empty = request.with_responses(request.case.responses.map(|_| text.to_owned()));
            empty.options.guards.degenerate = Degenerate::Judged;
            empty.options.guards.calibration = Calibration::None;
            empty.options.remembering = Remembering::Off;
            empty
        };
        let conditions = self.prepare(&empty(CONTENT_FREE[0]))?.conditions;
        let key = Sha256::new()
            .chain_update(request.options.caller.scope())
            .chain_update(conditions.rubric_digest)
            .chain_update(conditions.prompt_digest);
        let cell = self.priors().cell(key.finalize().into(), decisions);
        let mut usage = Usage::default();
        let ask = async {
            let asked = CONTENT_FREE.map(|text| {
                let request = empty(text);
                async move { self.judge(&request).await?.collect().await }
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
        let (cells, bytes) = kept.size();
        assert!(bytes <= MOST_BYTES && cells > 1000 && cells < 10_000);
        assert!(!kept.contains(&key(0)));
    }
}
