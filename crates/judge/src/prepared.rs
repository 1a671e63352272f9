//! A prepared judgement: everything is decided, and nothing is computed yet.

use std::borrow::Cow;

use critic::Prompt;
use rubric::{
    Case, Choices, Confidence, Distribution, Flag, Format, Outcome, Preference, Profile, Rubric, Verdict,
    certain_outcome,
};

use crate::{
    Caller, CompletionParams, Conditions, Degenerate, FinishReason, Invisible, Judge, JudgeError,
    JudgeOptions, JudgeRequest, Judgement, Mode, Receipt, Remembering, ReplyPart, Sampling, Usage,
    calibrated,
    reply::{Known, Plan, Reader, Wanted},
    verdict_cache::Slot,
};

/// A judgement before the critic is asked. A clone repeats the same judgement.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) prompt: Prompt,
    pub(crate) script: Vec<ReplyPart>,
    pub(crate) reader: Reader,
    pub(crate) rubric: Rubric,
    /// Has a seed if anything is sampled.
    pub(crate) sampling: Sampling,
    pub(crate) conditions: Conditions,
    /// Flags of the responses.
    pub(crate) flags: Vec<Flag>,
    /// The outcome that is certain without asking the critic, and its distribution if that is requested.
    certain: Option<(Outcome, Option<Distribution>)>,
    max_tokens: usize,
    caller: Caller,
    /// Whether the verdict may be read from and stored in the cache.
    repeats: bool,
}

/// A case rendered for the critic.
struct Rendered<'a> {
    profile: &'a Profile,
    format: &'a Format,
    rubric: &'a Rubric,
    prompt: &'a Prompt,
}

impl Judge {
    /// Decides everything about a judgement except the verdict.
    pub(crate) fn prepare(&self, request: &JudgeRequest) -> Result<Prepared, JudgeError> {
        let JudgeRequest { case, choice, options } = request;
        case.check()?;
        let seen = match options.guards.invisible {
            Invisible::Kept => Cow::Borrowed(case),
            Invisible::Stripped => Cow::Owned(case.without_invisible()),
        };
        let rules = self.rules();
        let profile = rules.profile();
        let rubric = rules.rubric(case.kind(), choice.clone())?;
        let format = profile.format(&rubric, options.format.as_deref())?;
        let prompt = profile.render(&seen, &rubric, format)?;
        let Plan { reply, script, reader } =
            Plan::new(format, &rubric, Wanted { mode: options.mode, distribution: options.distribution })?;
        calibrated::check(options, &reader)?;
        if matches!(reader, Reader::Reward) && !self.build().rates {
            return Err(JudgeError::NoRewardHead);
        }
        let prompt = Prompt { reply, tiling: options.tiling, ..prompt };
        let certain = certain(&seen, (&rubric, format), &reader, options);
        let flags = flags(case, &seen, (&rubric, format));
        let repeats = options.remembering == Remembering::Allowed && options.sampling.is_deterministic();
        let options = JudgeOptions { sampling: options.sampling.seeded(), ..options.clone() };
        let rendered = Rendered { profile, format, rubric: &rubric, prompt: &prompt };
        let conditions = self.conditions(&rendered, &options);
        let JudgeOptions { sampling, max_tokens, caller, .. } = options;
        Ok(Prepared {
            prompt,
            script,
            reader,
            rubric,
            sampling,
            conditions,
            flags,
            certain,
            max_tokens,
            caller,
            repeats,
        })
    }

    /// The conditions of the verdict.
    fn conditions(&self, rendered: &Rendered<'_>, options: &JudgeOptions) -> Conditions {
        let Rendered { profile, format, rubric, prompt } = rendered;
        let build = self.build();
        Conditions {
            model: self.model().to_owned(),
            weights: build.weights.get(),
            precision: build.precision,
            form: build.form,
            ranks: build.ranks,
            exact: build.exact,
            profile: profile.name.clone(),
            format: format.name.clone(),
            answer: format.answer(rubric),
            rubric: rubric.name.clone(),
            rubric_version: rubric.version,
            rubric_digest: rubric.digest(),
            prompt_digest: prompt.digest(),
            mode: options.mode,
            distribution: options.distribution,
            max_tokens: options.max_tokens,
            temperature: options.sampling.temperature,
            top_p: options.sampling.top_p,
            seed: options.sampling.seed,
            generation: self.generation().clone(),
        }
    }
}

