//! The answer formats that other programs expect of their judge, and the detection of a program by its prompt.
//!
//! Most programs search for a verdict with a pattern and accept any match, or treat a missing one as a verdict. A
//! form prescribes the structure of the answer, so that the pattern finds the verdict and nothing else.

mod options;
mod points;

use std::cmp::Reverse;

use serde::Deserialize;

use crate::problem::KeyProblem;
pub use options::Options;
pub use points::Points;

/// The answer format of one program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The name of the form.
    pub name: String,
    /// The program that uses the form, and remarks on it.
    pub about: String,
    /// Texts that all occur in every prompt of the program. White space and line breaks are not significant.
    pub fingerprint: Vec<String>,
    /// For a fingerprint that follows the judged texts: words with which this prompt, or a variant of it, begins
    /// before them.
    #[serde(default)]
    pub opening: Vec<String>,
    /// The pieces of the answer, in order.
    pub reply: Vec<FormPart>,
    /// A choice that precedes these pieces, where the prompt states how many points there are.
    pub points: Option<Points>,
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
    /// Collapses white space in the fingerprint, the opening and the words around the points, as is done with
    /// prompts.
    pub(crate) fn prepare(self) -> Self {
        let flat_all = |texts: &[String]| texts.iter().map(|text| flat(text)).collect();
        let points = self.points.map(|points| Points {
            after: flat(&points.after),
            before: flat(&points.before),
            ..points
        });
        Self { fingerprint: flat_all(&self.fingerprint), opening: flat_all(&self.opening), points, ..self }
    }

    /// The form for a prompt with these texts. If it has points or options, the choices are built from those that the
    /// prompt states; `None` if the prompt does not state them, or allows too many combinations of points.
    pub fn for_prompt(mut self, texts: &[&str]) -> Option<Self> {
        if let Some(points) = self.points.take() {
            let choices = points.texts(&flat(&texts.join(" ")))?;
            self.reply.insert(0, FormPart::Choose(choices));
        }
        if let Some(options) = self.options.take() {
            self.reply.push(FormPart::Choose(options.texts(&texts.join("\n"))?));
        }
        Some(self)
    }

    /// Whether every possible answer is one JSON object, whatever is chosen and written. Not for forms with more than
    /// `MOST_ANSWERS` combinations of choices, which are not checked.
    pub fn is_json_object(&self) -> bool {
        let is_object =
            |answer: &String| matches!(serde_json::from_str(answer), Ok(serde_json::Value::Object(_)));
        let are_objects = |answers: Vec<String>| !answers.is_empty() && answers.iter().all(is_object);
        self.points.is_none() && self.options.is_none() && self.answers().is_some_and(are_objects)
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
        self.options.as_ref().map_or(Ok(()), Options::check)?;
        let chooses = self.reply.iter().any(|part| matches!(part, FormPart::Choose(_)))
            || self.points.is_some()
            || self.options.is_some();
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

/// Collapses white space to single spaces.
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
        assert_eq!(name(&["Answer with one letter and nothing else at all", &" ".repeat(MAX_PROMPT)]), None);
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
        // Instructions at the beginning, in a message of their own or not.
        assert_eq!(name(&[plain, other]), "plain");
        assert_eq!(name(&[&format!("{plain} The answer: {other}")]), "plain");
        // Instructions at the end; the prompt is recognised by its opening.
        for judged in [plain, alike] {
            assert_eq!(name(&[&format!("Here are two answers. {judged} {other}")]), "other", "{judged}");
        }
        assert_eq!(name(&[&format!("Here are two answers. {other} {alike}")]), "alike");
    }

    #[test]
    fn points_are_those_of_the_prompt() {
        let text = r#"
            name = "points"
            about = "Somebody's."
            fingerprint = ["Give points for each of the parts"]
            reply = [{ write = {} }]
            points = { after = "Worth:", before = "Give", part = "{part}: {points}, ", total = "{points}" }
        "#;
        assert_eq!(form(text).check(), Ok(()));
        let for_prompt = |prompt: &str| form(text).for_prompt(&[prompt]).map(|form| form.reply);
        let texts = ["1: 0, 0", "1: 1, 1"].map(str::to_owned).into();
        let expected = vec![FormPart::Choose(texts), FormPart::Write(Restraint::default())];
        assert_eq!(for_prompt("Worth:\n1\nGive points for each of the parts"), Some(expected));
        assert_eq!(for_prompt("Give points for each of the parts"), None);
        let wrong = text.replace("total = \"{points}\"", "total = \"all\"");
        assert_eq!(form(&wrong).check().unwrap_err().key, "points.total");
    }

    #[test]
    fn options_are_those_of_the_prompt_and_come_last() {
        let text = r#"
            name = "options"
            about = "Somebody's."
            fingerprint = ["Which of these is the best one?"]
            reply = [{ write = {} }, { say = "\n[[" }]
            options = { after = ["Options:"], before = "Answer:", text = "{letter}]]" }
        "#;
        assert_eq!(form(text).check(), Ok(()));
        let for_prompt = |prompt: &str| form(text).for_prompt(&[prompt]).map(|form| form.reply);
        let shown = for_prompt("Which of these is the best one? Options:\nA. red\nB. blue\nAnswer:").unwrap();
        assert_eq!(shown.len(), 3);
        assert_eq!(shown[2], FormPart::Choose(["A]]", "B]]"].map(str::to_owned).into()));
        assert_eq!(for_prompt("Which of these is the best one?"), None);
        assert_eq!(form(&text.replace("{letter}", "letter")).check().unwrap_err().key, "options.text");
    }

    #[test]
    fn an_answer_is_an_object_of_json_or_not() {
        let object = |reply: &str| {
            let text = format!("name = \"a\"\nabout = \"b\"\nfingerprint = []\nreply = [{reply}]");
            form(&text).is_json_object()
        };
        let (begin, choose) = (r#"{ say = '{"a": "' }"#, r#"{ choose = ['", "b": 1}', '", "b": 10}'] }"#);
        assert!(object(&format!("{begin}, {{ write = {{ escape = \"json\" }} }}, {choose}")));
        assert!(!object(&format!("{begin}, {{ write = {{}} }}, {choose}")), "a quote would end the string");
        assert!(
            !object(&format!("{begin}, {}", choose.replace(": 10}", ": 1"))),
            "some choice leaves it open"
        );
        // Each choice fits one of the other piece, but not both.
        let (begins, ends) = (r#"{ choose = ['{"a": ', '{"a": ['] }"#, r#"{ choose = ['1}', '1]}'] }"#);
        assert!(!object(&format!("{begins}, {ends}")));
        let score = r#"{ choose = ['"a": 1, ', '"a": 2, ', '"b": 3, '] }"#;
        let scored = |scores: usize| {
            let pieces = vec![score; scores].join(", ");
            object(&format!("{{ say = '{{' }}, {pieces}, {{ say = '\"c\": 0}}' }}"))
        };
        assert!(scored(6), "729 answers");
        assert!(!scored(7), "too many to be checked");
        assert!(!object("{ choose = [] }"));
        assert!(!object(r#"{ choose = ["1", "2"] }"#));
        assert!(!object(""));
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
            assert_eq!(form(&changed).check().unwrap_err().key, key, "{to}");
        }
    }
}
