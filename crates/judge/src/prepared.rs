//! A judgement before its critic is asked: everything is decided, nothing is computed.

use std::hash::{BuildHasher, RandomState};

use critic::Prompt;
use rubric::{Case, Rubric};

use crate::{
    Caller, CompletionParams, Drawing, Judge, JudgeError, JudgeOptions, Receipt, Remembering, ReplyPart,
    RubricChoice,
    memo::Slot,
    reply::{Plan, Reader},
};

/// Seeds that are drawn stay below this, so that any client can read them as a number.
const SEED_BITS: u32 = 53;

/// A judgement before its critic is asked. A clone is the same judgement again.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) prompt: Prompt,
    pub(crate) script: Vec<ReplyPart>,
    pub(crate) reader: Reader,
    pub(crate) rubric: Rubric,
    /// With a seed wherever something is drawn.
    pub(crate) drawing: Drawing,
    pub(crate) receipt: Receipt,
    max_tokens: usize,
    caller: Caller,
    /// Whether the verdict may be one that is remembered, and be remembered itself.
    repeats: bool,
}

impl Judge {
    /// Decides everything about a judgement but the verdict.
    pub(crate) fn prepare(
        &self,
        case: &Case,
        choice: RubricChoice,
        options: JudgeOptions,
    ) -> Result<Prepared, JudgeError> {
        case.check()?;
        let rules = self.rules();
        let rubric = rules.rubric(case.kind(), choice)?;
        let profile = rules.profile();
        let format = profile.format(&rubric, options.format.as_deref())?;
        let prompt = profile.render(case, &rubric, format)?;
        let Plan { reply, script, reader } =
            Plan::new(format, &rubric, (options.mode, options.distribution))?;
        if script.contains(&ReplyPart::Rate) && !self.build().rates {
            return Err(JudgeError::NoRewardHead);
        }
        let prompt = Prompt { reply, tiling: options.tiling, ..prompt };
        let repeats = options.remembering == Remembering::Allowed && options.drawing.is_deterministic();
        let drawn = options.drawing.temperature > 0.0;
        let random = || RandomState::new().hash_one(0) >> (u64::BITS - SEED_BITS);
        let seed = drawn.then(|| options.drawing.seed.unwrap_or_else(random));
        let drawing = Drawing { seed, ..options.drawing };
        let build = self.build();
        let receipt = Receipt {
            model: self.model().to_owned(),
            weights: build.weights.get(),
            precision: build.precision,
            form: build.form,
            exact: build.exact,
            profile: profile.name.clone(),
            format: format.name.clone(),
            rubric: rubric.name.clone(),
            rubric_version: rubric.version,
            rubric_digest: rubric.digest(),
            prompt_digest: prompt.digest(),
            mode: options.mode.as_str(),
            distribution: options.distribution,
            max_tokens: options.max_tokens,
            temperature: drawing.temperature,
            top_p: drawing.top_p,
            seed,
            cached_tokens: 0,
            remembered: false,
            verdict_digest: [0; 32],
        };
        let (max_tokens, caller) = (options.max_tokens, options.caller);
        Ok(Prepared { prompt, script, reader, rubric, drawing, receipt, max_tokens, caller, repeats })
    }
}

impl Prepared {
    /// The same with other random numbers; it is not remembered.
    pub(crate) fn drawn(&self, drawing: Drawing) -> Self {
        let receipt = Receipt { seed: drawing.seed, ..self.receipt.clone() };
        Self { drawing, receipt, repeats: false, ..self.clone() }
    }

    /// Where its verdict is remembered, if it may be.
    pub(crate) fn slot(&self, judge: &Judge) -> Option<Slot> {
        let slot = || judge.memo().slot(&self.receipt, &self.script, &self.caller.tenant);
        self.repeats.then(slot).flatten()
    }

    /// How its text is written.
    pub(crate) fn params(&self) -> CompletionParams {
        CompletionParams {
            script: self.script.clone(),
            temperature: self.drawing.temperature,
            top_p: self.drawing.top_p,
            caller: self.caller.clone(),
            ..CompletionParams::greedy(self.max_tokens)
        }
    }
}
