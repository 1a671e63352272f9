//! Choices for the numbered items that a prompt shows.

use std::ops::Range;

use serde::Deserialize;

use super::{FormPart, ends_number};
use crate::problem::KeyProblem;

/// Where a prompt shows numbered items, and what is chosen for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// Words of the prompt that precede the items.
    pub after: String,
    /// Words of the prompt that follow the items.
    pub before: String,
    /// Where the judged texts are, which may contain these words too.
    #[serde(default)]
    pub judged: Judged,
    /// The words that show an item, with its number in place of `{item}`.
    pub shown: String,
    /// The number of the first item, 0 or 1; that of each other one is greater by 1.
    #[serde(default = "one")]
    pub first: u32,
    /// What is chosen.
    pub choice: ItemChoice,
    /// A fixed text after the choices.
    #[serde(default)]
    pub end: String,
}

/// Where a prompt has the judged texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// Before the items: the last occurrence of the words before them is the program's.
    Before,
    /// They are the items: the last occurrence of the words after them is the program's. Such a text can add items,
    /// but it cannot hide those of others.
    Inside,
    /// After the items: the first occurrences are the program's.
    #[default]
    After,
}

/// What is chosen of numbered items.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemChoice {
    /// One item, written as this text with its number in place of `{item}`.
    One(String),
    /// A label for each item.
    Each(EachItem),
}

/// A choice of a label for each item.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EachItem {
    /// A fixed text before the label of an item, with its number in place of `{item}`.
    pub say: String,
    /// The labels.
    pub choose: Vec<String>,
    /// A fixed text between the items.
    pub between: String,
}

fn one() -> u32 {
    1
}

/// The maximum number of items: more than known prompts show, and few enough for an answer.
const MOST: u32 = 64;

impl Items {
    /// Validates the definition; the error is its first problem.
    pub(super) fn check(&self) -> Result<(), KeyProblem<String>> {
        let wrong = |key: &str, reason: &str| Err(KeyProblem::new(format!("items.{key}"), reason));
        if [&self.after, &self.before].iter().any(|words| words.trim().is_empty()) {
            return wrong("after", "every prompt has an empty text");
        }
        let needs = "it needs {item} and a character after it that is no digit";
        if !ends_number(&self.shown, "{item}") {
            return wrong("shown", needs);
        }
        if self.first > 1 {
            return wrong("first", "items are counted from 0 or 1");
        }
        match &self.choice {
            ItemChoice::One(text) if !ends_number(text, "{item}") => wrong("choice.one", needs),
            ItemChoice::Each(each) if !each.say.contains("{item}") => {
                wrong("choice.each.say", "it needs {item}")
            }
            ItemChoice::Each(each) => FormPart::Choose(each.choose.clone())
                .check()
                .map_err(|reason| KeyProblem::new("items.choice.each.choose".to_owned(), reason)),
            ItemChoice::One(_) => Ok(()),
        }
    }

    /// The pieces of the answer for a prompt with collapsed white space. `None` if the prompt shows nothing to choose,
    /// or more than `MOST` items.
    pub(super) fn parts(&self, prompt: &str) -> Option<Vec<FormPart>> {
        let numbers = self.numbers(prompt)?;
        let mut parts = Vec::new();
        match &self.choice {
            ItemChoice::One(text) => {
                let texts: Vec<String> = numbers.map(|number| numbered(text, number)).collect();
                parts.push(FormPart::Choose(Some(texts).filter(|texts| texts.len() > 1)?));
            }
            ItemChoice::Each(each) => {
                for number in numbers {
                    let between = if parts.is_empty() { "" } else { each.between.as_str() };
                    parts.push(FormPart::Say(format!("{between}{}", numbered(&each.say, number))));
                    parts.push(FormPart::Choose(each.choose.clone()));
                }
            }
        }
        if !self.end.is_empty() {
            parts.push(FormPart::Say(self.end.clone()));
        }
        Some(parts)
    }

