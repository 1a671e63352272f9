//! An incremental parser of a critic's text: it emits the justification while the text is written, and a verdict at
//! the end.

mod claims;
mod json;
mod line;
mod preferences;
mod quotations;
mod scores;
mod sentences;
mod think;

use std::ops::Range;

use regex::Regex;

use crate::{
    AnswerForm, Confidence, Direction, Justification, Outcome, Scale, Verdict, VerdictError,
    answer::FirstLine,
};

/// New information from a piece of text.
#[derive(Debug, Clone, PartialEq)]
pub enum ParserEvent {
    /// More of the justification. All pieces together are the justification of the verdict.
    Justification(String),
    /// The decision, known before the end of the text.
    Outcome(Outcome),
}

/// How a critic's text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The critic ended it itself.
    Complete,
    /// It was cut off by the token limit.
    Cut,
}

/// A parser of one answer. The verdict does not depend on how the text is split into pieces.
#[derive(Debug, Clone)]
pub struct VerdictParser {
    form: AnswerForm,
    scale: Option<Scale>,
    direction: Direction,
    /// The whole text so far, including the beginning that was given to the critic.
    text: String,
    /// The justification so far; `None` until its beginning is known.
    justification: Option<Justification>,
    /// Number of bytes of the text that were passed on to the justification.
    taken: usize,
}

impl VerdictParser {
    /// A parser of answers of `form` on `scale` that begin with the text `reply`.
    pub fn new(form: AnswerForm, scale: Option<Scale>, reply: &str) -> Self {
        let (text, direction) = (reply.to_owned(), Direction::default());
        Self { form, scale, direction, text, justification: None, taken: 0 }
    }

    /// The same parser with the given direction of the scale.
    #[must_use]
    pub fn in_direction(self, direction: Direction) -> Self {
        Self { direction, ..self }
    }

    /// Appends text and returns the events that follow from it.
    pub fn push(&mut self, text: &str) -> Vec<ParserEvent> {
        self.text.push_str(text);
        let mut events = Vec::new();
        let Some(reasons) = self.reasons() else { return events };
        if let (None, Some(first)) = (&self.justification, self.form.first_line()) {
            // The justification starts only after a valid first line.
            let Ok(outcome) = self.decide_first(first, &self.text[..reasons.start]) else { return events };
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

    /// Ends the text and returns the verdict.
    ///
    /// # Errors
    /// [`VerdictError`] when the text does not state exactly one verdict on the scale.
    pub fn finish(self, ending: Ending) -> Result<Verdict, VerdictError> {
        let (outcome, confidence) = self.decide(ending).map_err(|error| match (error, ending) {
            (VerdictError::Missing, Ending::Cut) => VerdictError::Truncated,
            (error, _) => error,
        })?;
        let reasons = self.reasons().map_or("", |range| &self.text[range]);
        Ok(Verdict { outcome, confidence, justification: reasons.trim().to_owned() })
    }

    /// Whether the decision is known before the justification, from the first line of the text.
    pub fn decides_first(&self) -> bool {
        self.form.decides_first()
    }

    /// The whole text so far, including the beginning that was given to the critic.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part of the text known to be the justification; `None` before it begins. Its start is fixed and it only
    /// grows.
    fn reasons(&self) -> Option<Range<usize>> {
        if self.form == AnswerForm::ThinkAnswer {
            return think::thoughts(&self.text);
        }
        if !self.form.decides_first() {
            return Some(0..self.text.len());
        }
        // Blank lines before the first one are skipped, as by the programs that use these forms.
        let first_line = self.text.trim_start();
        let words = line::words_behind_number(first_line).filter(|_| self.form == AnswerForm::NumberLine);
        let end = words.or_else(|| Some(first_line.find('\n')? + 1))?;
        Some(self.text.len() - first_line.len() + end..self.text.len())
    }

    fn decide(&self, ending: Ending) -> Result<(Outcome, Confidence), VerdictError> {
        let text = &self.text;
        let stated = match self.form {
            AnswerForm::ScoreLine
            | AnswerForm::NumberLine
            | AnswerForm::BetterLine
            | AnswerForm::TwoScoresLine => {
                let line = match (self.reasons(), ending) {
                    (Some(reasons), _) => Some(&text[..reasons.start]),
                    (None, Ending::Complete) => Some(text.as_str()),
                    (None, Ending::Cut) => None,
                };
                let (first, line) = self.form.first_line().zip(line).ok_or(VerdictError::Missing)?;
                self.decide_first(first, line)
            }
            AnswerForm::BracketedScore => scores::anywhere(&scores::SCORE, text, (self.scale()?, ending)),
            AnswerForm::Rating => scores::anywhere(&scores::RATING, text, (self.scale()?, ending)),
            AnswerForm::FinalScore => scores::anywhere(&scores::FINAL, text, (self.scale()?, ending)),
            AnswerForm::JsonScore => json::score(text, (self.scale()?, ending)),
            AnswerForm::BracketedPreference => return preferences::bracketed(text, ending),
            AnswerForm::ThreeWay => preferences::three_way(text),
            AnswerForm::FiveWay => preferences::five_way(text),
            AnswerForm::AnswerSentence => sentences::sentence(text, ending),
            AnswerForm::ThinkAnswer => think::answer(text),
            // The reward head's number is not part of the text.
            AnswerForm::Scalar => Err(VerdictError::Missing),
        };
        stated.map(|outcome| (outcome, Confidence::Stated))
    }

    /// Parses the text before the justification, for forms that begin with their decision.
    fn decide_first(&self, first: FirstLine, line: &str) -> Result<Outcome, VerdictError> {
        let line = line.trim_start();
        match first {
            FirstLine::Score => line::score(line, self.scale()?),
            FirstLine::Number => line::number(line, self.scale()?),
            FirstLine::Better => line::better(line),
            FirstLine::TwoScores => line::two_scores(line, self.scale()?, self.direction),
        }
    }

    /// The scale for a form that consists of scores; without one, no score is valid.
    fn scale(&self) -> Result<Scale, VerdictError> {
        self.scale.ok_or(VerdictError::Missing)
    }
}

/// The decision on which all `decisions` agree.
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
