//! Keeps a text that comes in pieces from having what a form does not allow.

use rubric::{Escape, Restraint};

use crate::stop::overlap;

/// Watches a text for what it must not have, holding back what may be the start of it.
#[derive(Debug, Default)]
pub(crate) struct Restrained {
    restraint: Restraint,
    held: String,
}

impl Restrained {
    pub(crate) fn new(restraint: Restraint) -> Self {
        Self { restraint, held: String::new() }
    }

    /// Adds text; gives what can be shown of it.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held += text;
        let mut shown = String::new();
        while let Some((at, found)) = self.first() {
            // A space after the first character, so that nobody's pattern finds it and people can still read it.
            let broken = at + found.chars().next().map_or(1, char::len_utf8);
            shown += &self.held[..broken];
            shown.push(' ');
            self.held.drain(..broken);
        }
        let keep = self.restraint.never.iter().map(|never| overlap(&self.held, never)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        shown += &std::mem::replace(&mut self.held, rest);
        self.escaped(&shown)
    }

    /// Ends the text and gives what was held back.
    pub(crate) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        self.escaped(&held)
    }

    /// The first thing that is not allowed, and where it begins.
    fn first(&self) -> Option<(usize, &str)> {
        let found =
            self.restraint.never.iter().filter_map(|never| Some((self.held.find(never)?, never.as_str())));
        found.min()
    }

    fn escaped(&self, text: &str) -> String {
        match self.restraint.escape {
            None => text.to_owned(),
            Some(Escape::Json) => text.chars().map(json).collect(),
        }
    }
}

/// A character inside a string of JSON.
fn json(character: char) -> String {
    match character {
        '"' | '\\' => format!("\\{character}"),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        control if control < ' ' => format!("\\u{:04x}", u32::from(control)),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(restraint: &Restraint, text: &str, size: usize) -> String {
        let mut restrained = Restrained::new(restraint.clone());
        let pieces = text.chars().collect::<Vec<_>>();
        let shown: String =
            pieces.chunks(size).map(|piece| restrained.push(&piece.iter().collect::<String>())).collect();
        shown + &restrained.finish()
    }

    #[test]
    fn nothing_is_left_of_what_is_not_allowed_however_it_is_split() {
        let restraint = Restraint { never: ["[[", "Rating", "A>"].map(str::to_owned).into(), escape: None };
        for size in 1..8 {
            assert_eq!(shown(&restraint, "a [[A>>B]] [x] Ratin", size), "a [ [A >>B]] [x] Ratin", "{size}");
            assert_eq!(shown(&restraint, "[[[Rating: 5", size), "[ [ [R ating: 5", "{size}");
            assert_eq!(shown(&Restraint::default(), "[[x", size), "[[x", "{size}");
        }
    }

    #[test]
    fn text_becomes_the_inside_of_a_json_string() {
        let restraint = Restraint { never: Vec::new(), escape: Some(Escape::Json) };
        let text = "He said \"no\\yes\"\n\u{1}é\t.";
        for size in 1..5 {
            let inside = shown(&restraint, text, size);
            assert_eq!(inside, "He said \\\"no\\\\yes\\\"\\n\\u0001é\\t.", "{size}");
        }
    }
}