    /// The numbers of the items that the prompt shows.
    fn numbers(&self, prompt: &str) -> Option<Range<u32>> {
        let begun = match self.judged {
            Judged::Before => prompt.rsplit_once(&self.after),
            Judged::Inside | Judged::After => prompt.split_once(&self.after),
        };
        let (_, begun) = begun?;
        let ended = match self.judged {
            Judged::Inside => begun.rsplit_once(&self.before),
            Judged::Before | Judged::After => begun.split_once(&self.before),
        };
        let (shown, _) = ended?;
        let is_shown = |index: &u32| shown.contains(&numbered(&self.shown, self.first + index));
        let count = (0..=MOST).take_while(is_shown).count();
        let count = u32::try_from(count).ok().filter(|count| (1..=MOST).contains(count))?;
        Some(self.first..self.first + count)
    }
}

fn numbered(text: &str, number: u32) -> String {
    text.replace("{item}", &number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(choice: ItemChoice) -> Items {
        Items {
            after: "Here are the texts:".into(),
            before: "Which".into(),
            judged: Judged::After,
            shown: "Text {item}:".into(),
            first: 0,
            choice,
            end: "]".into(),
        }
    }

    fn each() -> ItemChoice {
        let choose = vec!["no".to_owned(), "yes".to_owned()];
        ItemChoice::Each(EachItem { say: "{item}=".into(), choose, between: ", ".into() })
    }

    const PROMPT: &str = "Here are the texts: Text 0: a Text 1: b Text 3: d Which is best? Text 2: c";

    #[test]
    fn one_of_the_items_is_chosen_or_a_label_for_each() {
        let choose = |texts: &[&str]| FormPart::Choose(texts.iter().map(|text| (*text).to_owned()).collect());
        let say = |text: &str| FormPart::Say(text.to_owned());
        let best = items(ItemChoice::One("[{item}.".into())).parts(PROMPT).unwrap();
        assert_eq!(best, [choose(&["[0.", "[1."]), say("]")]);
        let labels = items(each()).parts(PROMPT).unwrap();
        let label = choose(&["no", "yes"]);
        assert_eq!(labels, [say("0="), label.clone(), say(", 1="), label, say("]")]);
    }

    #[test]
    fn a_judged_text_shows_no_items() {
        let before = format!("Here are the texts: Text 0: x Which {PROMPT}");
        let judged = |judged| Items { judged, ..items(each()) };
        assert_eq!(judged(Judged::Before).parts(&before), items(each()).parts(PROMPT));
        let inside = "Here are the texts: Text 0: a Which Text 1: b Which";
        assert_eq!(judged(Judged::Inside).parts(inside), items(each()).parts(PROMPT));
        assert_eq!(items(each()).parts(&before).unwrap().len(), 3);
    }

    #[test]
    fn without_items_there_is_no_choice() {
        for prompt in
            ["", "Text 0: a Which", "Here are the texts: Text 0: a", "Here are the texts: Text 1: a Which"]
        {
            assert_eq!(items(each()).parts(prompt), None, "{prompt}");
        }
        let alone = "Here are the texts: Text 0: a Which";
        assert_eq!(items(ItemChoice::One("{item}.".into())).parts(alone), None);
        let texts: String = (0..=MOST).map(|item| format!("Text {item}: ")).collect();
        assert_eq!(items(each()).parts(&format!("Here are the texts: {texts} Which")), None);
    }

    #[test]
    fn items_need_their_places() {
        assert_eq!(items(each()).check(), Ok(()));
        let wrong = |change: fn(&mut Items)| {
            let mut items = items(each());
            change(&mut items);
            items.check().unwrap_err().key
        };
        assert_eq!(wrong(|items| items.before.clear()), "items.after");
        assert_eq!(wrong(|items| items.shown = "Text {item}".into()), "items.shown");
        assert_eq!(wrong(|items| items.first = 2), "items.first");
        assert_eq!(wrong(|items| items.choice = ItemChoice::One("{item}".into())), "items.choice.one");
        let each_of = |say: &str, choose: &[&str]| {
            let choose = choose.iter().map(|text| (*text).to_owned()).collect();
            let choice = ItemChoice::Each(EachItem { say: say.into(), choose, between: String::new() });
            items(choice).check().unwrap_err().key
        };
        assert_eq!(each_of("item", &["a", "b"]), "items.choice.each.say");
        assert_eq!(each_of("{item}", &["a"]), "items.choice.each.choose");
    }
}
