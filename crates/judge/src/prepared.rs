//! A judgement before its critic is asked: everything is decided, nothing is computed.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use critic::Prompt;
use rubric::{
    Case, Choices, Distribution, Flag, Outcome, Preference, Rubric, RubricError, Verdict, foregone,
};

use crate::{
    Calibration, Caller, CompletionParams, Degenerate, Drawing, FinishReason, Invisible, Judge, JudgeError,
    JudgeOptions, Judgement, Mode, Receipt, Remembering, ReplyPart, RubricChoice, Usage, calibrated,
    memo::Slot,
    receipt::verdict_digest,
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
    /// What is odd about the responses.
    pub(crate) flags: Vec<Flag>,
    /// What is certain without asking the critic, with its probability among all decisions where that is wanted.
    certain: Option<(Outcome, Option<Distribution>)>,
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
        calibrated::check(&options)?;
        let rules = self.rules();
        let seen = match options.guards.invisible {
            Invisible::Kept => Cow::Borrowed(case),
            Invisible::Stripped => Cow::Owned(case.without_invisible()),
        };
        let rubric = rules.rubric(case.kind(), choice)?;
        let profile = rules.profile();
        let format = profile.format(&rubric, options.format.as_deref())?;
        let prompt = profile.render(&seen, &rubric, format)?;
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
            ranks: build.ranks,
            exact: build.exact,
            profile: profile.name.clone(),
            format: format.name.clone(),
            rubric: rubric.name.clone(),
            rubric_version: rubric.version,
            rubric_digest: rubric.digest(),
            prompt_digest: prompt.digest(),
            mode: options.mode.as_str(),
            distribution: options.distribution,
            calibration: options.guards.calibration.as_str(),
            max_tokens: options.max_tokens,
            temperature: drawing.temperature,
            top_p: drawing.top_p,
            seed,
            cached_tokens: 0,
            remembered: false,
            verdict_digest: [0; 32],
        };
        let (max_tokens, caller) = (options.max_tokens, options.caller);
        // A reward head knows no scale, so that it has no worst score.
        if options.guards.calibration == Calibration::ContentFree && script.contains(&ReplyPart::Rate) {
            let reason = "a reward head reads one number, which no prior is known of";
            return Err(RubricError::Unsupported { key: "calibration", reason }.into());
        }
        let gate = options.guards.degenerate == Degenerate::Worst && !script.contains(&ReplyPart::Rate);
        let decided = gate.then(|| foregone(&seen, &rubric)).flatten();
        let read = options.distribution || !matches!(options.mode, Mode::Trained | Mode::ScoreThenExplain);
        let among = || format.choices(&rubric).map_or_else(Vec::new, Choices::into_outcomes);
        let certain = decided.map(|outcome| (outcome, read.then(|| certainty(outcome, among()))));
        let mut flags = Flag::of(&seen, &rubric);
        // What was left out is told as well.
        if options.guards.invisible == Invisible::Stripped && case.has_invisible() {
            flags.push(Flag::InvisibleCharacters);
            flags.sort_unstable();
        }
        Ok(Prepared {
            prompt,
            script,
            reader,
            rubric,
            drawing,
            receipt,
            flags,
            certain,
            max_tokens,
            caller,
            repeats,
        })
    }
}

impl Prepared {
    /// For whom it is.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The same with other random numbers; it is not remembered.
    pub(crate) fn drawn(&self, drawing: Drawing) -> Self {
        let receipt = Receipt { seed: drawing.seed, ..self.receipt.clone() };
        Self { drawing, receipt, repeats: false, ..self.clone() }
    }

    /// The verdict, where it is certain without asking the critic.
    pub(crate) fn foregone(&self) -> Option<Judgement> {
        let (outcome, distribution) = self.certain.clone()?;
        let justification = match outcome {
            Outcome::Score(_) => "The response answers nothing.",
            Outcome::Preference(Preference::Tie) => "Neither response answers anything.",
            Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => {
                "One response answers nothing."
            }
        };
        let Rubric { name, scale, direction, .. } = &self.rubric;
        let mut judgement = Judgement {
            verdict: Verdict { outcome, justification: justification.to_owned() },
            rubric: name.clone(),
            scale: *scale,
            direction: *direction,
            distribution,
            prior: None,
            flags: self.flags.clone(),
            reason: FinishReason::Stop,
            usage: Usage::default(),
            receipt: Box::new(self.receipt.clone()),
        };
        judgement.receipt.verdict_digest = verdict_digest(&judgement);
        Some(judgement)
    }

    /// Where its verdict is remembered, if it may be.
    pub(crate) fn slot(&self, judge: &Judge) -> Option<Slot> {
        let slot = || judge.memo().slot(&self.receipt, &self.script, &self.caller);
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

/// All probability for one decision among others.
fn certainty(outcome: Outcome, among: Vec<Outcome>) -> Distribution {
    let among = if among.contains(&outcome) { among } else { vec![outcome] };
    let probability = |other: Outcome| if other == outcome { 1.0 } else { 0.0 };
    let probabilities = among.into_iter().map(|other| (other, probability(other))).collect();
    Distribution { probabilities, label_mass: 1.0 }
}
