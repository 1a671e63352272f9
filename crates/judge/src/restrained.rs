//! Removes from streamed text what a form does not allow.

use rubric::{Escape, Restraint};

use crate::stop::overlap;

/// Filters a text for forbidden strings, holding back what may be the beginning of one.
#[derive(Debug, Default)]
pub(crate) struct Restrained {
    restraint: Restraint,
    held: String,
}

impl Restrained {
    pub(crate) fn new(restraint: Restraint) -> Self {
        Self { restraint, held: String::new() }
    }

    /// Appends text; returns the part that can be released.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held.extend(text.chars().filter(|character| !self.restraint.without.contains(*character)));
        let mut shown = String::new();
        while let Some((at, found)) = self.first() {
            // A space after the first character breaks the pattern and leaves the text readable.
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

    /// Ends the text; returns the part that was held back.
    pub(crate) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        self.escaped(&held)
    }

    /// The first forbidden string and its byte position.
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

/// Escapes a character for a JSON string.
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
        let never = ["[[", "Rating", "A>"].map(str::to_owned).into();
        let restraint = Restraint { never, ..Restraint::default() };
        for size in 1..8 {
            assert_eq!(shown(&restraint, "a [[A>>B]] [x] Ratin", size), "a [ [A >>B]] [x] Ratin", "{size}");
            assert_eq!(shown(&restraint, "[[[Rating: 5", size), "[ [ [R ating: 5", "{size}");
            assert_eq!(shown(&Restraint::default(), "[[x", size), "[[x", "{size}");
        }
    }

    #[test]
    fn characters_are_left_out() {
        let restraint = Restraint { without: "{}".into(), ..Restraint::default() };
        for size in 1..4 {
            assert_eq!(shown(&restraint, "a {b} é}{", size), "a b é", "{size}");
        }
    }

    #[test]
    fn text_becomes_the_inside_of_a_json_string() {
        let restraint = Restraint { escape: Some(Escape::Json), ..Restraint::default() };
        let text = "He said \"no\\yes\"\n\u{1}é\t.";
        for size in 1..5 {
            let inside = shown(&restraint, text, size);
            assert_eq!(inside, "He said \\\"no\\\\yes\\\"\\n\\u0001é\\t.", "{size}");
        }
    }
}
