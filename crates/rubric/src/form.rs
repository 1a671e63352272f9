//! The answer formats that other programs expect of their judge, and the detection of a program by its prompt.
//!
//! Most programs search for a verdict with a pattern and accept any match, or treat a missing one as a verdict. A
//! form prescribes the structure of the answer, so that the pattern finds the verdict and nothing else.

mod items;
mod options;
mod points;
mod scale;

use std::cmp::Reverse;

use serde::Deserialize;

use crate::problem::KeyProblem;
pub use items::{EachItem, ItemChoice, Items, Judged};
pub use options::Options;
pub use points::Points;
pub use scale::StatedScale;

/// The answer format of one program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The name of the form.
    pub name: String,
    /// The program that uses the form, and remarks on it.
    pub about: String,
    /// Texts that all occur in every prompt of the program. White space, line breaks and the kinds of quotes are not
    /// significant.
    pub fingerprint: Vec<String>,
    /// For a fingerprint that follows the judged texts: words with which this prompt, or a variant of it, begins
    /// before them.
    #[serde(default)]
    pub opening: Vec<String>,
    /// The pieces of the answer, in order.
    pub reply: Vec<FormPart>,
    /// A choice that precedes these pieces, where the prompt states how many points there are.
    pub points: Option<Points>,
    /// Choices that precede these pieces, where the prompt states a scale.
    pub scale: Option<StatedScale>,
    /// Choices that follow these pieces, where the prompt shows numbered items.
    pub items: Option<Items>,
    /// A choice that follows these pieces, where the prompt shows options with letters.
    pub options: Option<Options>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormPart {
    /// A fixed text.
    Say(String),
    /// One of these texts, chosen by the critic.
    Choose(Vec<String>),
    /// Text that the critic writes freely, within these restrictions.
    Write(Restraint),
}

impl FormPart {
    /// Examples of this piece for a check of the answer as JSON: all choices, and the empty string for free text.
    /// `None` for free text that is not escaped for a JSON string.
    fn samples(&self) -> Option<Vec<&str>> {
        match self {
            Self::Say(text) => Some(vec![text.as_str()]),
            Self::Choose(texts) => Some(texts.iter().map(String::as_str).collect()),
            Self::Write(restraint) => restraint.escape.map(|Escape::Json| vec![""]),
        }
    }

    /// Validates the piece on its own; the error is a description of its problem.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Say(text) if text.is_empty() => Err("nothing is said".to_owned()),
            Self::Choose(texts) if texts.len() < 2 => Err("there is nothing to choose".to_owned()),
            Self::Choose(texts) => {
                let begins =
                    |one: &String| texts.iter().filter(|text| text.starts_with(one.as_str())).count();
                match texts.iter().find(|one| one.is_empty() || begins(one) > 1) {
                    Some(one) => Err(format!("{one:?} is the beginning of another choice")),
                    None => Ok(()),
                }
            }
            Self::Write(restraint) if restraint.never.iter().any(|text| text.chars().count() < 2) => {
                Err("what is never written has two characters at least".to_owned())
            }
            Self::Say(_) | Self::Write(_) => Ok(()),
        }
    }
}

/// Restrictions on free text, so that it is not mistaken for the verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restraint {
    /// Texts that must not occur: a space is inserted after the first character of each.
    #[serde(default)]
    pub never: Vec<String>,
    /// The escaping of the text, if it is inside a string literal.
    pub escape: Option<Escape>,
    /// Characters that are removed.
    #[serde(default)]
    pub without: String,
}

/// How a text is escaped inside a string literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// As in a JSON string.
    Json,
}

/// The minimum length of a fingerprint in bytes, over all its texts: shorter ones occur in many prompts.
const FINGERPRINT: usize = 24;

/// The maximum number of answers that are checked to be JSON: more than a decision with two scores out of ten has.
const MOST_ANSWERS: usize = 1024;

