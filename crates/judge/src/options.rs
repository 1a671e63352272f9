//! The options of a judgement.

use std::hash::{BuildHasher, RandomState};

use critic::ImageTiling;
use rubric::{Case, Responses, Scale};

use crate::{Caller, reply::Mode};

/// Number of bits of a generated seed, which every client can represent exactly as a JSON number.
const SEED_BITS: u32 = 53;

/// The rubric of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RubricChoice {
    /// The critic's default for the number of responses.
    #[default]
    Default,
    /// A rubric of the library, by name.
    Named(String),
    /// Criteria that are part of the request, with a scale if one response is scored.
    Inline {
        /// The criteria in words.
        criteria: String,
        /// The scale of scores.
        scale: Option<Scale>,
    },
}

/// How tokens and verdicts are sampled. The default is greedy: the same case gets the same verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 selects the most probable one; otherwise, logits are divided by it before sampling.
    pub temperature: f32,
    /// Sample only from the smallest set whose total probability reaches this.
    pub top_p: f32,
    /// Seed of the random numbers; `None` chooses a random one for each request.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, seed: None }
    }
}

impl Sampling {
    /// The same with a seed if anything is sampled, and without one if not.
    pub(crate) fn seeded(self) -> Self {
        let random = || RandomState::new().hash_one(0) >> (u64::BITS - SEED_BITS);
        let seed = (self.temperature > 0.0).then(|| self.seed.unwrap_or_else(random));
        Self { seed, ..self }
    }

    /// Whether the same request always gets the same verdict.
    pub(crate) fn is_deterministic(self) -> bool {
        self.temperature <= 0.0 || self.seed.is_some()
    }
}

/// The seeds of `count` texts or verdicts of one request, each of which can be drawn again alone.
pub(crate) fn consecutive_seeds(first: u64, count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |index| first.wrapping_add(index))
}

/// Whether a cached verdict may be returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remembering {
    /// Return the cached verdict of an equal request.
    #[default]
    Allowed,
    /// Always ask the critic.
    Off,
}

/// How a response without an answer is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Degenerate {
    /// It gets the worst verdict without asking the critic.
    #[default]
    Worst,
    /// The critic judges it like any other.
    Judged,
}

/// How invisible characters in responses are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Invisible {
    /// The critic reads them.
    #[default]
    Kept,
    /// They are removed before the responses are judged.
    Stripped,
}

/// Whether the critic's content-independent bias is removed from its verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Calibration {
    /// It is not removed.
    #[default]
    None,
    /// Probabilities are divided by those of content-free responses, with a lower bound of 1e-6 for the latter.
    ContentFree,
}

impl Calibration {
    /// The name in requests and receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ContentFree => "content_free",
        }
    }
}

/// Measures against responses that try to manipulate the critic, and against its bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guards {
    /// How responses without an answer are treated.
    pub degenerate: Degenerate,
    /// How invisible characters are treated.
    pub invisible: Invisible,
    /// Whether the content-independent bias is removed.
    pub calibration: Calibration,
}

/// The options of one judgement.
#[derive(Debug, Clone)]
pub struct JudgeOptions {
    /// Maximum number of tokens of the justification.
    pub max_tokens: usize,
    /// Name of the critic's prompt format; `None` for the best one for the rubric.
    pub format: Option<String>,
    /// The order of verdict and justification.
    pub mode: Mode,
    /// Whether the probability of every possible verdict is read. It always is in the modes [`Mode::Score`] and
    /// [`Mode::ExplainThenScore`], except for a reward head.
    pub distribution: bool,
    /// How the verdict and the justification are sampled.
    pub sampling: Sampling,
    /// How images are split into tiles when there are several.
    pub tiling: ImageTiling,
    /// Whether a cached verdict may be returned.
    pub remembering: Remembering,
    /// Measures against manipulation and bias.
    pub guards: Guards,
    /// The client for which the case is judged. Clones of these options belong to the same request: whoever judges
    /// several cases independently gives each a [`ticket`](Caller::ticket) of its own.
    pub caller: Caller,
}

/// A case to judge: by which rubric, and how.
#[derive(Debug, Clone)]
pub struct JudgeRequest {
    /// The question, its images and the responses.
    pub case: Case,
    /// The rubric.
    pub choice: RubricChoice,
    /// The options.
    pub options: JudgeOptions,
}

impl JudgeRequest {
    /// The same request for other responses.
    pub(crate) fn with_responses(&self, responses: Responses) -> Self {
        let Self { case, choice, options } = self;
        let case = Case { responses, ..case.clone() };
        Self { case, choice: choice.clone(), options: options.clone() }
    }
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            format: None,
            mode: Mode::default(),
            distribution: false,
            sampling: Sampling::default(),
            tiling: ImageTiling::default(),
            remembering: Remembering::default(),
            guards: Guards::default(),
            caller: Caller::default(),
        }
    }
}
