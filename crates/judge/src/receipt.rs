//! A record of everything on which a verdict depended, so that it can be reproduced.

use std::hash::Hash;

use critic::{GenerationDefaults, Sha256Hasher};
use rubric::{AnswerForm, Outcome, Strength, Verdict};
use sha2::{Digest, Sha256};

use crate::{Calibration, FinishReason, Mode};

/// A SHA-256 digest.
pub type Sha = [u8; 32];

/// The inputs of a verdict, which are known before it. The same request under the same conditions gives the same
/// judgement; where verdicts differ, a difference between their conditions shows why.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Name of the checkpoint.
    pub model: String,
    /// Digest of the weights, once it is known: it is computed while the first requests are served.
    pub weights: Option<Sha>,
    /// The number type of the computation.
    pub precision: &'static str,
    /// The storage form of the weights.
    pub form: &'static str,
    /// The number of ranks over which the critic is split.
    pub ranks: usize,
    /// Whether results are bit-identical whatever else runs at the same time.
    pub exact: bool,
    /// Name of the critic's profile.
    pub profile: String,
    /// Name of the prompt format.
    pub format: String,
    /// The form of the answer, which follows from the format and the rubric.
    pub answer: AnswerForm,
    /// Name of the rubric.
    pub rubric: String,
    /// Version of the rubric; 0 for criteria that are part of the request.
    pub rubric_version: u32,
    /// Digest of the rubric's content.
    pub rubric_digest: Sha,
    /// Digest of the rendered prompt, images included.
    pub prompt_digest: Sha,
    /// The order of verdict and justification.
    pub mode: Mode,
    /// Whether all probabilities were requested.
    pub distribution: bool,
    /// Maximum number of tokens of the justification.
    pub max_tokens: usize,
    /// Sampling temperature; 0 when nothing is sampled.
    pub temperature: f32,
    /// The share of probability from which is sampled.
    pub top_p: f32,
    /// Seed of the random numbers, if anything is sampled.
    pub seed: Option<u64>,
    /// The checkpoint's generation defaults: its end tokens, and the penalty on tokens already generated.
    pub generation: GenerationDefaults,
}

impl Conditions {
    /// A digest of everything that may differ between two requests to one judge and changes the verdict, except the
    /// script of the reply.
    pub(crate) fn digest(&self) -> Sha {
        // Every field by name, so that this does not compile until it is decided whether a new one belongs here.
        let Self {
            // The same for all requests to a judge.
            model: _,
            weights: _,
            precision: _,
            form: _,
            ranks: _,
            exact: _,
            generation: _,
            // Known by what follows from them: the prompt, the form of the answer and the script.
            profile: _,
            format: _,
            distribution: _,
            answer,
            rubric,
            rubric_version,
            rubric_digest,
            prompt_digest,
            mode,
            max_tokens,
            temperature,
            top_p,
            seed,
        } = self;
        let mut digest = Sha256Hasher::default();
        (answer, rubric, rubric_version, rubric_digest, prompt_digest).hash(&mut digest);
        (mode, max_tokens, temperature.to_bits(), top_p.to_bits(), seed).hash(&mut digest);
        digest.digest()
    }
}

/// The record of a verdict: its conditions, and what is known of it only afterwards. There is none before the verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    conditions: Conditions,
    calibration: Calibration,
    cached_tokens: usize,
    is_remembered: bool,
    verdict_digest: Sha,
}

impl Receipt {
    /// The receipt of a verdict as the critic gave it; its text ended for `reason`, and `cached_tokens` tokens of its
    /// prompt were in the prefix cache.
    pub(crate) fn new(
        conditions: Conditions,
        verdict: &Verdict,
        reason: FinishReason,
        cached_tokens: usize,
    ) -> Self {
        let verdict_digest = verdict_digest(verdict, reason);
        Self {
            conditions,
            calibration: Calibration::None,
            cached_tokens,
            is_remembered: false,
            verdict_digest,
        }
    }