impl Form {
    /// Makes white space and quotes the same in all texts that are looked for, as is done with prompts.
    pub(crate) fn prepare(self) -> Self {
        let flat_all = |texts: &[String]| texts.iter().map(|text| flat(text)).collect();
        let points = self.points.map(|points| Points {
            after: flat(&points.after),
            before: flat(&points.before),
            ..points
        });
        let scale = self.scale.map(|scale| StatedScale { after: flat(&scale.after), ..scale });
        let items = self.items.map(|items| Items {
            after: flat(&items.after),
            before: flat(&items.before),
            shown: flat(&items.shown),
            ..items
        });
        Self {
            fingerprint: flat_all(&self.fingerprint),
            opening: flat_all(&self.opening),
            points,
            scale,
            items,
            ..self
        }
    }

    /// The form for a prompt with these texts. If it has points, a scale, items or options, the choices are built
    /// from what the prompt states. `None` if the prompt states no points, items or options for a form that has them,
    /// or too many.
    pub fn for_prompt(mut self, texts: &[&str]) -> Option<Self> {
        if !self.has_stated_choices() {
            return Some(self);
        }
        let prompt = flat(&texts.join(" "));
        if let Some(points) = self.points.take() {
            self.reply.insert(0, FormPart::Choose(points.texts(&prompt)?));
        }
        if let Some(scale) = self.scale.take() {
            let choices = scale.choices(self.instructions(&prompt));
            self.reply.splice(0..0, choices.into_iter().map(FormPart::Choose));
        }
        if let Some(items) = self.items.take() {
            self.reply.extend(items.parts(&prompt)?);
        }
        if let Some(options) = self.options.take() {
            self.reply.push(FormPart::Choose(options.texts(&texts.join("\n"))?));
        }
        Some(self)
    }

    /// The part of a prompt with collapsed white space before the first text of the fingerprint, in its last
    /// occurrence if judged texts precede it. Empty if the text does not occur.
    fn instructions<'a>(&self, prompt: &'a str) -> &'a str {
        let begin = self.fingerprint.first().and_then(|text| {
            let first = prompt.find(text)?;
            let follows = |opening: &String| prompt.find(opening).is_some_and(|begin| begin < first);
            if self.opening.iter().any(follows) { prompt.rfind(text) } else { Some(first) }
        });
        begin.map_or("", |begin| &prompt[..begin])
    }

    /// Whether every possible answer is one JSON object, whatever is chosen and written. Not for forms with more than
    /// `MOST_ANSWERS` combinations of choices, which are not checked, and not before the choices that a prompt states
    /// are [built](Self::for_prompt).
    pub fn is_json_object(&self) -> bool {
        let is_object =
            |answer: &String| matches!(serde_json::from_str(answer), Ok(serde_json::Value::Object(_)));
        let are_objects = |answers: Vec<String>| !answers.is_empty() && answers.iter().all(is_object);
        !self.has_stated_choices() && self.answers().is_some_and(are_objects)
    }

    /// Whether there are choices that a prompt states.
    fn has_stated_choices(&self) -> bool {
        self.points.is_some() || self.scale.is_some() || self.items.is_some() || self.options.is_some()
    }

    /// All combinations of choices, with the empty string for free text. `None` if there are more than
    /// `MOST_ANSWERS`, or free text is not escaped for a JSON string.
    fn answers(&self) -> Option<Vec<String>> {
        let mut begun = vec![String::new()];
        for part in &self.reply {
            let samples = part.samples()?;
            if begun.len() * samples.len() > MOST_ANSWERS {
                return None;
            }
            begun = begun
                .iter()
                .flat_map(|beginning| samples.iter().map(move |sample| format!("{beginning}{sample}")))
                .collect();
        }
        Some(begun)
    }

    /// Validates the form; the error is its first problem.
    pub(crate) fn check(&self) -> Result<(), KeyProblem<String>> {
        let wrong = |key: &str, reason: &str| Err(KeyProblem::new(key.to_owned(), reason));
        if self.fingerprint.iter().map(String::len).sum::<usize>() < FINGERPRINT {
            return wrong("fingerprint", "it is too short to tell a program by");
        }
        if self.opening.iter().any(|text| text.trim().is_empty()) {
            return wrong("opening", "every prompt begins with an empty one");
        }
        self.points.as_ref().map_or(Ok(()), Points::check)?;
        self.scale.as_ref().map_or(Ok(()), StatedScale::check)?;
        self.items.as_ref().map_or(Ok(()), Items::check)?;
        self.options.as_ref().map_or(Ok(()), Options::check)?;
        let chooses =
            self.reply.iter().any(|part| matches!(part, FormPart::Choose(_))) || self.has_stated_choices();
        if !chooses {
            return wrong("reply", "nothing is chosen in it, so that it has no verdict");
        }
        if self.reply.iter().filter(|part| matches!(part, FormPart::Write(_))).count() > 1 {
            return wrong("reply", "the critic can write in one place only");
        }
        for (index, part) in self.reply.iter().enumerate() {
            part.check().map_err(|reason| KeyProblem::new(format!("reply[{index}]"), reason))?;
        }
        Ok(())
    }

    /// Where this form is found in a prompt with collapsed white space; `None` when the prompt lacks a text of the
    /// fingerprint.
    fn found_in(&self, prompt: &str) -> Option<Found> {
        let begins = self.fingerprint.iter().map(|text| prompt.find(text)).collect::<Option<Vec<_>>>()?;
        let openings = self.opening.iter().filter_map(|text| prompt.find(text));
        let last = |text: &String| prompt.rfind(text).map(|begin| begin + text.len());
        let mut ends: Vec<usize> = self.fingerprint.iter().filter_map(last).collect();
        ends.sort_unstable_by_key(|end| Reverse(*end));
        let length = self.fingerprint.iter().map(String::len).sum();
        Some(Found {
            begin: begins.into_iter().chain(openings).min()?,
            ends: Reverse(ends),
            length: Reverse(length),
        })
    }
}

