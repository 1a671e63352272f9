//! Reads a critic's text as it comes: justification for those who watch, and at the end a verdict.

use std::sync::LazyLock;

use regex::Regex;

use crate::{AnswerForm, Justification, Outcome, Preference, Scale, Verdict, VerdictError};

/// What a piece of text brought to light.
#[derive(Debug, Clone, PartialEq)]
pub enum ParserEvent {
    /// More of the justification. All pieces together are the justification of the verdict.
    Justification(String),
    /// The decision is known before the text ends.
    Outcome(Outcome),
}

/// How a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The critic ended it.
    Complete,
    /// It was cut by its token limit.
    Cut,
}

/// Reads one answer. However the text is split into pieces, the same verdict comes out.
#[derive(Debug)]
pub struct VerdictParser {
    form: AnswerForm,
    scale: Option<Scale>,
    /// Everything so far, the start that the critic was given included.
    text: String,
    /// The justification so far, once it is known where it starts.
    justification: Option<Justification>,
}

impl VerdictParser {
    /// A reader for answers of `form` on `scale`, which start with the text `reply`.
    pub fn new(form: AnswerForm, scale: Option<Scale>, reply: &str) -> Self {
        Self { form, scale, text: reply.to_owned(), justification: None }
    }

    /// Adds text and tells what it brought to light.
    pub fn push(&mut self, text: &str) -> Vec<ParserEvent> {
        self.text.push_str(text);
        let mut events = Vec::new();
        let told = match &mut self.justification {
            Some(justification) => justification.push(text),
            None => self.start_justification(&mut events),
        };
        events.extend(told.map(ParserEvent::Justification));
        events
    }

    /// Ends the text and decides.
    ///
    /// # Errors
    /// [`VerdictError`] when the text does not say one verdict on the scale.
    pub fn finish(self, ending: Ending) -> Result<Verdict, VerdictError> {
        let (decision, justification) = match self.form {
            AnswerForm::ScoreLine | AnswerForm::BetterLine => {
                let (line, rest) = self.text.split_once('\n').unwrap_or((&self.text, ""));
                let whole = line.len() < self.text.len() || ending == Ending::Complete;
                (if whole { self.decide_line(line) } else { Err(VerdictError::Missing) }, rest)
            }
            AnswerForm::BracketedScore => (self.find_score(ending), &self.text[..]),
            AnswerForm::BracketedPreference => (find_preference(&self.text), &self.text[..]),
        };
        let outcome = decision.map_err(|error| match (error, ending) {
            (VerdictError::Missing, Ending::Cut) => VerdictError::Truncated,
            (error, _) => error,
        })?;
        Ok(Verdict { outcome, justification: justification.trim().to_owned() })
    }

    /// Everything so far, the start that the critic was given included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Finds where the justification starts, and tells what there is of it. The forms with a first line wait for a valid
    /// one.
    fn start_justification(&mut self, events: &mut Vec<ParserEvent>) -> Option<String> {
        let start = if self.form.decides_first() {
            let (line, _) = self.text.split_once('\n')?;
            events.push(ParserEvent::Outcome(self.decide_line(line).ok()?));
            line.len() + 1
        } else {
            0
        };
        self.justification.insert(Justification::default()).push(&self.text[start..])
    }

    fn decide_line(&self, line: &str) -> Result<Outcome, VerdictError> {
        static SCORE: LazyLock<Regex> =
            LazyLock::new(|| regex(r"^\s*Score:\s*(?<score>-?\d+(?:\.\d+)?)\s*$"));
        static BETTER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*Better:\s*(?<label>1|2|tie)\s*$"));
        if let Some(scale) = self.scale {
            let found = SCORE.captures(line).ok_or(VerdictError::Missing)?;
            return on_scale(&found["score"], None, scale);
        }
        let found = BETTER.captures(line).ok_or(VerdictError::Missing)?;
        label(&found["label"])
    }

    /// Every score in the text, which must agree.
    fn find_score(&self, ending: Ending) -> Result<Outcome, VerdictError> {
        static SCORE: LazyLock<Regex> = LazyLock::new(|| {
            regex(
                r"(?i)\bscore:\s*\**\s*\[?\s*(?<score>-?\d+(?:\.\d+)?)(?:\s*\]?\s*(?:/|out\s+of)\s*(?<of>\d+(?:\.\d+)?))?",
            )
        });
        let scale = self.scale.ok_or(VerdictError::Missing)?;
        let mut scores = Vec::new();
        for found in SCORE.captures_iter(&self.text) {
            // A number at the very end of a cut text may lack digits.
            if ending == Ending::Cut && found.get(0).is_some_and(|whole| whole.end() == self.text.len()) {
                return Err(VerdictError::Truncated);
            }
            scores.push(on_scale(&found["score"], found.name("of").map(|of| of.as_str()), scale)?);
        }
        agreed(&scores)
    }
}

/// Every decision in brackets, which must agree; without one, the sentence that says both are equally good.
fn find_preference(text: &str) -> Result<Outcome, VerdictError> {
    static BETTER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)\bthe better response:\s*\**\s*\[\s*(?<label>first|second|1|2|a|b)\s*\]")
    });
    static TIE: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"(?i)\b(?:two|both)\s+(?:the\s+)?(?:responses|answers)\s+are\s+equally\s+good\s*(?:[.!*\n]|$)")
    });
    let mut decisions =
        BETTER.captures_iter(text).map(|found| label(&found["label"])).collect::<Result<Vec<_>, _>>()?;
    if TIE.is_match(text) {
        decisions.push(Outcome::Preference(Preference::Tie));
    }
    agreed(&decisions)
}

fn agreed(decisions: &[Outcome]) -> Result<Outcome, VerdictError> {
    let first = *decisions.first().ok_or(VerdictError::Missing)?;
    match decisions.iter().find(|decision| **decision != first) {
        Some(other) => Err(VerdictError::Conflicting(format!("{} and {}", name(first), name(*other)))),
        None => Ok(first),
    }
}

fn name(outcome: Outcome) -> String {
    match outcome {
        Outcome::Score(score) => score.to_string(),
        Outcome::Preference(preference) => preference.as_str().to_owned(),
    }
}

/// Reads a score; one that is given "out of" something must mean the top of the scale.
fn on_scale(number: &str, of: Option<&str>, scale: Scale) -> Result<Outcome, VerdictError> {
    let value = |text: &str| text.parse::<f64>().ok();
    let right_top = of.is_none_or(|of| value(of) == Some(scale.max));
    match value(number) {
        Some(score) if right_top && scale.contains(score) => Ok(Outcome::Score(score)),
        _ => {
            let found = of.map_or_else(|| number.to_owned(), |of| format!("{number}/{of}"));
            Err(VerdictError::OutOfScale { found, scale })
        }
    }
}

fn label(label: &str) -> Result<Outcome, VerdictError> {
    let preference = match label.to_ascii_lowercase().as_str() {
        "1" | "first" | "a" => Preference::First,
        "2" | "second" | "b" => Preference::Second,
        "tie" => Preference::Tie,
        _ => return Err(VerdictError::Missing),
    };
    Ok(Outcome::Preference(preference))
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern is valid")
}

#[cfg(test)]
mod tests;
