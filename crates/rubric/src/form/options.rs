//! A choice among the options that a prompt shows, each in a line that begins with its letter.

use serde::Deserialize;

use crate::problem::KeyProblem;

/// Where a prompt shows the options, and how the chosen one is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Words of the prompt that precede the options, each after those before it.
    pub after: Vec<String>,
    /// Words of the prompt that follow the options.
    pub before: String,
    /// Whether the judged text precedes the options. The last occurrence of the first words in `after` is then the
    /// program's, otherwise the first one.
    #[serde(default)]
    pub judged_first: bool,
    /// Letters that can be chosen whether they are shown or not.
    #[serde(default)]
    pub others: Vec<char>,
    /// The text of the choice, with the letter in place of `{letter}`.
    #[serde(default = "letter_alone")]
    pub text: String,
}

fn letter_alone() -> String {
    "{letter}".to_owned()
}

impl Options {
    /// Validates the definition; the error is its first problem.
    pub(super) fn check(&self) -> Result<(), KeyProblem<&'static str>> {
        if self.after.is_empty() {
            return Err(KeyProblem::new("options.after", "it has no words"));
        }
        if self.after.iter().chain([&self.before]).any(|words| words.trim().is_empty()) {
            return Err(KeyProblem::new("options", "every prompt has an empty text"));
        }
        if !self.text.contains("{letter}") {
            return Err(KeyProblem::new("options.text", "it needs {letter}"));
        }
        Ok(())
    }

    /// The texts of all choices for a prompt, whose lines must be as they were sent. `None` if the prompt shows no
    /// option, or there is nothing to choose.
    pub(super) fn texts(&self, prompt: &str) -> Option<Vec<String>> {
        let mut letters: Vec<char> = Vec::new();
        for letter in self.shown(prompt)?.lines().filter_map(letter_of) {
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        if letters.is_empty() {
            return None;
        }
        let others: Vec<char> =
            self.others.iter().copied().filter(|other| !letters.contains(other)).collect();
        letters.extend(others);
        let text = |letter: &char| self.text.replace("{letter}", &letter.to_string());
        (letters.len() > 1).then(|| letters.iter().map(text).collect())
    }

    /// The part of the prompt with the options.
    fn shown<'a>(&self, prompt: &'a str) -> Option<&'a str> {
        let (first, others) = self.after.split_first()?;
        let begun = if self.judged_first { prompt.rsplit_once(first) } else { prompt.split_once(first) };
        let (_, mut said) = begun?;
        for words in others {
            (_, said) = said.split_once(words)?;
        }
        said.split_once(&self.before).map(|(shown, _)| shown)
    }
}

/// The letter with which a line begins, as in `A. A cat.`
fn letter_of(line: &str) -> Option<char> {
    let (letter, _) = line.trim_start().split_once('.')?;
    let letter: char = letter.parse().ok()?;
    letter.is_ascii_uppercase().then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            after: vec!["Example 3:".into(), "Options:".into()],
            before: "Answer:".into(),
            judged_first: false,
            others: vec!['Z'],
            text: letter_alone(),
        }
    }

    const PROMPT: &str = "Example 1:\nOptions: A. a\nB. b\nC. c\nAnswer: a\nExample 3:\nQuestion: What?\n\
                          Options: There are several options: \nA. A cat, or a D. \n B. I. Newton\nF. None\n\nAnswer: ";

    #[test]
    fn the_letters_are_those_of_the_lines_between_the_words() {
        assert_eq!(options().texts(PROMPT).unwrap(), ["A", "B", "F", "Z"]);
        let first_in_line = "Example 3: Options: A. a\nB. b\nZ. z\nAnswer:";
        assert_eq!(options().texts(first_in_line).unwrap(), ["A", "B", "Z"]);
        let bracketed = Options { text: "[[{letter}]]".into(), others: Vec::new(), ..options() };
        assert_eq!(bracketed.texts(PROMPT).unwrap(), ["[[A]]", "[[B]]", "[[F]]"]);
    }

    #[test]
    fn a_judged_text_shows_no_options() {
        let after = format!("{PROMPT}It is red. Example 3: Options: \nX. x\nAnswer:");
        assert_eq!(options().texts(&after), options().texts(PROMPT));
        let judged_first = Options { after: vec!["Options:".into()], judged_first: true, ..options() };
        let before = format!("Caption: Options:\nX. x\nAnswer:\n{PROMPT}");
        assert_eq!(judged_first.texts(&before), options().texts(PROMPT));
    }

    #[test]
    fn without_options_there_is_no_choice() {
        for prompt in
            ["", "Example 3: Options: A. a\nB. b", "Example 3: Options:\nAnswer:", "Options: A. a\nAnswer:"]
        {
            assert_eq!(options().texts(prompt), None, "{prompt}");
        }
        let alone = Options { others: Vec::new(), ..options() };
        assert_eq!(alone.texts("Example 3: Options: A. a\nAnswer:"), None);
    }

    #[test]
    fn options_need_their_places() {
        assert_eq!(options().check(), Ok(()));
        let wrong = |change: fn(&mut Options)| {
            let mut options = options();
            change(&mut options);
            options.check().unwrap_err().key
        };
        assert_eq!(wrong(|options| options.after.clear()), "options.after");
        assert_eq!(wrong(|options| options.before = " ".into()), "options");
        assert_eq!(wrong(|options| options.text = "letter".into()), "options.text");
    }
}
