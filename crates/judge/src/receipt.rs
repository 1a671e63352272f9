//! A record of everything on which a verdict depended, so that it can be reproduced.

use critic::GenerationDefaults;
use rubric::{Outcome, Strength};
use sha2::{Digest, Sha256};

use crate::{Calibration, FinishReason, Judgement, Mode};

/// A SHA-256 digest.
pub type Sha = [u8; 32];

/// The inputs of a verdict. The same request with the same receipt gives the same judgement; where verdicts differ,
/// a difference between the receipts shows why.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
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
    /// The correction of the verdict for content-independent bias; `None` before
    /// [`Judge::calibrate`](crate::Judge::calibrate).
    pub calibration: Calibration,
    /// Maximum number of tokens of the justification.
    pub max_tokens: usize,
    /// Sampling temperature; 0 when nothing was sampled.
    pub temperature: f32,
    /// The share of probability from which was sampled.
    pub top_p: f32,
    /// Seed of the random numbers, if anything was sampled.
    pub seed: Option<u64>,
    /// The checkpoint's generation defaults: its end tokens, and the penalty on tokens already generated.
    pub generation: GenerationDefaults,
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: usize,
    /// Whether the verdict was cached, so that nothing was computed.
    pub remembered: bool,
    /// Digest of the verdict; all zeros before there is one.
    pub verdict_digest: Sha,
}

/// The digest of the decision, the finish reason and the justification, in words that do not depend on names in this
/// code: clients keep it and compare it with that of a replay.
pub(crate) fn verdict_digest(judgement: &Judgement) -> Sha {
    let decision = match judgement.verdict.outcome {
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
    let reason = match judgement.reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    };
    let justification = &judgement.verdict.justification;
    Sha256::digest(format!("{decision}\n{reason}\n{justification}")).into()
}
