//! What a verdict depended on, so that it can be had again.

use critic::GenerationDefaults;
use rubric::Outcome;
use sha2::{Digest, Sha256};

use crate::Judgement;

/// A SHA-256.
pub type Sha = [u8; 32];

/// What a verdict depended on. The same request with the same receipt is the same judgement; what a receipt lacks of
/// another names the reason why verdicts differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Name of the checkpoint.
    pub model: String,
    /// Digest of its weights, once it is known: they are read beside the first requests.
    pub weights: Option<Sha>,
    /// The number type that is computed in.
    pub precision: &'static str,
    /// How weights are kept.
    pub form: &'static str,
    /// How many ranks the critic is split over.
    pub ranks: usize,
    /// Whether the same numbers come to the last bit, whatever else runs.
    pub exact: bool,
    /// Name of the critic's profile.
    pub profile: String,
    /// Name of the prompt format.
    pub format: String,
    /// Name of the rubric.
    pub rubric: String,
    /// Its version; 0 for criteria of a request's own.
    pub rubric_version: u32,
    /// Digest of what the rubric says.
    pub rubric_digest: Sha,
    /// Digest of the rendered prompt, images included.
    pub prompt_digest: Sha,
    /// In which order verdict and reasons come.
    pub mode: &'static str,
    /// Whether all probabilities were read.
    pub distribution: bool,
    /// How the verdict was corrected by what the critic says whatever is answered.
    pub calibration: &'static str,
    /// Tokens of reasons at most.
    pub max_tokens: usize,
    /// 0 when nothing was drawn.
    pub temperature: f32,
    /// The share of probability that was drawn from.
    pub top_p: f32,
    /// Start of the random numbers, when something was drawn.
    pub seed: Option<u64>,
    /// What the checkpoint asks for in all generation: its end tokens, and the penalty on tokens already generated.
    pub generation: GenerationDefaults,
    /// Tokens of the prompt that were not computed again.
    pub cached_tokens: usize,
    /// Whether the verdict was remembered, so that nothing was computed.
    pub remembered: bool,
    /// Digest of the verdict; all zeros before there is one.
    pub verdict_digest: Sha,
}

/// Names a verdict and its reasons.
pub(crate) fn verdict_digest(judgement: &Judgement) -> Sha {
    let decision = match judgement.verdict.outcome {
        Outcome::Score(score) => format!("score {score}"),
        Outcome::Preference(preference) => preference.as_str().to_owned(),
        Outcome::Grade(grade) => format!("{} {:?}", grade.preference().as_str(), grade.strength()),
        Outcome::Scores(pair) => format!("scores {:?}", pair.scores()),
    };
    let reasons = &judgement.verdict.justification;
    Sha256::digest(format!("{decision}\n{:?}\n{reasons}", judgement.reason)).into()
}
