//! Reads a critic's text as it comes: justification for those who watch, and at the end a verdict.

mod claims;
mod json;
mod line;
mod preferences;
mod quotations;
mod scores;
mod think;

use std::ops::Range;

use regex::Regex;

use crate::{AnswerForm, Confidence, Direction, Justification, Outcome, Scale, Verdict, VerdictError};

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
#[derive(Debug, Clone)]
pub struct VerdictParser {
    form: AnswerForm,
    scale: Option<Scale>,
    direction: Direction,
    /// Everything so far, the start that the critic was given included.
    text: String,
    /// The justification so far, once it is known where it starts.
    justification: Option<Justification>,
    /// Byte of the text up to which the justification has taken it.
    taken: usize,
}

impl VerdictParser {
    /// A reader for answers of `form` on `scale`, which start with the text `reply`.
    pub fn new(form: AnswerForm, scale: Option<Scale>, reply: &str) -> Self {
        let (text, direction) = (reply.to_owned(), Direction::default());
        Self { form, scale, direction, text, justification: None, taken: 0 }
    }

    /// The same reader for a scale whose better scores are where `direction` says.
    #[must_use]
    pub fn in_direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// Adds text and tells what it brought to light.
    pub fn push(&mut self, text: &str) -> Vec<ParserEvent> {
        self.text.push_str(text);
        let mut events = Vec::new();
        let Some(reasons) = self.reasons() else { return events };
        if self.justification.is_none() && self.form.decides_first() {
            // The justification waits for a valid first line.
            let Ok(outcome) = self.decide_first(&self.text[..reasons.start]) else { return events };
            events.push(ParserEvent::Outcome(outcome));
        }
        let new = self.taken.max(reasons.start)..reasons.end;
        if new.start <= new.end {
            let justification = self.justification.get_or_insert_default();
            let told = justification.push(&self.text[new.clone()]);
            events.extend(told.map(ParserEvent::Justification));
            self.taken = new.end;
        }
        events
    }

    /// Ends the text and decides.
    ///
    /// # Errors
    /// [`VerdictError`] when the text does not say one verdict on the scale.
    pub fn finish(self, ending: Ending) -> Result<Verdict, VerdictError> {
        let (outcome, confidence) = self.decide(ending).map_err(|error| match (error, ending) {
            (VerdictError::Missing, Ending::Cut) => VerdictError::Truncated,
            (error, _) => error,
        })?;
        let reasons = self.reasons().map_or("", |range| &self.text[range]);
        Ok(Verdict { outcome, confidence, justification: reasons.trim().to_owned() })
    }

    /// Everything so far, the start that the critic was given included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which part of the text is known to be reasons: it starts where it started before and only grows.
    fn reasons(&self) -> Option<Range<usize>> {
        if self.form == AnswerForm::ThinkAnswer {
            return think::thoughts(&self.text);
        }
        let words = || line::words_behind_number(&self.text).filter(|_| self.form == AnswerForm::NumberLine);
        let start = match self.form.decides_first() {
            true => words().or_else(|| Some(self.text.find('\n')? + 1))?,
            false => 0,
        };
        Some(start..self.text.len())
    }

    fn decide(&self, ending: Ending) -> Result<(Outcome, Confidence), VerdictError> {
        let text = &self.text;
        let stated = match self.form {
            AnswerForm::ScoreLine
            | AnswerForm::NumberLine
            | AnswerForm::BetterLine
            | AnswerForm::TwoScoresLine => match (self.reasons(), ending) {
                (Some(reasons), _) => self.decide_first(&text[..reasons.start]),
                (None, Ending::Complete) => self.decide_first(text),
                (None, Ending::Cut) => Err(VerdictError::Missing),
            },
            AnswerForm::BracketedScore => scores::anywhere(&scores::SCORE, text, (self.scale()?, ending)),
            AnswerForm::Rating => scores::anywhere(&scores::RATING, text, (self.scale()?, ending)),
            AnswerForm::FinalScore => scores::anywhere(&scores::FINAL, text, (self.scale()?, ending)),
            AnswerForm::JsonScore => json::score(text, (self.scale()?, ending)),
            AnswerForm::BracketedPreference => return preferences::bracketed(text, ending),
            AnswerForm::ThreeWay => preferences::three_way(text),
            AnswerForm::FiveWay => preferences::five_way(text),
            AnswerForm::AnswerSentence => preferences::sentence(text, ending),
            AnswerForm::ThinkAnswer => think::answer(text),
            // Its number is no text.
            AnswerForm::Scalar => Err(VerdictError::Missing),
        };
        stated.map(|outcome| (outcome, Confidence::Stated))
    }

    /// Reads what stands before the reasons, of forms that begin with their decision.
    fn decide_first(&self, line: &str) -> Result<Outcome, VerdictError> {
        match self.form {
            AnswerForm::NumberLine => line::number(line, self.scale()?),
            AnswerForm::TwoScoresLine => line::two_scores(line, self.scale()?, self.direction),
            AnswerForm::BetterLine => line::better(line),
            AnswerForm::ScoreLine
            | AnswerForm::BracketedScore
            | AnswerForm::Rating
            | AnswerForm::FinalScore
            | AnswerForm::JsonScore
            | AnswerForm::BracketedPreference
            | AnswerForm::ThreeWay
            | AnswerForm::FiveWay
            | AnswerForm::AnswerSentence
            | AnswerForm::ThinkAnswer
            | AnswerForm::Scalar => line::score(line, self.scale()?),
        }
    }

    /// The scale of a form that is made of scores. Without one, no score is a verdict.
    fn scale(&self) -> Result<Scale, VerdictError> {
        self.scale.ok_or(VerdictError::Missing)
    }
}

/// The one decision that all `decisions` are.
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
        Outcome::Grade(grade) => match grade.strength() {
            Some(strength) => format!("{} {}", grade.preference().as_str(), strength.as_str()),
            None => grade.preference().as_str().to_owned(),
        },
        Outcome::Scores(pair) => pair.scores().map(|score| score.to_string()).join(" "),
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern is valid")
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod preference_tests;
#[cfg(test)]
mod tests;
