//! The forms that programs want their judge's answer in, and how a program is told by its prompt.
//!
//! Most programs look for a verdict with a pattern and take whatever they find, or nothing, for what was meant. A form says
//! what the answer is to be made of, so that the pattern finds the verdict and nothing else.

use std::cmp::Reverse;

use serde::Deserialize;

/// A form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// What it is called.
    pub name: String,
    /// Whose form it is, and what is to be heeded.
    pub about: String,
    /// Texts that a prompt of the program has all of, however they are broken into lines.
    pub fingerprint: Vec<String>,
    /// Where the fingerprint comes after the texts that are judged: words with which the prompt, or one like it, begins
    /// before them.
    #[serde(default)]
    pub opening: Vec<String>,
    /// What the answer is made of, in order.
    pub reply: Vec<FormPart>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormPart {
    /// This stands there.
    Say(String),
    /// The critic writes one of these.
    Choose(Vec<String>),
    /// The critic writes what it likes, as far as the rest of the form allows.
    Write(Restraint),
}

/// What text must not have, so that it is not taken for the verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restraint {
    /// These are written with a space after their first character.
    #[serde(default)]
    pub never: Vec<String>,
    /// The text stands inside a string of this language.
    pub escape: Option<Escape>,
}

/// How a text becomes the inside of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// As JSON has it.
    Json,
}

/// Fewer characters than this are no fingerprint: they stand in many prompts.
const FINGERPRINT: usize = 24;

impl Form {
    /// Brings the fingerprint into the form in which prompts are looked at.
    pub(crate) fn prepare(self) -> Self {
        let flat_all = |texts: &[String]| texts.iter().map(|text| flat(text)).collect();
        Self { fingerprint: flat_all(&self.fingerprint), opening: flat_all(&self.opening), ..self }
    }

    /// What is wrong with it: the key and why.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
        if self.fingerprint.iter().map(String::len).sum::<usize>() < FINGERPRINT {
            return wrong("fingerprint", "it is too short to tell a program by");
        }
        if self.opening.iter().any(|text| text.trim().is_empty()) {
            return wrong("opening", "every prompt begins with an empty one");
        }
        if !self.reply.iter().any(|part| matches!(part, FormPart::Choose(_))) {
            return wrong("reply", "nothing is chosen in it, so that it has no verdict");
        }
        if self.reply.iter().filter(|part| matches!(part, FormPart::Write(_))).count() > 1 {
            return wrong("reply", "the critic can write in one place only");
        }
        for (index, part) in self.reply.iter().enumerate() {
            let key = format!("reply[{index}]");
            match part {
                FormPart::Say(text) if text.is_empty() => return wrong(&key, "nothing is said"),
                FormPart::Choose(texts) if texts.len() < 2 => {
                    return wrong(&key, "there is nothing to choose");
                }
                FormPart::Choose(texts) => {
                    let begins =
                        |one: &String| texts.iter().filter(|text| text.starts_with(one.as_str())).count();
                    if let Some(one) = texts.iter().find(|one| one.is_empty() || begins(one) > 1) {
                        let reason = format!("{one:?} is the beginning of another choice");
                        return Err((key, reason));
                    }
                }
                FormPart::Write(restraint) if restraint.never.iter().any(|text| text.chars().count() < 2) => {
                    return wrong(&key, "what is never written has two characters at least");
                }
                FormPart::Say(_) | FormPart::Write(_) => {}
            }
        }
        Ok(())
    }

    /// Where a prompt, with single spaces, has this form; `None` when it lacks some of the fingerprint.
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

/// Where a form is found. The least of several is that of the program; the others stand in what is judged.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// A judged text comes after words of the program, be they its instructions or its opening.
    begin: usize,
    /// Programs that begin alike give their instructions at the end, after the judged texts: the last ones first.
    ends: Reverse<Vec<usize>>,
    /// Of two fingerprints in the same place one is the other and more.
    length: Reverse<usize>,
}

