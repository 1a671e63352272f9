//! What a request can choose of how it is judged.

use std::hash::{BuildHasher, RandomState};

use critic::ImageTiling;
use rubric::Scale;

use crate::{Caller, reply::Mode};

/// Seeds that are drawn stay below this many bits, so that any client can read them as a number.
const SEED_BITS: u32 = 53;

/// By which rubric a request is judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RubricChoice {
    /// The critic's own default for the number of responses.
    #[default]
    Default,
    /// A rubric of the library.
    Named(String),
    /// Criteria that the request brings along, with a scale when one response is scored.
    Inline {
        /// What to look at.
        criteria: String,
        /// The scores.
        scale: Option<Scale>,
    },
}

/// How tokens and verdicts are drawn. The default is greedy: the same case gets the same verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    /// 0 takes what is most probable; above 0, logits are divided by it before drawing.
    pub temperature: f32,
    /// Draw only from the smallest set whose probability reaches this.
    pub top_p: f32,
    /// Start of the random numbers; without one, each request has its own.
    pub seed: Option<u64>,
}

impl Default for Drawing {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, seed: None }
    }
}

impl Drawing {
    /// The same with a seed where something is drawn, and with none where nothing is.
    pub(crate) fn seeded(self) -> Self {
        let random = || RandomState::new().hash_one(0) >> (u64::BITS - SEED_BITS);
        let seed = (self.temperature > 0.0).then(|| self.seed.unwrap_or_else(random));
        Self { seed, ..self }
    }

    /// Whether the same request gets the same verdict.
    pub(crate) fn is_deterministic(self) -> bool {
        self.temperature <= 0.0 || self.seed.is_some()
    }
}

/// Whether a verdict that is remembered may answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remembering {
    /// When the same was asked before and is still known.
    #[default]
    Allowed,
    /// Never: the critic is asked.
    Off,
}

/// What becomes of a response that answers nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Degenerate {
    /// It gets the worst verdict, and the critic is not asked.
    #[default]
    Worst,
    /// The critic judges it as any other.
    Judged,
}

/// What becomes of characters of responses that nobody sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Invisible {
    /// The critic reads them.
    #[default]
    Kept,
    /// They are left out before anything is judged.
    Stripped,
}

/// Whether what the critic says whatever is answered is taken out of its verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Calibration {
    /// No.
    #[default]
    None,
    /// Probabilities are divided by those on answers without content.
    ContentFree,
}

impl Calibration {
    /// What requests and receipts call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ContentFree => "content_free",
        }
    }
}

/// What is done about responses that mean to deceive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guards {
    /// About responses that answer nothing.
    pub degenerate: Degenerate,
    /// About what nobody sees.
    pub invisible: Invisible,
    /// About what the critic likes whatever is answered.
    pub calibration: Calibration,
}

/// Choices of a judgement.
#[derive(Debug, Clone)]
pub struct JudgeOptions {
    /// Tokens of reasons to write at most.
    pub max_tokens: usize,
    /// Name of the critic's prompt format; its first one for the kind of judgement when absent.
    pub format: Option<String>,
    /// In which order verdict and reasons come.
    pub mode: Mode,
    /// Whether the probability of every possible verdict is read. It is in any case when the verdict is read from the
    /// logits alone.
    pub distribution: bool,
    /// How verdict and reasons are drawn.
    pub drawing: Drawing,
    /// How several images are cut.
    pub tiling: ImageTiling,
    /// Whether a remembered verdict may answer.
    pub remembering: Remembering,
    /// What is done about responses that mean to deceive.
    pub guards: Guards,
    /// For whom it is judged.
    pub caller: Caller,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            format: None,
            mode: Mode::default(),
            distribution: false,
            drawing: Drawing::default(),
            tiling: ImageTiling::default(),
            remembering: Remembering::default(),
            guards: Guards::default(),
            caller: Caller::default(),
        }
    }
}