/// The outcome that is certain without asking the critic, if the options allow that, with its distribution over all
/// decisions if that is requested.
fn certain(
    seen: &Case,
    (rubric, format): (&Rubric, &Format),
    reader: &Reader,
    options: &JudgeOptions,
) -> Option<(Outcome, Option<Distribution>)> {
    // A reward head has no scale, and therefore no worst score.
    if options.guards.degenerate == Degenerate::Judged || matches!(reader, Reader::Reward) {
        return None;
    }
    let outcome = certain_outcome(seen, rubric)?;
    let reads = options.distribution || !matches!(options.mode, Mode::Trained | Mode::ScoreThenExplain);
    let among = || format.choices(rubric).map_or_else(Vec::new, Choices::into_outcomes);
    Some((outcome, reads.then(|| certainty(outcome, among()))))
}

/// The flags of a case, of which `seen` is the part shown to the critic.
fn flags(case: &Case, seen: &Case, (rubric, format): (&Rubric, &Format)) -> Vec<Flag> {
    let mut flags = Flag::of(seen, rubric);
    // Removed characters are reported as well.
    if case.has_invisible() && !seen.has_invisible() {
        flags.push(Flag::InvisibleCharacters);
    }
    if format.leaves_out(case) {
        flags.push(Flag::NotShown);
    }
    flags.sort_unstable();
    flags
}

impl Prepared {
    /// The client for which the case is judged.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The same judgement with other random numbers; its verdict is not cached.
    pub(crate) fn with_sampling(&self, sampling: Sampling) -> Self {
        let conditions = Conditions { seed: sampling.seed, ..self.conditions.clone() };
        Self { sampling, conditions, repeats: false, ..self.clone() }
    }

    /// The verdict, if it is certain without asking the critic.
    pub(crate) fn certain_judgement(&self) -> Option<Judgement> {
        let (outcome, distribution) = self.certain.clone()?;
        let justification = match outcome {
            Outcome::Score(_) => "The response answers nothing.",
            Outcome::Preference(Preference::Tie) => "Neither response answers anything.",
            Outcome::Preference(_) | Outcome::Grade(_) | Outcome::Scores(_) => {
                "One response answers nothing."
            }
        };
        let confidence = Confidence::Stated;
        let verdict = Verdict { outcome, confidence, justification: justification.to_owned() };
        let reason = FinishReason::Stop;
        let receipt = Receipt::new(self.conditions.clone(), &verdict, reason, 0);
        let Rubric { name, scale, direction, .. } = &self.rubric;
        Some(Judgement {
            verdict,
            rubric: name.clone(),
            scale: *scale,
            direction: *direction,
            label_mass: distribution.as_ref().map(|certain| certain.label_mass),
            distribution,
            prior: None,
            flags: self.flags.clone(),
            reason,
            usage: Usage::default(),
            receipt: Box::new(receipt),
        })
    }

    /// When the decision is known, compared with the justification.
    pub(crate) fn known(&self) -> Known {
        self.reader.known(&self.script)
    }

    /// The cache slot of the verdict, if it may be cached.
    pub(crate) fn slot(&self, judge: &Judge) -> Option<Slot> {
        let slot = || judge.verdict_cache().slot(&self.conditions, &self.script, &self.caller);
        self.repeats.then(slot).flatten()
    }

    /// The parameters of the critic's text.
    pub(crate) fn params(&self) -> CompletionParams {
        CompletionParams {
            script: self.script.clone(),
            temperature: self.sampling.temperature,
            top_p: self.sampling.top_p,
            caller: self.caller.clone(),
            ..CompletionParams::greedy(self.max_tokens)
        }
    }
}

/// A distribution with all probability on one decision.
fn certainty(outcome: Outcome, among: Vec<Outcome>) -> Distribution {
    let among = if among.contains(&outcome) { among } else { vec![outcome] };
    let probability = |other: Outcome| if other == outcome { 1.0 } else { 0.0 };
    let probabilities = among.into_iter().map(|other| (other, probability(other))).collect();
    Distribution { probabilities, label_mass: 1.0 }
}