    /// The receipt of the same verdict from the cache, for a request under these conditions whose prompt has
    /// `prompt_tokens` tokens.
    pub(crate) fn remembered(&self, conditions: Conditions, prompt_tokens: usize) -> Self {
        Self { conditions, cached_tokens: prompt_tokens, is_remembered: true, ..self.clone() }
    }

    /// Records the calibration of the verdict, which is now `verdict`.
    pub(crate) fn calibrate(&mut self, calibration: Calibration, verdict: &Verdict, reason: FinishReason) {
        self.calibration = calibration;
        self.verdict_digest = verdict_digest(verdict, reason);
    }

    /// The inputs on which the verdict depends.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The correction of the verdict for content-independent bias; `None` before
    /// [`Judge::calibrate`](crate::Judge::calibrate).
    pub fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Prompt tokens taken from the prefix cache.
    pub fn cached_tokens(&self) -> usize {
        self.cached_tokens
    }

    /// Whether the verdict was cached, so that nothing was computed.
    pub fn is_remembered(&self) -> bool {
        self.is_remembered
    }

    /// Digest of the verdict.
    pub fn verdict_digest(&self) -> Sha {
        self.verdict_digest
    }
}

/// The digest of the decision, the finish reason and the justification, in words that do not depend on names in this
/// code: clients keep it and compare it with that of a replay.
fn verdict_digest(verdict: &Verdict, reason: FinishReason) -> Sha {
    let Verdict { outcome, confidence: _, justification } = verdict;
    let decision = match outcome {
        Outcome::Score(score) => format!("score {score}"),
        Outcome::Preference(preference) => preference.as_str().to_owned(),
        Outcome::Grade(grade) => {
            let strength = grade.strength().map_or("equal", Strength::as_str);
            format!("grade {} {strength}", grade.preference().as_str())
        }
        Outcome::Scores(pair) => {
            let [first, second] = pair.scores();
            format!("scores {first} {second}")
        }
    };
    let reason = match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    };
    Sha256::digest(format!("{decision}\n{reason}\n{justification}")).into()
}

#[cfg(test)]
impl Conditions {
    /// Conditions to start a test from.
    pub(crate) fn of_test() -> Self {
        Self {
            model: "critic".into(),
            weights: None,
            precision: "f32",
            form: "stored",
            ranks: 1,
            exact: true,
            profile: "generic".into(),
            format: "plain".into(),
            answer: AnswerForm::ScoreLine,
            rubric: "helpfulness".into(),
            rubric_version: 1,
            rubric_digest: [1; 32],
            prompt_digest: [2; 32],
            mode: Mode::Trained,
            distribution: false,
            max_tokens: 512,
            temperature: 0.0,
            top_p: 1.0,
            seed: None,
            generation: GenerationDefaults { end_tokens: Vec::new(), repetition_penalty: 1.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_of_a_request_changes_the_digest() {
        let changes: [fn(&mut Conditions); 10] = [
            |conditions| conditions.answer = AnswerForm::NumberLine,
            |conditions| conditions.rubric = "accuracy".into(),
            |conditions| conditions.rubric_version = 2,
            |conditions| conditions.rubric_digest = [3; 32],
            |conditions| conditions.prompt_digest = [3; 32],
            |conditions| conditions.mode = Mode::Score,
            |conditions| conditions.max_tokens = 511,
            |conditions| conditions.temperature = 1.0,
            |conditions| conditions.top_p = 0.5,
            |conditions| conditions.seed = Some(0),
        ];
        let mut digests = vec![Conditions::of_test().digest()];
        for change in changes {
            let mut changed = Conditions::of_test();
            change(&mut changed);
            assert!(!digests.contains(&changed.digest()), "{changed:?}");
            digests.push(changed.digest());
        }
        let later = Conditions { weights: Some([9; 32]), ..Conditions::of_test() };
        assert_eq!(later.digest(), digests[0], "a verdict is remembered when the weights are known");
    }
}