/// The form of a prompt with these texts, those of the system first. A text that is judged may have the fingerprint of another
/// program, so that the form is that of the words before it.
pub(crate) fn form_of<'a>(forms: impl Iterator<Item = &'a Form>, texts: &[&str]) -> Option<&'a Form> {
    let prompt = flat(&texts.join(" "));
    forms
        .filter_map(|form| form.found_in(&prompt).map(|found| (found, form)))
        .min_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, form)| form)
}

/// The words with single spaces between them.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        toml::from_str::<Form>(text).unwrap().prepare()
    }

    const PLAIN: &str = r#"
        name = "plain"
        about = "Somebody's."
        fingerprint = ["Answer with one letter", "and nothing else at all"]
        reply = [{ write = { never = ["[["] } }, { say = "\n" }, { choose = ["A", "B"] }]
    "#;

    #[test]
    fn a_form_is_told_by_all_of_its_fingerprint_however_lines_are_broken() {
        let longer = form(&PLAIN.replace("plain", "longer").replace("else at all", "else at all, please"));
        let forms = [form(PLAIN), longer];
        let name = |texts: &[&str]| form_of(forms.iter(), texts).map(|form| form.name.clone());
        assert_eq!(
            name(&["Answer with\n  one letter", "and nothing else at all."]).as_deref(),
            Some("plain")
        );
        assert_eq!(
            name(&["Answer with one letter and nothing else at all, please"]).as_deref(),
            Some("longer")
        );
        assert_eq!(name(&["Answer with one letter"]), None);
        assert_eq!(name(&["answer with one letter", "and nothing else at all"]), None);
    }

    #[test]
    fn a_judged_text_with_the_words_of_another_program_does_not_choose_the_form() {
        let first = form(PLAIN);
        let other = r#"
            name = "other"
            about = "Somebody else's."
            fingerprint = ["Reply with a number and nothing more."]
            opening = ["Here are two answers."]
            reply = [{ choose = ["0", "1"] }]
        "#;
        let alike = form(&other.replace("\"other\"", "\"alike\"").replace("a number", "a digit"));
        let forms = [form(other), first, alike];
        let name = |texts: &[&str]| form_of(forms.iter(), texts).unwrap().name.clone();
        let plain = "Answer with one letter and nothing else at all.";
        let other = "Reply with a number and nothing more.";
        let alike = "Reply with a digit and nothing more.";
        // The instructions come first, in a turn of their own or not.
        assert_eq!(name(&[plain, other]), "plain");
        assert_eq!(name(&[&format!("{plain} The answer: {other}")]), "plain");
        // They come last, and the prompt is known by its first words.
        for judged in [plain, alike] {
            assert_eq!(name(&[&format!("Here are two answers. {judged} {other}")]), "other", "{judged}");
        }
        assert_eq!(name(&[&format!("Here are two answers. {other} {alike}")]), "alike");
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_key() {
        assert_eq!(form(PLAIN).check(), Ok(()));
        for (from, to, key) in [
            ("\"Answer with one letter\", \"and nothing else at all\"", "\"short\"", "fingerprint"),
            (", { choose = [\"A\", \"B\"] }", "", "reply"),
            ("\"A\", \"B\"", "\"A\"", "reply[2]"),
            ("\"A\", \"B\"", "\"A\", \"AB\"", "reply[2]"),
            ("\"A\", \"B\"", "\"A\", \"A\"", "reply[2]"),
            ("say = \"\\n\"", "say = \"\"", "reply[1]"),
            ("say = \"\\n\"", "write = {}", "reply"),
            ("[\"[[\"]", "[\"[\"]", "reply[0]"),
        ] {
            let changed = PLAIN.replace(from, to);
            assert_ne!(changed, PLAIN, "{from}");
            assert_eq!(form(&changed).check().unwrap_err().0, key, "{to}");
        }
    }
}