/// The position of a form in a prompt. Of several forms the least position is the program's own; the others are in
/// the judged texts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// Position of the first fingerprint or opening text. It comes first in the order, since judged texts follow
    /// the program's own words.
    begin: usize,
    /// End positions of the fingerprint's texts, last one first. Programs with the same beginning put their
    /// instructions at the end, after the judged texts, so that the later ends win.
    ends: Reverse<Vec<usize>>,
    /// Total length of the fingerprint. Of two in the same place, one extends the other, and the longer wins.
    length: Reverse<usize>,
}

/// The longest prompt that is searched for forms, in bytes. It has more tokens than a critic can read, and is
/// searched for each form in turn.
const MAX_PROMPT: usize = 1 << 20;

/// The form of a prompt with these texts, system messages first. A judged text may contain the fingerprint of
/// another program, so that the earliest form wins.
pub(crate) fn form_of<'a>(forms: impl Iterator<Item = &'a Form>, texts: &[&str]) -> Option<&'a Form> {
    if texts.iter().map(|text| text.len()).sum::<usize>() > MAX_PROMPT {
        return None;
    }
    let prompt = flat(&texts.join(" "));
    forms
        .filter_map(|form| form.found_in(&prompt).map(|found| (found, form)))
        .min_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, form)| form)
}

/// Collapses white space to single spaces, and makes all quotes the same: programs, and those who copy their prompts,
/// write straight and curved ones.
fn flat(text: &str) -> String {
    let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
    spaced.replace(['"', '‘', '’', '“', '”'], "'")
}

/// The places of numbers in the texts of choices.
const PLACES: [&str; 5] = ["{part}", "{points}", "{worth}", "{score}", "{item}"];

/// Whether the first `place` in `text` is followed by a character that is neither a digit nor the beginning of
/// another number. The texts of two different numbers then differ, and none is the beginning of another, since the
/// first numbers in which they differ end in both.
fn ends_number(text: &str, place: &str) -> bool {
    let after = text.split_once(place).map_or("", |(_, after)| after);
    let is_number = PLACES.iter().any(|place| after.starts_with(place));
    !is_number && after.chars().next().is_some_and(|character| !character.is_ascii_digit())
}

#[cfg(test)]
mod tests;
